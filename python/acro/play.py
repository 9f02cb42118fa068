"""Play a trained agent: `python -m acro.play CHECKPOINT`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from acro.cli.command import run_command

if TYPE_CHECKING:
    from acro.evaluation import Episodes, Evaluation

_DEFAULT_EPISODE = "median"


def main(argv: Sequence[str] | None = None) -> int:
    """Play as the arguments say; return the exit code, 2 for a user's mistake."""
    return run_command(_run, argv)


def _run(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    _check(arguments)
    _play(arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m acro.play",
        description="Play greedy episodes with a trained agent, and say how well it does. Nothing in a checkpoint is "
        "ever run as code. Episode i starts from reset(seed=seed + i): starts of its own, neither those that chose "
        "best.ckpt nor the held-out ones of the run's result.json.",
    )
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=Path, help="best.ckpt or last.ckpt of a run, or the run's folder"
    )
    parser.add_argument("--episodes", type=int, default=100, metavar="N", help="how many to play (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="episode i is reset with seed + i (default: 0)")
    parser.add_argument("--gif", type=Path, metavar="FILE", help="draw one episode")
    parser.add_argument("--human", action="store_true", help="show one episode in a window")
    parser.add_argument(
        "--episode",
        default=_DEFAULT_EPISODE,
        metavar="WHICH",
        help="the one to draw or show: best, median, worst or a number from 0 (default: median)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--env_id", metavar="ID", help="play here; needed where the agent's environment is in a module of yours"
    )
    parser.add_argument(
        "--network",
        metavar="MODULE:NAME",
        help="what makes the Q-network, called without arguments; needed where it is a class of yours",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    parser.add_argument("--version", action="store_true", help="print acro's version")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    """Find every mistake that shows before playing, so that it costs no time."""
    if arguments.episodes < 1:
        raise ValueError(f"--episodes {arguments.episodes}: at least one episode must be played")
    if arguments.seed < 0:
        raise ValueError(f"--seed {arguments.seed}: a seed is at least 0")
    if arguments.episode not in ("best", "median", "worst") and not (
        arguments.episode.isdecimal() and int(arguments.episode) < arguments.episodes
    ):
        last = arguments.episodes - 1
        raise ValueError(f"--episode {arguments.episode}: give best, median, worst or a number from 0 to {last}")
    if arguments.gif is not None:
        _check_gif(arguments.gif)
    if arguments.human and sys.platform.startswith("linux"):
        if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            raise ValueError("--human needs a display, and there is none here; use --gif FILE")


def _check_gif(path: Path) -> None:
    if path.suffix.lower() != ".gif":
        raise ValueError(f"--gif {path}: the file's name must end in .gif")
    if path.is_dir():
        raise ValueError(f"--gif {path}: this is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"--gif {path}: there is no folder {path.parent}")
    try:
        # Asking for permission would miss a read-only disk, and says yes to root.
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise ValueError(f"--gif {path}: cannot write to the folder {path.parent} ({error.strerror})") from error


def _play(arguments: argparse.Namespace) -> None:
    import torch

    from acro.dqn.agent import environment_for, load_agent
    from acro.drawing.episodes import check_drawing
    from acro.evaluation import Episodes, evaluate

    # One thread is fastest for networks this small.
    torch.set_num_threads(1)
    agent = load_agent(arguments.checkpoint, network=arguments.network)
    env_id, env_kwargs = environment_for(agent, arguments.env_id)
    episodes = Episodes(env_id, arguments.episodes, arguments.seed, env_kwargs)
    if arguments.gif is not None:
        check_drawing(episodes, "rgb_array")
    if arguments.human:
        check_drawing(episodes, "human")
    evaluation = evaluate(agent.module, *episodes)
    print(_as_json(evaluation, env_id) if arguments.json else _as_table(evaluation, env_id))
    index = _choose(evaluation, arguments.episode)
    if arguments.gif is not None:
        _draw(episodes, evaluation, index, arguments.gif)
    if arguments.human:
        _show(episodes, evaluation, index)


def _choose(evaluation: Evaluation, which: str) -> int:
    if which == "median":
        return evaluation.median_episode
    if which == "best":
        return int(evaluation.returns.argmax())
    return int(evaluation.returns.argmin()) if which == "worst" else int(which)


def _as_json(evaluation: Evaluation, env_id: str) -> str:
    import numpy as np

    from acro.envs.facts import reward_threshold

    returns, threshold = evaluation.returns, reward_threshold(env_id)
    return json.dumps(
        {
            "env_id": env_id,
            "episodes": len(returns),
            "seed": evaluation.seed,
            "returns": returns.tolist(),
            "lengths": evaluation.lengths.tolist(),
            "mean": evaluation.mean,
            "standard_error": evaluation.standard_error,
            "median": float(np.median(returns)),
            "min": float(returns.min()),
            "max": float(returns.max()),
            "solved": None if threshold is None else float(np.mean(returns >= threshold)),
        }
    )


def _as_table(evaluation: Evaluation, env_id: str) -> str:
    import numpy as np

    from acro.drawing.panels import format_return
    from acro.envs.facts import reward_threshold

    returns = evaluation.returns
    rows = [
        ("mean", f"{evaluation.mean:.1f} ± {evaluation.standard_error:.1f} (standard error)"),
        ("median", format_return(float(np.median(returns)))),
        ("worst", format_return(float(returns.min()))),
        ("best", format_return(float(returns.max()))),
    ]
    threshold = reward_threshold(env_id)
    if threshold is not None:
        rows.append(("solved", f"{np.mean(returns >= threshold):.0%} of episodes (return >= {threshold:g})"))
    last = evaluation.seed + len(returns) - 1
    lines = [f"{env_id} · {len(returns)} greedy episodes, from reset(seed={evaluation.seed}) to reset(seed={last})"]
    return "\n".join([*lines, *(f"{name:<8}{value}" for name, value in rows)])


def _draw(episodes: Episodes, evaluation: Evaluation, index: int, path: Path) -> None:
    from acro.drawing.episodes import render_episodes

    (shown,) = render_episodes(episodes, evaluation, [index], path, caption=f"episode {index}")
    print(f"{path}: episode {index}, return {shown:g}, {evaluation.lengths[index]} steps", file=sys.stderr)


def _show(episodes: Episodes, evaluation: Evaluation, index: int) -> None:
    from acro.drawing.episodes import show_episode

    show_episode(episodes, evaluation, index)


if __name__ == "__main__":
    sys.exit(main())
