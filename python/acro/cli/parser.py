"""Parses the command line of `python -m acro.fit` and makes the run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from jsonargparse import Namespace
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from acro._rust import available_bytes
from acro.callbacks.checkpointing import Interrupts, SaveBest, SaveConfig, SaveLast
from acro.callbacks.curve import LearningCurve
from acro.callbacks.gif import RenderGif
from acro.callbacks.metrics_csv import MetricsCSV
from acro.callbacks.progress import TrainingProgress
from acro.callbacks.tensorboard import Events
from acro.cli.damage import blaming
from acro.cli.mistakes import explain, explain_class
from acro.cli.options import (
    DESCRIPTION,
    LINKED,
    OPTIONS,
    PRESETS,
    TRAINER_DEFAULTS,
    USAGE,
    asked_preset,
    read_preset,
)
from acro.cli.runs import Run, folder_name
from acro.cli.trust import check_trust, foreign_names
from acro.dqn.module import DQN
from acro.dqn.trainers import check_trainer
from acro.experience.datamodule import Experience
from acro.storage.checkpoints import DurableCheckpointIO, read_checkpoint


@contextmanager
def prepared(argv: Sequence[str], run: Run | None = None) -> Iterator[FitCLI]:
    """Parse and check everything, then make and lock the run's folder; before that, nothing is written.

    Args:
        argv: The command line.
        run: The folder of a new run; None for the next free one.

    Raises:
        ValueError: The arguments make no sense together, or the Trainer does not take them.
        OSError: A file cannot be read, or the folder cannot be written.
    """
    with _mistakes_told():
        cli = FitCLI(argv, run)
    try:
        yield cli
    finally:
        cli.lock.release()
        cli.run.discard()


def checked_settings(argv: Sequence[str]) -> dict[str, Any]:
    """Return all settings of the run that `argv` describes, after making everything but its files.

    Raises:
        ValueError: The arguments make no sense together, or the Trainer does not take them.
        OSError: A file cannot be read.
    """
    with _mistakes_told():
        settings: dict[str, Any] = yaml.safe_load(CheckedCLI(argv).config_text)
    return settings


@contextmanager
def _mistakes_told() -> Iterator[None]:
    """Turn errors of Lightning and jsonargparse into one sentence."""
    _quieten_lightning()
    try:
        yield
    except MisconfigurationException as error:
        text = " ".join(str(error).split())
        if "backend found" in text:
            text = f"--trainer.accelerator: {text} Leave it out to train on the CPU."
        raise ValueError(text) from error
    except ValueError as error:
        explained = explain_class(str(error))
        if explained is None:
            raise
        raise ValueError(explained) from error


def _quieten_lightning() -> None:
    """Hide Lightning's advertisements and tips."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    # The output of --trainer.profiler.
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)
    # The CPU is acro's default, and --trainer.accelerator chooses another device.
    warnings.filterwarnings("ignore", "GPU available but not used")
    # A resumed run's folder is not empty, and should not be.
    warnings.filterwarnings("ignore", r"Checkpoint directory .* exists and is not empty")
    # A run may continue without its GIF callback.
    warnings.filterwarnings("ignore", r"Be aware that when using `ckpt_path`, callbacks used to create")
    # Lightning 2.6 uses a name that torch 2.15 deprecates, which a user cannot change.
    warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)


class FitCLI(LightningCLI):
    """LightningCLI with acro's run folder, loggers and callbacks.

    Attributes:
        run: The run's folder, locked.
        ckpt_path: The checkpoint to continue from; None in a new run.
        resumed_step: The environment steps in it; None in a new run.
        interrupts: Knows which signal stopped the run.
        curve: Has all evaluations.
    """

    def __init__(self, args: Sequence[str], new_run: Run | None = None) -> None:
        self.resumed: Run | None = None
        self.new_run = new_run
        self.ckpt_path: Path | None = None
        self.resumed_step: int | None = None
        self._resumed_round = 0
        self._checkpoint: dict[str, Any] | None = None
        self.run: Run
        self.interrupts = Interrupts()
        self.curve = LearningCurve()
        super().__init__(
            DQN,
            Experience,
            run=False,
            args=list(args),
            # Lightning's own writes in place, and a killed process would leave half a file.
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={
                "exit_on_error": False,
                "allow_abbrev": False,
                "prog": "python -m acro.fit",
                "usage": USAGE,
                "description": DESCRIPTION,
            },
            trainer_defaults=TRAINER_DEFAULTS,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add acro's own options, and link the network's sizes to the environment."""
        for option in OPTIONS:
            kind = {"action": "store_true"} if option.is_switch else {"type": option.type, "default": option.default}
            parser.add_argument(f"--{option.name}", help=option.help, **kind)
        for linked in LINKED:
            parser.link_arguments(f"data.{linked}", f"model.{linked}", apply_on="instantiate")
        for seeded in ("data.seed", "model.seed"):
            parser.link_arguments("seed_everything", seeded, compute_fn=_plain_seed)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse twice: first what was given, to find the preset that has the defaults; then everything."""
        try:
            self.config = self._parse(parser, args)
        except Exception as error:
            explained = explain(parser, str(error))
            if explained is None:
                raise
            raise ValueError(explained) from error

    def _parse(self, parser: LightningArgumentParser, args: list[str]) -> Namespace:
        # The link of the seeds needs one.
        asked = [argument for argument in args if not argument.startswith("--print_config")]
        given = parser.parse_args(["--seed_everything=0", *asked], defaults=False)
        env_id, ckpt_path = given.get("data.env_id"), given.get("ckpt_path")
        preset = asked_preset(given.get("preset"), args, env_id)
        if preset is not None:
            read_preset(preset)
            parser.set_defaults(preset=preset)
            parser.default_config_files = [str(PRESETS / f"{preset}.yaml")]
        if ckpt_path is not None:
            root = Path(given.get("trainer.default_root_dir") or TRAINER_DEFAULTS["default_root_dir"])
            env_id = env_id or parser.get_defaults()["data"]["env_id"]
            name = folder_name(given.get("name") or preset or env_id)
            named = Run(Path(ckpt_path)).last_checkpoint if Path(ckpt_path).is_dir() else Path(ckpt_path)
            self.resumed = Run.newest(root, name) if ckpt_path == "last" else Run.of_checkpoint(named)
            self.ckpt_path = self.resumed.last_checkpoint if ckpt_path == "last" and self.resumed else named
            self._checkpoint = read_checkpoint(self.ckpt_path)
            if self.resumed is not None:
                if not given.get("trust_config"):
                    check_trust(self.resumed.config)
                parser.default_config_files = [str(self.resumed.config)]
                asked, own = given.get("preset"), parser.get_defaults()["preset"]
                if asked not in (None, own):
                    raise ValueError(
                        f"--preset {asked} cannot continue a run of {own}, {self.resumed.folder}; leave it out"
                    )
        return parser.parse_args(args)

    def before_instantiate_classes(self) -> None:
        """Set torch's threads; leave options for resuming out of the saved configuration."""
        if (threads := self.config["torch_threads"]) < 1:
            raise ValueError(f"--torch_threads must be at least 1, got {threads}")
        torch.set_num_threads(threads)
        self.config["ckpt_path"] = None
        self.config["trust_config"] = self.config["debug"] = False
        # By position: jsonargparse 4.49 gave the third argument, which leaves None out, another name.
        self.config_text: str = self.parser.dump(self.config, "parser_mode", False)

    @property
    def needs_trust(self) -> bool:
        """Whether continuing this run may import code that is neither acro's nor Lightning's."""
        return next(foreign_names(yaml.safe_load(self.config_text)), None) is not None

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Return a Trainer that writes into the run's folder, which is made after all checks have passed."""
        experience, model, config = self.datamodule, self.model, self.config
        if self._checkpoint is not None:
            with blaming(self.ckpt_path):
                model.check_resumable(self._checkpoint)
                experience.check_resumable(self._checkpoint)
                self.resumed_step, self._resumed_round = env_steps_of(self._checkpoint), rounds_of(self._checkpoint)
            _check_length(config["trainer"]["max_epochs"], experience.steps_per_epoch, self.resumed_step)
            # It may hold gigabytes, and the Trainer reads it itself.
            self._checkpoint = None
        available = available_bytes()
        # Allocates the memory, which may fail.
        experience.setup("fit")
        if config["trainer"]["enable_checkpointing"] is not False and not config["trainer"]["fast_dev_run"]:
            _check_room(experience, config["trainer"]["max_epochs"], available)
        try:
            name = folder_name(config["name"] or config["preset"] or config["data"]["env_id"])
            self.run = self.resumed or self.new_run or Run.new(Path(config["trainer"]["default_root_dir"]), name)
            self.lock = self.run.lock()
        except BlockingIOError:
            raise
        except OSError as error:
            raise OSError(
                f"cannot make the run's folder: {error}; choose another --trainer.default_root_dir"
            ) from error
        try:
            trainer = self._make_trainer(**kwargs)
            check_trainer(trainer)
        except BaseException:
            self.lock.release()
            self.run.discard()
            raise
        return trainer

    def _make_trainer(self, **kwargs: Any) -> L.Trainer:
        given = self.config_init["trainer"]
        if given["barebones"]:
            raise ValueError("--trainer.barebones leaves out the files that a run is made of: use it from Python")
        if given["fast_dev_run"] and self.ckpt_path is not None:
            raise ValueError("--trainer.fast_dev_run tries a new run out and leaves no files: leave --ckpt_path out")
        if given["limit_test_batches"] not in (None, 1.0):
            raise ValueError("--trainer.limit_test_batches would leave out the result: use --data.eval_episodes")
        given["callbacks"] = [*_listed(given["callbacks"]), *self._callbacks()]
        given["default_root_dir"] = str(self.run.folder)
        given["plugins"] = [*_listed(given["plugins"]), DurableCheckpointIO()]
        if SLURMEnvironment.detect():
            # A requeued job would start another run; docs/resuming.md says how it can continue its own.
            given["plugins"].append(SLURMEnvironment(auto_requeue=False))
        given["logger"] = self._loggers(given["logger"])
        trainer: L.Trainer = super().instantiate_trainer(**kwargs)
        return trainer

    def _loggers(self, given: Any) -> list[Any]:
        """Return the logger of `metrics.csv` first, since the Trainer uses its folder, then the others."""
        root, name, version = self.run.root, self.run.name, self.run.version
        resumed_step = self.resumed_step
        metrics = MetricsCSV(root, name, version, resume_step=resumed_step, resume_round=self._resumed_round)
        if given is False:
            return [metrics]
        if given not in (None, True):
            return [metrics, *_listed(given)]
        # TensorBoard also drops events at `purge_step` itself.
        purge_step = None if resumed_step is None else resumed_step + 1
        return [metrics, Events(root, name, version, default_hp_metric=False, purge_step=purge_step)]

    def _callbacks(self) -> list[L.Callback]:
        given = self.config_init["trainer"]
        shown: list[L.Callback] = [] if given["enable_progress_bar"] is False else [TrainingProgress()]
        shown += [self.curve, *([RenderGif()] if self.config["gif"] else []), self.interrupts]
        if given["enable_checkpointing"] is False or given["fast_dev_run"]:
            return shown
        config = SaveConfig(self.run.config, self.config_text)
        # `SaveBest` before `SaveLast`, whose checkpoint has the best mean in it.
        return [*shown, config, SaveBest(self.run.best_checkpoint), SaveLast(self.run.last_checkpoint)]


class CheckedCLI(FitCLI):
    """`FitCLI` without the run's folder and without anything that writes into it."""

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Return a Trainer that writes nothing."""
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer: L.Trainer = LightningCLI.instantiate_trainer(self, **{**kwargs, **quiet})
        check_trainer(trainer)
        return trainer


def env_steps_of(checkpoint: dict[str, Any]) -> int:
    """Return the environment steps in `checkpoint`; 0 if it has no `Experience`."""
    experience = checkpoint.get(Experience.__qualname__)
    return 0 if experience is None else int(experience["collector"]["env_steps"])


def rounds_of(checkpoint: dict[str, Any]) -> int:
    """Return the rounds in `checkpoint`, by which Lightning numbers what `training_step` logs."""
    loop = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_loop.state_dict", {})
    return int(loop.get("_batches_that_stepped", 0))


def _listed(given: Any) -> list[Any]:
    return [] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]


def _plain_seed(seed: bool | int) -> int:
    if isinstance(seed, bool):
        raise ValueError(f"--seed_everything {seed}: give a number, so that the run can be repeated")
    return seed


def _check_room(experience: Experience, max_epochs: int | None, available: int | None) -> None:
    """Check that `available` bytes hold the replay memory and the copy of it that a checkpoint is written from."""
    assert experience.collector is not None
    memory = experience.collector.memory
    steps = memory.capacity if max_epochs is None or max_epochs < 0 else max_epochs * experience.steps_per_epoch
    used = memory.nbytes * min(1.0, steps / memory.capacity)
    if available is not None and 2 * used > available:
        raise MemoryError(
            f"the replay memory will hold {used / 1e9:.1f} GB, and a checkpoint is written from a copy of it: that is "
            f"{2 * used / 1e9:.1f} GB, and {available / 1e9:.1f} GB are available; make --data.capacity smaller, or "
            "leave checkpoints out with --trainer.enable_checkpointing false"
        )


def _check_length(max_epochs: int | None, steps_per_epoch: int, env_steps: int) -> None:
    if max_epochs is None or max_epochs == -1 or env_steps <= max_epochs * steps_per_epoch:
        return
    needed = -(-env_steps // steps_per_epoch)
    raise ValueError(
        f"--trainer.max_epochs {max_epochs} must be at least {needed} to continue this run, "
        f"which has already taken {env_steps} steps"
    )
