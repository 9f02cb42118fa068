"""Train an agent: `python -m acro.fit`."""

from __future__ import annotations

import argparse
import inspect
import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from acro import slurm
from acro.callbacks.checkpointing import Interrupts, SaveBest, SaveLast
from acro.callbacks.curve import LearningCurve
from acro.callbacks.progress import TrainingProgress
from acro.checkpoint import DurableCheckpointIO, read_checkpoint
from acro.dqn import DQN
from acro.evaluation import Evaluation, evaluate
from acro.experience import Experience
from acro.files import replacing
from acro.metrics_csv import MetricsCSV
from acro.plot import reward_threshold
from acro.rendering import render_episodes
from acro.runs import Run
from acro.trainers import check_trainer
from acro.usage import USAGE, usage

logger = logging.getLogger("acro")

PRESETS = resources.files("acro") / "presets"
DEFAULT_PRESET = "acrobot"
DEFAULT_ROOT = "runs"
DEFAULT_ENV_ID: str = inspect.signature(Experience).parameters["env_id"].default
# What a user can get wrong; anything else is a bug, and shows its traceback.
USER_ERRORS = (
    argparse.ArgumentError,
    ImportError,
    MemoryError,
    MisconfigurationException,
    OSError,
    TypeError,
    ValueError,
)


class FitCLI(LightningCLI):
    """LightningCLI with acro's run folder, loggers and callbacks.

    Args:
        args: The command line.
        preset: The preset whose settings are the defaults; None for the classes' own.
        resumed: The run to continue in; None starts a new one.
        ckpt_path: The checkpoint to continue from.
    """

    def __init__(self, args: Sequence[str], preset: str | None, resumed: Run | None, ckpt_path: Path | None) -> None:
        self.preset = preset
        self.ckpt_path = ckpt_path
        self.run: Run
        self.resumed = resumed
        self.checkpoint = None if ckpt_path is None else read_checkpoint(ckpt_path)
        self.interrupts = Interrupts()
        self.curve = LearningCurve()
        defaults = [] if preset is None else [str(PRESETS / f"{preset}.yaml")]
        super().__init__(
            DQN,
            Experience,
            run=False,
            args=list(args),
            # Lightning's own would write in place, and a killed process leave half a file.
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={
                "default_config_files": defaults if resumed is None else [str(resumed.config)],
                "exit_on_error": False,
                "prog": "python -m acro.fit",
                "usage": USAGE,
                "description": "Train a DQN agent; without arguments, one that swings Acrobot up.",
            },
            trainer_defaults={
                # Networks this small are no faster on a GPU, and "auto" would take it.
                "accelerator": "cpu",
                "devices": 1,
                "max_epochs": 30,
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 1,
                "enable_model_summary": False,
                "default_root_dir": DEFAULT_ROOT,
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add acro's own arguments, and tie the network's sizes to the environment."""
        parser.add_argument(
            "--preset", type=str | None, default=self.preset, help=f"A tuned run: {', '.join(preset_names())}."
        )
        parser.add_argument(
            "--ckpt_path", type=str | None, help="Continue from this checkpoint, or from the newest run's: last."
        )
        parser.add_argument("--torch_threads", type=int, default=1, help="One is fastest for networks this small.")
        parser.add_argument("--debug", action="store_true", help="Show the traceback of a mistake.")
        parser.link_arguments("data.observation_size", "model.observation_size", apply_on="instantiate")
        parser.link_arguments("data.num_actions", "model.num_actions", apply_on="instantiate")
        parser.link_arguments("data.return_range", "model.return_range", apply_on="instantiate")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=_plain_seed)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; LightningCLI's own warns when it is given the command line from outside."""
        self.config = parser.parse_args(args)

    def before_instantiate_classes(self) -> None:
        """Choose the run's folder; a saved configuration says nothing of resuming."""
        config = self.config
        torch.set_num_threads(config["torch_threads"])
        config["ckpt_path"] = None
        if self.resumed is not None:
            self.run = self.resumed
        else:
            name = config["preset"] or _folder_name(config["data"]["env_id"])
            self.run = Run.new(Path(config["trainer"]["default_root_dir"]), name)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Return a Trainer that writes into the run's folder."""
        given = self.config_init["trainer"]
        given["callbacks"] = [*(given["callbacks"] or []), *self._callbacks()]
        # Where Lightning saves when SLURM asks for a requeue, and would look for it again.
        given["default_root_dir"] = str(self.run.folder)
        given["plugins"] = [*(given["plugins"] or []), DurableCheckpointIO()]
        if given["logger"] is None:
            given["logger"] = self._loggers()
        return super().instantiate_trainer(**kwargs)

    def _loggers(self) -> list[Any]:
        root, name, version = self.run.root, self.run.name, self.run.version
        resumed_step = None if self.checkpoint is None else env_steps_of(self.checkpoint)
        return [
            MetricsCSV(root, name, version, resume_step=resumed_step),
            # TensorBoard drops what is at `purge_step` too.
            TensorBoardLogger(
                root,
                name,
                version,
                default_hp_metric=False,
                purge_step=None if resumed_step is None else resumed_step + 1,
            ),
        ]

    def _callbacks(self) -> list[L.Callback]:
        given = self.config_init["trainer"]
        progress = [] if given["enable_progress_bar"] is False else [TrainingProgress()]
        shown = [*progress, self.curve, self.interrupts]
        # `SaveBest` before `SaveLast`: what last.ckpt says of the best one must be up to date.
        saves = [SaveBest(self.run.best_checkpoint), SaveLast(self.run.last_checkpoint)]
        return shown if given["enable_checkpointing"] is False else [*shown, *saves]

    def save_config(self) -> None:
        """Write every setting into the run's folder, so that a resumed run has the same."""
        with replacing(self.run.config) as file:
            # By position: jsonargparse 4.49 gave the third argument, which leaves None out, another name.
            file.write(self.parser.dump(self.config, "parser_mode", False).encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the arguments say.

    Returns:
        The exit code: 0, 2 for bad arguments, 130 after Ctrl-C and 143 after SIGTERM.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(argv):
        print(usage(preset_names()))
        return 0
    argv = ["--help" if argument == "--help_all" else argument for argument in argv]
    _speak_plainly()
    try:
        cli = _prepare(argv)
    except USER_ERRORS as error:
        if "--debug" in argv:
            traceback.print_exc()
        print(f"error: {_explain(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    try:
        return _train(cli)
    except (KeyboardInterrupt, SystemExit) as error:
        # The Trainer answers a KeyboardInterrupt with an exit; any other exit is somebody's own.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, KeyboardInterrupt):
            raise
        logger.info("left at once; %s", _how_to_continue(cli.run))
        return 130


def _prepare(argv: Sequence[str]) -> FitCLI:
    """Parse and check everything, then make the run's folder; nothing is written before."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--preset", "--ckpt_path", "--data.env_id"):
        peek.add_argument(name)
    peek.add_argument("-c", "--config")
    peek.add_argument("--trainer.default_root_dir", default=DEFAULT_ROOT)
    given = vars(peek.parse_known_args(argv)[0])

    preset = given["preset"]
    if preset is None and given["config"] is None and given["data.env_id"] is None:
        preset = DEFAULT_PRESET
    if preset is not None and preset not in preset_names():
        raise ValueError(f"--preset {preset}: no such preset; there are {', '.join(preset_names())}")
    resumed, ckpt_path = None, None
    root, name = Path(given["trainer.default_root_dir"]), preset or _folder_name(given["data.env_id"] or DEFAULT_ENV_ID)
    if given["ckpt_path"] is None and (resumed := slurm.requeued_run(root, name, argv)):
        ckpt_path = slurm.newest_checkpoint(resumed)
    elif given["ckpt_path"] == "last":
        resumed = Run.newest(root, name)
        ckpt_path = resumed.last_checkpoint
    elif given["ckpt_path"] is not None:
        ckpt_path = Path(given["ckpt_path"])
        resumed = Run.of_checkpoint(ckpt_path)
    cli = FitCLI(argv, preset, resumed, ckpt_path)
    if cli.checkpoint is not None:
        cli.model.check_resumable(cli.checkpoint)
        cli.datamodule.check_resumable(cli.checkpoint)
    check_trainer(cli.trainer)
    # Asks for the memory, which may not be had.
    cli.datamodule.setup("fit")
    try:
        cli.run.folder.mkdir(parents=True, exist_ok=True)
        cli.save_config()
        slurm.mark(cli.run, argv)
    except OSError as error:
        raise OSError(f"cannot make the run's folder: {error}; choose another --trainer.default_root_dir") from error
    return cli


def _train(cli: FitCLI) -> int:
    run, trainer, experience = cli.run, cli.trainer, cli.datamodule
    steps = trainer.max_epochs * experience.steps_per_epoch
    start = "" if cli.checkpoint is None else f", resumed at step {env_steps_of(cli.checkpoint)}"
    logger.info("%s · seed %d · %d steps%s · %s", experience.env_id, experience.seed, steps, start, run.folder)
    run.remove_leftovers()
    try:
        trainer.fit(cli.model, experience, ckpt_path=cli.ckpt_path, weights_only=True)
        if trainer.received_sigterm:
            # It came after the last round, where the Trainer does not look any more.
            raise SIGTERMException
    except SIGTERMException:
        logger.info("stopped at step %d; %s", experience.env_steps, _how_to_continue(run))
        return 130 if cli.interrupts.received is signal.SIGINT else 143
    _show_result(cli)
    return 0


def _show_result(cli: FitCLI) -> None:
    """Play the best checkpoint from starts that never served to choose it; leave a GIF and the result line."""
    run, model, experience = cli.run, cli.model, cli.datamodule
    if run.best_checkpoint.is_file():
        model.load_state_dict(read_checkpoint(run.best_checkpoint)["state_dict"])
    model.eval()
    episodes = experience.held_out_episodes()
    logger.info("playing %d episodes from new starts", episodes.episodes)
    evaluation = evaluate(model, *episodes)
    logger.info("drawing the median one")
    no_evaluation = (experience.env_steps, 0.0)
    best_step, _ = max(cli.curve.evaluations, key=lambda evaluation: evaluation[1], default=no_evaluation)
    try:
        caption = f"after {best_step:,} steps"
        render_episodes(episodes, evaluation, [evaluation.median_episode], run.folder / "final.gif", caption=caption)
    except (ImportError, ValueError) as error:
        logger.warning("no final.gif: %s", error)
    solved = _solved(reward_threshold(episodes.env_id), cli.curve.evaluations)
    print(f"{describe(evaluation)}{solved}; {run.folder}")


def describe(evaluation: Evaluation) -> str:
    """Return an evaluation in one line."""
    returns = evaluation.returns
    return (
        f"eval: mean {evaluation.mean:.1f} ± {evaluation.standard_error:.1f}, median {np.median(returns):.0f}, "
        f"worst {returns.min():.0f} over {len(returns)} episodes"
    )


def _solved(threshold: float | None, evaluations: Sequence[tuple[int, float]]) -> str:
    if threshold is None:
        return ""
    for step, mean in evaluations:
        if mean >= threshold:
            return f"; solved (>= {threshold:g}) at step {step}"
    return f"; not solved (>= {threshold:g})"


def preset_names() -> list[str]:
    """Return the names that `--preset` takes."""
    return sorted(path.name.removesuffix(".yaml") for path in PRESETS.iterdir() if path.name.endswith(".yaml"))


def env_steps_of(checkpoint: dict[str, Any]) -> int:
    """Return the environment steps that `checkpoint` has behind it; 0 without an `Experience` in it."""
    experience = checkpoint.get(Experience.__qualname__)
    return 0 if experience is None else int(experience["collector"]["env_steps"])


def _how_to_continue(run: Run) -> str:
    if not run.last_checkpoint.is_file():
        return "nothing was saved yet"
    return f"continue with: python -m acro.fit --ckpt_path {run.last_checkpoint}"


def _folder_name(env_id: str) -> str:
    """Return an environment's id as a folder's name: acro/Acrobot-v1 -> acro-Acrobot-v1."""
    return env_id.replace("/", "-").replace(":", "-")


def _plain_seed(seed: bool | int) -> int:
    if isinstance(seed, bool):
        raise ValueError(f"--seed_everything {seed}: give a number, so that the run can be repeated")
    return seed


def _explain(error: BaseException) -> str:
    """Return what went wrong in one sentence, with what to do where Lightning does not say it."""
    text = " ".join(str(error).split())
    if isinstance(error, MisconfigurationException) and "backend found" in text:
        return f"--trainer.accelerator: {text} Leave it out to train on the CPU."
    return text


def _speak_plainly() -> None:
    """Print acro's own messages bare, and keep Lightning's advertisements and tips out."""
    logger.setLevel(logging.INFO)
    logger.handlers = [logging.StreamHandler()]
    logger.propagate = False
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    # A resumed run's is not, and should not be.
    warnings.filterwarnings("ignore", r"Checkpoint directory .* exists and is not empty")
    # Lightning 2.6 on torch 2.15: its own use of a deprecated name, nothing that a user could mend.
    warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)


if __name__ == "__main__":
    sys.exit(main())
