"""Train many runs on Ray: `python -m acro.sweep --preset NAME --seeds N`."""

from __future__ import annotations

import argparse
import math
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acro.cli.command import loading, run_command

if TYPE_CHECKING:
    from acro.cli.study import Study
    from acro.cli.sweep_folder import SweepFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Train the sweep in these arguments.

    Returns:
        The exit code: 0, 1 if no trial finished, 2 for bad arguments, 130 after Ctrl-C, 143 after SIGTERM.
    """
    return run_command(_sweep, argv)


def _sweep(argv: list[str]) -> int:
    from acro.cli.study import asked_study, sweep_parser

    arguments, rest = sweep_parser().parse_known_args(argv)
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {arguments.jobs}")
    from acro.experience.ray_session import find_ray

    find_ray("python -m acro.sweep")
    from acro.cli.runs import Run, folder_name
    from acro.cli.sweep_folder import SweepFolder

    is_new = arguments.resume is None
    study = asked_study(arguments, rest) if is_new else _resumed_study(arguments, rest)
    checked = _check(study)
    plain = folder_name(checked["name"] or checked["preset"] or checked["data"]["env_id"])
    root = Path(checked["trainer"]["default_root_dir"]).resolve()
    run = Run.new(root, f"{plain}-sweep") if is_new else Run(arguments.resume.resolve())
    lock = run.lock()
    try:
        make = SweepFolder.new if is_new else SweepFolder
        return _train_and_tell(arguments, make(run.folder, study, plain), checked)
    finally:
        lock.release()


def _resumed_study(arguments: argparse.Namespace, rest: Sequence[str]) -> Study:
    from acro.cli.study import STUDY, read_study
    from acro.cli.trust import check_trust

    given = [f"--{name}" for name in ("seeds", "grid", "search", "trials", "asha", "sweep") if getattr(arguments, name)]
    if given or rest:
        raise ValueError(f"{(given or rest)[0]} cannot change a sweep that has begun; --resume takes it as it is")
    if not (arguments.resume / STUDY).is_file():
        raise FileNotFoundError(f"--resume {arguments.resume}: no sweep is there, it has no {STUDY}")
    study = read_study(arguments.resume.resolve() / STUDY)
    if not arguments.trust_config:
        if "config" in study.settings:
            check_trust(Path(study.settings["config"]))
        if (found := study.foreign_name()) is not None:
            raise ValueError(
                f"{arguments.resume / STUDY} names {found[1]!r} in {found[0]}, which would be imported or read; "
                "if you trust that file, continue with --trust_config"
            )
    return study


def _check(study: Study) -> dict[str, Any]:
    """Check every setting that will be tried; return the settings of a run."""
    print("checking the settings; this loads PyTorch and Lightning", file=sys.stderr)
    with loading():
        from acro.cli.parser import checked_settings

    found = [checked_settings([*arguments, "--seed_everything=0"]) for arguments in study.to_check()]
    return found[0]


def _train_and_tell(arguments: argparse.Namespace, folder: SweepFolder, checked: dict[str, Any]) -> int:
    from acro.experience.ray_session import connected

    print(f"{folder.plain} · {folder.describe()} · {folder.path}", file=sys.stderr)
    with connected("python -m acro.sweep", address=arguments.address):
        stopped = _train(arguments.jobs, folder, checked)
    print(folder.summarize())
    groups = folder.groups()
    for outcome in [outcome for group in groups for outcome in group.outcomes if outcome.state == "failed"]:
        trial = outcome.trial
        last = trial.run.error.read_text().strip().splitlines()[-1]
        print(f"failed: {trial.group}, seed {trial.seed}: {last} ({trial.run.error})", file=sys.stderr)
    print(folder.path / "report.html", flush=True)
    if stopped is not None:
        print(f"stopped; continue with: python -m acro.sweep --resume {shlex.quote(str(folder.path))}", file=sys.stderr)
        return 130 if stopped == signal.SIGINT else 143
    return 0 if any(group.finished for group in groups) else 1


def _train(jobs: int | None, folder: SweepFolder, checked: dict[str, Any]) -> signal.Signals | None:
    """Train the trials that are not finished; return the signal that stopped them, or None."""
    from acro.cli.trial import run_trial
    from acro.cluster.sweeps import Early, Resources, Search, run_grid, run_search
    from acro.cluster.table import TrialTable

    study, trials = folder.study, folder.trials()
    gpus = int(checked["trainer"]["accelerator"] in ("gpu", "cuda"))
    epoch = checked["data"]["steps_per_epoch"]
    how: dict[str, Any] = {
        "folder": folder.path,
        "resources": Resources(checked["torch_threads"], gpus, jobs),
        "early": Early(checked["trainer"]["max_epochs"] * epoch, epoch) if study.asha else None,
    }
    table = TrialTable(trials)
    left = [trial for trial in trials if trial.end not in ("finished", "stopped early")]
    stopped = run_grid(left, run_trial, table, **how) if left else None
    begun = folder.groups() if study.search else []
    if stopped is None and len(begun) < study.trials and study.search:
        known = [(group.settings, group.score) for group in begun if math.isfinite(group.score)]
        configurations = study.trials - len(begun)
        search = Search(study.space, folder.make_trials, configurations, len(study.seeds), known, study.seeds[0])
        stopped = run_search(search, run_trial, table, **how)
    table.close()
    return stopped


if __name__ == "__main__":
    sys.exit(main())
