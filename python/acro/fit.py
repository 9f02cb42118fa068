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
from pathlib import Path

import numpy as np
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException

from acro import slurm
from acro.cli.parser import DEFAULT_ROOT, FitCLI, env_steps_of, folder_name, preset_names
from acro.cli.runs import Run
from acro.cli.usage import usage
from acro.dqn.trainers import check_trainer
from acro.drawing.episodes import render_episodes
from acro.evaluation import Evaluation, evaluate
from acro.experience import Experience
from acro.plot import reward_threshold
from acro.storage.checkpoints import read_checkpoint

logger = logging.getLogger("acro")

DEFAULT_PRESET = "acrobot"
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
    root, name = Path(given["trainer.default_root_dir"]), preset or folder_name(given["data.env_id"] or DEFAULT_ENV_ID)
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


def _how_to_continue(run: Run) -> str:
    if not run.last_checkpoint.is_file():
        return "nothing was saved yet"
    return f"continue with: python -m acro.fit --ckpt_path {run.last_checkpoint}"


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
