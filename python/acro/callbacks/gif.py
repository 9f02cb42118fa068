"""Draws GIFs of the policy while it learns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch

from acro.callbacks.pictures import log_picture
from acro.callbacks.run import evaluation_of, experience_of, is_dry_run, is_training, run_folder
from acro.drawing.episodes import render_episodes, render_progress
from acro.evaluation import Episodes, Evaluation

logger = logging.getLogger(__name__)

# Few, so that checkpoints stay small; enough to have one from about the middle of training.
_MOST_KEPT = 17


class _Policy(NamedTuple):
    """What draws an evaluation again, of the policy after `epoch` epochs."""

    epoch: int
    env_steps: int
    evaluation: Evaluation

    @property
    def caption(self) -> str:
        return f"after {self.env_steps:,} steps"


class RenderGif(L.Callback):
    """Draw the first, the middle and the last policy, and the best one at the end.

    The run's folder gets a GIF of each of the three in `gifs/`, and `progress.gif` with all of them. Testing draws
    `final.gif`, from held-out starts. Drawing uses an environment of its own, and training ends with the same weights
    without this callback. If an environment cannot be drawn, one warning says why and training continues.

    Args:
        every_n_epochs: Epochs between additional GIFs; None for none.
        episodes: Episodes of an evaluation in one GIF: 1 is the median one, more are from the worst to the best.
        fps: Steps per second at true speed; None for the environment's own time step.
    """

    def __init__(self, every_n_epochs: int | None = None, episodes: int = 1, fps: float | None = None) -> None:
        for name, value in {"every_n_epochs": every_n_epochs, "episodes": episodes}.items():
            if value is not None and value < 1:
                raise ValueError(f"RenderGif({name}={value}): {name} must be at least 1, got {value}")
        if fps is not None and not fps > 0:
            raise ValueError(f"RenderGif(fps={fps}): fps must be above 0, got {fps}")
        self.every_n_epochs = every_n_epochs
        self.episodes = episodes
        self.fps = fps
        # The first, every `_stride`-th after it, and the newest.
        self._policies: list[_Policy] = []
        self._evaluations, self._stride = 0, 1
        self._drawn: set[int] = set()
        self._is_broken = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep what draws the evaluation again; draw it now if it is the first or an additional one."""
        if not is_training(trainer):
            return
        policy = _Policy(
            trainer.current_epoch + 1,
            experience_of(trainer).env_steps,
            _only(evaluation_of(pl_module), self.episodes),
        )
        self._keep(policy)
        is_due = self.every_n_epochs is not None and policy.epoch % self.every_n_epochs == 0
        if self._evaluations == 1 or is_due:
            self._draw_policy(trainer, policy)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw those of the three policies that are missing, and all of them side by side."""
        if not self._policies:
            return
        first, last = self._policies[0], self._policies[-1]
        middle = min(self._policies, key=lambda policy: abs(2 * policy.env_steps - first.env_steps - last.env_steps))
        shown = sorted({policy.epoch: policy for policy in (first, middle, last)}.values())
        for policy in shown:
            if policy.epoch not in self._drawn:
                self._draw_policy(trainer, policy)
        if len(shown) < 2:
            return
        evaluations, captions = [policy.evaluation for policy in shown], [policy.caption for policy in shown]

        def draw(path: Path) -> None:
            render_progress(_episodes(trainer, last.evaluation), evaluations, captions, path, fps=self.fps)

        self._try(trainer, "progress", "progress.gif", last.env_steps, draw)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the episode of a test."""
        experience, evaluation = experience_of(trainer), evaluation_of(pl_module)
        step = 0 if experience.collector is None else experience.env_steps
        chosen = "median" if self.episodes == 1 else "worst to best"
        caption = f"held out: {chosen} of {len(evaluation.returns)}"
        self._draw_evaluation(trainer, "final", "final.gif", step, evaluation, caption)

    def _keep(self, policy: _Policy) -> None:
        if len(self._policies) > 1 and (self._evaluations - 1) % self._stride:
            self._policies.pop()
        self._policies.append(policy)
        if len(self._policies) >= _MOST_KEPT and self._evaluations % (2 * self._stride) == 0:
            self._policies = self._policies[::2]
            self._stride *= 2
        self._evaluations += 1

    def _draw_policy(self, trainer: L.Trainer, policy: _Policy) -> None:
        name = f"gifs/epoch_{policy.epoch:04}.gif"
        self._draw_evaluation(trainer, "policy", name, policy.env_steps, policy.evaluation, policy.caption)
        self._drawn.add(policy.epoch)

    def _draw_evaluation(
        self, trainer: L.Trainer, name: str, file_name: str, step: int, evaluation: Evaluation, caption: str
    ) -> None:
        episodes, chosen = _episodes(trainer, evaluation), choose_episodes(evaluation, self.episodes)

        def draw(path: Path) -> None:
            render_episodes(episodes, evaluation, chosen, path, caption=caption, fps=self.fps)

        self._try(trainer, name, file_name, step, draw)

    def _try(self, trainer: L.Trainer, name: str, file_name: str, step: int, draw: Callable[[Path], object]) -> None:
        """Draw and log a picture, unless drawing has failed before."""
        if self._is_broken or is_dry_run(trainer):
            return
        try:
            path = run_folder(trainer) / file_name
            path.parent.mkdir(exist_ok=True)
            draw(path)
        except Exception as error:  # Environments run other people's code, and no picture is worth a run.
            self._is_broken = True
            logger.warning("RenderGif draws no GIFs: %s", error or type(error).__name__)
            return
        log_picture(trainer, name, path, step)

    def state_dict(self) -> dict[str, Any]:
        """Return what draws the policies again, as tensors and plain values."""
        return {
            "evaluations": self._evaluations,
            "stride": self._stride,
            "policies": [
                {
                    "epoch": policy.epoch,
                    "env_steps": policy.env_steps,
                    "seed": policy.evaluation.seed,
                    "returns": torch.from_numpy(policy.evaluation.returns),
                    "lengths": torch.from_numpy(policy.evaluation.lengths),
                    "truncated": torch.from_numpy(policy.evaluation.truncated),
                    # Of the drawn episodes only: a checkpoint with many small tensors is slow to write.
                    "actions": {
                        index: torch.from_numpy(actions)
                        for index, actions in enumerate(policy.evaluation.actions)
                        if len(actions)
                    },
                }
                for policy in self._policies
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue a resumed run's series; a checkpoint from before there were series starts one."""
        if "policies" not in state_dict:
            return
        self._evaluations, self._stride = state_dict["evaluations"], state_dict["stride"]
        self._policies = [
            _Policy(
                policy["epoch"],
                policy["env_steps"],
                Evaluation(
                    policy["seed"],
                    policy["returns"].numpy(),
                    policy["lengths"].numpy(),
                    [
                        policy["actions"][index].numpy() if index in policy["actions"] else np.empty(0, np.int64)
                        for index in range(len(policy["returns"]))
                    ],
                    # Older checkpoints do not have it.
                    policy.get("truncated", torch.zeros(len(policy["returns"]), dtype=torch.bool)).numpy(),
                ),
            )
            for policy in state_dict["policies"]
        ]


def choose_episodes(evaluation: Evaluation, count: int) -> list[int]:
    """Return the median episode for a count of 1, else `count` spread evenly from the worst to the best."""
    if count == 1:
        return [evaluation.median_episode]
    order = np.argsort(evaluation.returns, kind="stable")
    return [int(order[rank]) for rank in np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]


def _only(evaluation: Evaluation, count: int) -> Evaluation:
    """Return `evaluation` with the actions of the drawn episodes only."""
    drawn = {evaluation.median_episode, *choose_episodes(evaluation, count)}
    actions = [
        actions.copy() if index in drawn else np.empty(0, np.int64) for index, actions in enumerate(evaluation.actions)
    ]
    return replace(evaluation, actions=actions)


def _episodes(trainer: L.Trainer, evaluation: Evaluation) -> Episodes:
    experience = experience_of(trainer)
    return Episodes(experience.eval_env, len(evaluation.returns), evaluation.seed, experience.eval_env_kwargs)
