"""Train an agent: `python -m acro.fit`."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import acro
from acro.cli.command import loading, run_command
from acro.cli.damage import blaming
from acro.cli.options import preset_of
from acro.cli.usage import usage

if TYPE_CHECKING:
    from acro.cli.parser import FitCLI

logger = logging.getLogger("acro")


def main(argv: Sequence[str] | None = None) -> int:
    """Train with these arguments.

    Returns:
        The exit code: 0, 1 if training could not continue, 2 for bad arguments, 130 after Ctrl-C, 143 after SIGTERM.
    """
    return run_command(_fit, argv)


def _fit(argv: list[str]) -> int:
    if {"-h", "--help"} & set(argv):
        print(usage(argv))
        return 0
    with _bare_messages():
        logger.info("acro %s · loading PyTorch and Lightning", acro.__version__)
        with loading():
            from acro.cli.parser import prepared

        with prepared(["--help" if argument == "--help_all" else argument for argument in argv]) as cli:
            return _train(cli)


def _train(cli: FitCLI) -> int:
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from acro.cli.result import play_held_out

    logger.info(_what_starts(cli))
    cli.run.remove_leftovers()
    started, is_trained = time.monotonic(), False
    try:
        with blaming(cli.ckpt_path, lambda: cli.interrupts.has_begun):
            cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.ckpt_path, weights_only=True)
        if cli.trainer.received_sigterm:
            # The signal came after the last round, when the Trainer no longer checks for it.
            raise SIGTERMException
        is_trained = True
        logger.info("playing %d episodes from new starts", cli.datamodule.held_out_episodes().episodes)
        print(play_held_out(cli, time.monotonic() - started), flush=True)
    except SIGTERMException:
        logger.info("stopped at step %d; %s", cli.datamodule.env_steps, _how_to_continue(cli))
        return cli.interrupts.exit_code
    except (OSError, MemoryError, FloatingPointError) as error:
        if isinstance(error, BrokenPipeError) and (is_trained or not cli.interrupts.has_begun):
            raise
        logger.error("error: %s; %s", error, _how_to_continue(cli))
        return 1
    except (KeyboardInterrupt, SystemExit) as error:
        # The Trainer turns a KeyboardInterrupt into an exit; any other exit is not its own.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, KeyboardInterrupt):
            raise
        logger.info("left at once; %s", _how_to_continue(cli))
        return 130
    except Exception as error:
        if not cli.interrupts.has_begun or _is_raised_by_dqn(error):
            raise
        # A bug in an environment, a callback or a subclass: its place says more than its message.
        traceback.print_exc()
        logger.error("error: %s; %s", str(error) or type(error).__name__, _how_to_continue(cli))
        return 1
    return 0


def _is_raised_by_dqn(error: BaseException) -> bool:
    """Whether it is one of the sentences by which `acro.dqn` refuses what a subclass or a callback does."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__")).startswith("acro.dqn.")


def _what_starts(cli: FitCLI) -> str:
    """Return one line that says what the run is about to do."""
    experience, trainer = cli.datamodule, cli.trainer
    steps = "" if trainer.max_epochs in (None, -1) else f" · {trainer.max_epochs * experience.steps_per_epoch} steps"
    start = "" if cli.resumed_step is None else f", resumed at step {cli.resumed_step}"
    known = preset_of(experience.env_id)
    hint = f" · tuned settings: --preset {known}" if known and not cli.config["preset"] else ""
    return f"{experience.env_id} · seed {experience.seed}{steps}{start} · {cli.run.folder}{hint}"


def _how_to_continue(cli: FitCLI) -> str:
    if not cli.run.last_checkpoint.is_file():
        return "nothing was saved yet"
    trust = " --trust_config" if cli.needs_trust else ""
    return f"continue with: python -m acro.fit --ckpt_path {cli.run.last_checkpoint}{trust}"


@contextmanager
def _bare_messages() -> Iterator[None]:
    """Print acro's messages without a prefix; restore the caller's logging afterwards."""
    before = logger.level, logger.handlers, logger.propagate
    logger.setLevel(logging.INFO)
    logger.handlers, logger.propagate = [logging.StreamHandler()], False
    try:
        yield
    finally:
        logger.setLevel(before[0])
        _, logger.handlers, logger.propagate = before


if __name__ == "__main__":
    sys.exit(main())
