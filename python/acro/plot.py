"""Draw learning curves of one run or several: `python -m acro.plot RUN [RUN ...] --out FILE`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from acro.cli.command import run_command
from acro.cli.runs import comparable_settings
from acro.drawing.curves import CurvePoint, check_picture, draw_run, draw_runs, read_run, save_figure
from acro.envs.facts import reward_threshold
from acro.storage.files import check_writable
from acro.storage.run_folder import RunFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the runs in these arguments; return the exit code, 2 for a user's mistake."""
    return run_command(_run, argv)


def _run(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    check_picture(arguments.out)
    check_writable(arguments.out)
    folders = list(dict.fromkeys(folder.resolve() for folder in arguments.runs))
    _draw(_read(folders), arguments.by, arguments.out)
    print(arguments.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m acro.plot",
        description="Draw the learning curves of runs. Runs in the same folder count as seeds of one experiment: "
        "their mean is drawn, with a 95% bootstrap interval over them.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="a run folder, with its metrics.csv")
    parser.add_argument("--out", required=True, metavar="FILE", type=Path, help="the picture: .png, .svg or .pdf")
    parser.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="SETTING",
        help="a line for each value of a setting",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    parser.add_argument("--version", action="store_true", help="print acro's version")
    return parser


def _read(folders: Sequence[Path]) -> dict[Path, list[CurvePoint]]:
    """Return the runs' evaluations; a folder without any is skipped with a message, unless it is the only one."""
    runs = {}
    for folder in folders:
        try:
            runs[folder] = read_run(folder)
        except (FileNotFoundError, ValueError) as error:
            if folder == folders[-1] and not runs:
                raise
            print(f"skipped: {error}", file=sys.stderr)
    return runs


def _draw(runs: Mapping[Path, list[CurvePoint]], by: Sequence[str], out: Path) -> None:
    settings = {folder: _settings(folder) for folder in runs}
    for name in by:
        for folder in runs:
            if name not in settings[folder]:
                raise ValueError(f"--by {name}: {folder} has no such setting")
    env_ids = {found.get("data.env_id") for found in settings.values()}
    env_id = env_ids.pop() if len(env_ids) == 1 else None
    if len(env_ids) > 1:
        print(f"these runs are of several environments: {', '.join(sorted(map(str, env_ids)))}", file=sys.stderr)
    title, threshold = str(env_id or ""), reward_threshold(env_id)
    if len(runs) == 1:
        (points,) = runs.values()
        save_figure(draw_run(points, title=title, threshold=threshold), out)
        return
    groups: dict[str, list[Path]] = {}
    several = len({folder.parent for folder in runs}) > 1
    for folder in runs:
        parts = [f"{name.rpartition('.')[2]} {settings[folder][name]}" for name in by]
        groups.setdefault(", ".join([folder.parent.name] * (several or not by) + parts), []).append(folder)
    for label, folders in groups.items():
        _check_equal(label, {folder: settings[folder] for folder in folders})
    named = {label: [runs[folder] for folder in folders] for label, folders in groups.items()}
    save_figure(draw_runs(named, title=title, threshold=threshold), out)


def _settings(folder: Path) -> dict[str, Any]:
    """Return a run's settings by dotted name; none if its config.yaml is missing or damaged."""
    try:
        return comparable_settings(yaml.safe_load(RunFolder(folder).config.read_text()))
    except (OSError, AttributeError, UnicodeDecodeError, yaml.YAMLError):
        return {}


def _check_equal(label: str, settings: Mapping[Path, Mapping[str, Any]]) -> None:
    """Check that runs to be averaged are seeds of one experiment."""
    known = [found for found in settings.values() if found]
    for name in dict.fromkeys(name for found in known for name in found):
        values = list(dict.fromkeys(str(found.get(name)) for found in known))
        if len(values) > 1:
            raise ValueError(
                f"runs of {label!r} differ in {name} ({', '.join(values)}), and their mean would say nothing; "
                f"give each value a line with --by {name}"
            )


if __name__ == "__main__":
    sys.exit(main())
