"""Describes a sweep, from the command line of `python -m acro.sweep` or a YAML file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from acro.cli.trust import foreign_names
from acro.cluster.space import Dimension, space_of, split
from acro.cluster.trials import Trial, grid_of, group_name

STUDY = "study.yaml"
"""The file in a sweep's folder that says what the sweep tries."""

# Settings of a run that have no meaning in a sweep, and what to do instead.
_REFUSED = {
    "ckpt_path": "a sweep goes on with --resume FOLDER",
    "print_config": "print a run's with python -m acro.fit --print_config",
    "help_all": "python -m acro.fit --help_all explains the settings of a run",
}
_GROUPS = ("model", "data", "trainer")
_DESCRIPTION = """\
Train many runs in parallel on Ray: seeds of one configuration, a grid, or a search. Every trial is a run folder as
`acro.fit` makes it, to the bit. Ray starts by itself on this machine, or a cluster is joined by --address.
All settings of `python -m acro.fit` can be given too, and apply to all trials: --preset, --config, --model.*, --data.*,
--trainer.*, --name."""
_EPILOG = """\
examples:
  python -m acro.sweep --preset acrobot --seeds 10
  python -m acro.sweep --preset cartpole --grid data.n_step=1,3,5 --grid model.dueling=true,false --seeds 3
  python -m acro.sweep --search 'model.learning_rate=loguniform(1e-4,1e-2)' --trials 50 --asha
  python -m acro.sweep --resume runs/acrobot-sweep/version_0"""


@dataclass(frozen=True)
class Study:
    """What a sweep tries.

    Attributes:
        seeds: The seeds that each configuration is trained with.
        grid: Values by setting; every combination is tried.
        search: By setting, the distribution of its values.
        trials: Number of configurations that a search tries.
        asha: Stop configurations early that do worse than others.
        settings: The settings of all trials, by dotted name, as they would be typed.
    """

    seeds: list[int] = field(default_factory=lambda: [0])
    grid: dict[str, list[str]] = field(default_factory=dict)
    search: dict[str, str] = field(default_factory=dict)
    trials: int = 1
    asha: bool = False
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"--seeds must be at least one seed, each once, got {self.seeds}")
        if self.grid and self.search:
            raise ValueError("--grid and --search cannot be combined; --search NAME=choice(A,B) draws from a list")
        if self.trials < 1:
            raise ValueError(f"--trials must be at least 1, got {self.trials}")
        if self.trials > 1 and not self.search:
            raise ValueError("--trials counts what a search tries: give --search NAME=DISTRIBUTION too")
        if self.asha and not (self.grid or self.search):
            raise ValueError("--asha stops configurations that do worse than others: give --grid or --search too")
        if self.asha and len(self.seeds) > 1:
            raise ValueError(
                "--asha would stop single seeds, and the rest would look better than they are; "
                "use --seeds 1, then train the best configuration with more"
            )
        for name, values in self.grid.items():
            if not values or len(set(values)) < len(values):
                raise ValueError(f"--grid {name}={','.join(values)}: values must be at least one, each once")
        for name in [*self.grid, *self.search, *self.settings]:
            if name in _REFUSED:
                raise ValueError(f"--{name} has no meaning in a sweep: {_REFUSED[name]}")
            if name == "seed_everything":
                raise ValueError("seeds are given by --seeds, and the first of them by --seed_everything, not searched")
        _ = self.space

    @property
    def space(self) -> list[Dimension]:
        """The dimensions of the search."""
        return space_of(self.search)

    def arguments(self, chosen: Mapping[str, str]) -> tuple[str, ...]:
        """Return the command line of `acro.fit` for a configuration, without the seed."""
        return tuple(f"--{name}={value}" for name, value in {**self.settings, **chosen}.items())

    def to_check(self) -> list[tuple[str, ...]]:
        """Return command lines that have every value of the grid and every bound of the search at least once."""
        if self.grid:
            combinations = grid_of(self.grid)
            # Each value with the first ones of the other settings: there may be very many combinations.
            first = combinations[0]
            chosen = [first, *({**first, name: value} for name, values in self.grid.items() for value in values[1:])]
        else:
            examples = {dimension.name: dimension.examples() for dimension in self.space}
            count = max(map(len, examples.values()), default=1)
            chosen = [
                {name: found[min(index, len(found) - 1)] for name, found in examples.items()} for index in range(count)
            ]
        return [self.arguments(each) for each in chosen]

    def trials_of(self, folder: Path, plain: str, chosen: Mapping[str, str]) -> list[Trial]:
        """Return the trials of a configuration, one for each seed."""
        group, arguments = group_name(chosen, plain), self.arguments(chosen)
        return [Trial(folder, group, seed, dict(chosen), arguments) for seed in self.seeds]

    def all_trials(self, folder: Path, plain: str) -> list[Trial]:
        """Return the trials of seeds or a grid, in order; those of a search are drawn later."""
        return [trial for chosen in grid_of(self.grid) for trial in self.trials_of(folder, plain, chosen)]

    def foreign_name(self) -> tuple[str, str] | None:
        """Return a setting, and its text, that would run code outside of acro and Lightning; None if there is none."""
        values = {name: [value] for name, value in self.settings.items()} | self.grid
        values |= {dimension.name: dimension.examples() for dimension in self.space}
        given = ((name, value) for name, found in values.items() for value in found if name != "config")
        return next((found for name, value in given for found in foreign_names(yaml.safe_load(value), name)), None)

    def text(self) -> str:
        """Return the study as YAML, for `read_study`."""
        return yaml.safe_dump(asdict(self), sort_keys=False)


def read_study(path: Path) -> Study:
    """Read a YAML file with the names of `Study`, and `model`, `data` and `trainer` as in a run's config.yaml.

    Raises:
        ValueError: The file is not such a YAML file.
        OSError: The file cannot be read.
    """
    try:
        found = yaml.safe_load(path.read_text()) or {}
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is not a YAML file: {error}") from error
    names = ["preset", "config", "name", *_GROUPS, *Study.__dataclass_fields__]
    if not isinstance(found, dict) or not found.keys() <= set(names):
        unknown = sorted(map(str, found.keys() - set(names))) if isinstance(found, dict) else [type(found).__name__]
        raise ValueError(f"{path} has {', '.join(unknown)}; a study has {', '.join(names)}")
    settings = {str(name): _typed(value) for name, value in _part(path, found, "settings").items()}
    settings |= {name: _typed(found[name]) for name in ("preset", "config", "name") if found.get(name) is not None}
    for group in _GROUPS:
        settings |= {f"{group}.{name}": _typed(value) for name, value in _part(path, found, group).items()}
    grid = _part(path, found, "grid")
    for name, values in grid.items():
        if not isinstance(values, list):
            raise ValueError(f"{path}: grid.{name} must be a list of values, got {values!r}")
    seeds, trials, asha = found.get("seeds", 1), found.get("trials", 1), found.get("asha", False)
    if not isinstance(trials, int) or not isinstance(asha, bool):
        raise ValueError(f"{path}: trials must be a number and asha true or false, got {trials!r} and {asha!r}")
    return Study(
        _seeds(seeds if isinstance(seeds, list) else [seeds], first=0, listed=isinstance(seeds, list)),
        {name: [_typed(value) for value in values] for name, values in grid.items()},
        {name: str(value) for name, value in _part(path, found, "search").items()},
        trials,
        asha,
        settings,
    )


def sweep_parser() -> argparse.ArgumentParser:
    """Return the parser of a sweep's own arguments, which leaves those of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m acro.sweep",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--seeds",
        type=int,
        nargs="+",
        metavar="N",
        help="number of seeds, counted from --seed_everything (0); or several seeds",
    )
    add("--grid", action="append", default=[], metavar="NAME=A,B", help="values to try, with every other --grid's")
    add(
        "--search",
        action="append",
        default=[],
        metavar="NAME=DISTRIBUTION",
        help="draw values with Optuna: uniform(LOW,HIGH), loguniform, randint (HIGH excluded), lograndint, choice(A,B)",
    )
    add("--trials", type=int, metavar="N", help="configurations that a search tries, each with every seed")
    add("--asha", action="store_true", help="stop configurations early that do worse than others")
    add("--sweep", type=Path, metavar="FILE", help="a YAML file with these settings")
    add("--resume", type=Path, metavar="FOLDER", help="continue a sweep that was stopped or killed")
    add("--jobs", type=int, metavar="N", help="trials at the same time; by default as many as there are CPUs")
    add("--address", metavar="ADDRESS", help="a Ray cluster to join: auto, HOST:PORT or ray://HOST:PORT")
    add("--trust_config", action="store_true", help="with --resume: import what the sweep names outside of acro")
    add("--debug", action="store_true", help="show the traceback of a mistake")
    add("--version", action="store_true", help="print acro's version")
    return parser


def asked_study(arguments: argparse.Namespace, rest: Sequence[str]) -> Study:
    """Return the study of the command line, on top of a study file if one is given.

    Args:
        arguments: The arguments that the sweep's parser found.
        rest: The remaining arguments, settings of a run.
    """
    base = Study() if arguments.sweep is None else read_study(arguments.sweep)
    settings = {**base.settings, **_settings(rest)}
    first = settings.pop("seed_everything", None)
    if "config" in settings:
        settings["config"] = str(Path(settings["config"]).resolve())
    seeds = base.seeds
    if arguments.seeds is not None or first is not None:
        given = arguments.seeds or [len(seeds)]
        seeds = _seeds(given, first=int(first or 0), listed=len(given) > 1)
    return Study(
        seeds,
        {**base.grid, **{name: split(text) for name, text in _pairs("grid", arguments.grid).items()}},
        {**base.search, **_pairs("search", arguments.search)},
        base.trials if arguments.trials is None else arguments.trials,
        base.asha or arguments.asha,
        settings,
    )


def _seeds(given: Sequence[Any], *, first: int, listed: bool) -> list[int]:
    if not all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in given):
        raise ValueError(f"--seeds must be whole numbers from 0, got {', '.join(map(str, given))}")
    return list(given) if listed else list(range(first, first + given[0]))


def _settings(rest: Sequence[str]) -> dict[str, str]:
    """Return `--name=value` and `--name value` by name."""
    settings: dict[str, str] = {}
    words = list(rest)
    while words:
        word = words.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise ValueError(f"{word}: expected a setting of a run, such as --model.learning_rate=1e-3")
        if not equals:
            if not words or words[0].startswith("--"):
                raise ValueError(f"--{name} needs a value, such as --{name}=true")
            value = words.pop(0)
        settings[name] = value
    return settings


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """Return NAME=VALUES by name."""
    pairs: dict[str, str] = {}
    for text in given:
        name, equals, value = text.removeprefix("--").partition("=")
        if not equals:
            raise ValueError(f"{text}: expected NAME=VALUES, such as data.n_step=1,3,5")
        if name.strip() in pairs:
            raise ValueError(f"--{option} {name.strip()} is given twice; give all its values at once")
        pairs[name.strip()] = value.strip()
    return pairs


def _part(path: Path, found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = found.get(name) or {}
    if not isinstance(part, dict):
        raise ValueError(f"{path}: {name} must have settings by name, got {part!r}")
    return part


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
