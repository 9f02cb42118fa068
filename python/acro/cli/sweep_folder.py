"""A sweep's folder: its study, its trials, and their outcomes."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from acro.callbacks.clock import read_seconds
from acro.cli.study import STUDY, Study
from acro.cluster.outcomes import (
    EXPLANATION,
    Group,
    best_of,
    draw_curves,
    format_table,
    groups_of,
    read_outcome,
    table_of,
    write_results,
)
from acro.cluster.report import write_report
from acro.cluster.trials import SETTINGS, Trial
from acro.storage.files import replacing


@dataclass(frozen=True)
class SweepFolder:
    """The paths of a sweep's files.

    Attributes:
        path: The folder.
        study: The study that is tried in it.
        plain: Name of the configuration if only seeds differ.
    """

    path: Path
    study: Study
    plain: str

    @classmethod
    def new(cls, path: Path, study: Study, plain: str) -> SweepFolder:
        """Write the study into an empty folder."""
        if "config" in study.settings:
            # A later change of the file must not change a resumed sweep.
            own = shutil.copy(study.settings["config"], path / "config.yaml")
            study = replace(study, settings={**study.settings, "config": str(own)})
        with replacing(path / STUDY) as file:
            file.write(study.text().encode())
        return cls(path, study, plain)

    def trials(self) -> list[Trial]:
        """Return all trials of seeds and grids; of a search, all seeds of the configurations that have begun."""
        if not self.study.search:
            return self.study.all_trials(self.path, self.plain)
        found = sorted(self.path.glob(f"*/{SETTINGS}"), key=lambda path: path.stat().st_mtime_ns)
        return [trial for path in found for trial in self.make_trials(yaml.safe_load(path.read_text()))]

    def make_trials(self, chosen: Mapping[str, str]) -> list[Trial]:
        """Return the trials of a configuration."""
        return self.study.trials_of(self.path, self.plain, chosen)

    def groups(self) -> list[Group]:
        """Return the outcomes of the trials so far."""
        return groups_of([read_outcome(trial, read_seconds(trial.run.seconds)) for trial in self.trials()])

    def summarize(self) -> str:
        """Write results.csv, curves.png and .svg, best.yaml and report.html; return the table."""
        groups = self.groups()
        write_results(self.path / "results.csv", [outcome for group in groups for outcome in group.outcomes])
        env_ids = dict.fromkeys(outcome.env_id for group in groups for outcome in group.finished)
        title = f"{', '.join(env_ids) or self.plain}: {self.describe()}"
        draw_curves(groups, title, [self.path / "curves.png", self.path / "curves.svg"])
        best = best_of(groups)
        if best is not None:
            # All its seeds have these settings; --seed_everything gives another one.
            with replacing(self.path / "best.yaml") as file:
                file.write(best.finished[0].trial.run.config.read_bytes())
        write_report(
            self.path / "report.html",
            title,
            self.command(),
            groups,
            self.study.space,
            curves=self.path / "curves.png",
            best_config=self.path / "best.yaml",
        )
        return f"{format_table(table_of(groups))}\n\n{EXPLANATION}"

    def describe(self) -> str:
        """Describe the study in a few words."""
        study, seeds = self.study, f"{len(self.study.seeds)} seed{'s' * (len(self.study.seeds) > 1)}"
        if study.search:
            return f"search over {', '.join(study.search)}: {study.trials} configurations, {seeds} each"
        if study.grid:
            count = len(study.all_trials(self.path, self.plain)) // len(study.seeds)
            return f"grid over {', '.join(study.grid)}: {count} configurations, {seeds} each"
        return seeds

    def command(self) -> str:
        """Return the command line of the same sweep."""
        study = self.study
        words = [f"--{name}={value}" for name, value in study.settings.items()]
        words += [f"--grid={name}={','.join(values)}" for name, values in study.grid.items()]
        words += [f"--search={name}={text}" for name, text in study.search.items()]
        words += [f"--trials={study.trials}"] * bool(study.search) + ["--asha"] * study.asha
        first, count = study.seeds[0], len(study.seeds)
        if study.seeds == list(range(first, first + count)):
            words += [f"--seeds={count}", *([f"--seed_everything={first}"] if first else [])]
        else:
            words += ["--seeds", *map(str, study.seeds)]
        return shlex.join(["python", "-m", "acro.sweep", *words])
