"""The command line of `python -m acro.fit`: what it takes, and the Trainer that it makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from acro.callbacks.checkpointing import Interrupts, SaveBest, SaveLast
from acro.callbacks.curve import LearningCurve
from acro.callbacks.metrics_csv import MetricsCSV
from acro.callbacks.progress import TrainingProgress
from acro.cli.runs import Run
from acro.cli.usage import USAGE
from acro.dqn import DQN
from acro.experience import Experience
from acro.storage.checkpoints import DurableCheckpointIO, read_checkpoint
from acro.storage.files import replacing

PRESETS = resources.files("acro") / "presets"
DEFAULT_ROOT = "runs"


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
            name = config["preset"] or folder_name(config["data"]["env_id"])
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


def preset_names() -> list[str]:
    """Return the names that `--preset` takes."""
    return sorted(path.name.removesuffix(".yaml") for path in PRESETS.iterdir() if path.name.endswith(".yaml"))


def env_steps_of(checkpoint: dict[str, Any]) -> int:
    """Return the environment steps that `checkpoint` has behind it; 0 without an `Experience` in it."""
    experience = checkpoint.get(Experience.__qualname__)
    return 0 if experience is None else int(experience["collector"]["env_steps"])


def folder_name(env_id: str) -> str:
    """Return an environment's id as a folder's name: acro/Acrobot-v1 -> acro-Acrobot-v1."""
    return env_id.replace("/", "-").replace(":", "-")


def _plain_seed(seed: bool | int) -> int:
    if isinstance(seed, bool):
        raise ValueError(f"--seed_everything {seed}: give a number, so that the run can be repeated")
    return seed
