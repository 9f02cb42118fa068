from __future__ import annotations

import io
from pathlib import Path

from sweeping import make_trial

from acro.cluster.table import TrialTable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_change_is_a_line(tmp_path: Path) -> None:
    stream, trial = io.StringIO(), make_trial(tmp_path)
    table = TrialTable([trial], stream)
    table.start(trial)
    table.evaluate(trial, 1_024, -90.25)
    table.lose(trial)
    table.start(trial)
    trial.run.folder.mkdir(parents=True)
    trial.run.result.touch()
    table.end(trial)
    table.close()

    assert stream.getvalue().splitlines() == [
        "cartpole/version_0 · not begun · not evaluated yet · running",
        "cartpole/version_0 · step 1,024 · eval -90.2 · lost, goes on",
        "cartpole/version_0 · step 1,024 · eval -90.2 · running",
        "cartpole/version_0 · step 1,024 · eval -90.2 · finished",
    ]


def test_terminal_shows_one_table_again_and_again(tmp_path: Path) -> None:
    stream, trials = Terminal(), [make_trial(tmp_path, seed) for seed in range(3)]
    table = TrialTable(trials, stream)
    table.start(trials[1])
    table.close()

    first, second = stream.getvalue().split("\x1b[5A\x1b[J")
    assert first == second
    assert second.splitlines()[-1] == "3 trials: 2 waiting, 1 running"


def test_table_of_many_shows_those_that_run(tmp_path: Path) -> None:
    trials = [make_trial(tmp_path, seed) for seed in range(50)]
    table = TrialTable(trials, io.StringIO())
    table.start(trials[40])

    lines = table.text(3).splitlines()
    assert len(lines) == 5
    assert any(line.startswith("cartpole/version_40") and line.endswith("running") for line in lines)


def test_how_a_trial_ended_is_read_from_its_folder(tmp_path: Path) -> None:
    trials = [make_trial(tmp_path, seed) for seed in range(3)]
    for trial, path in zip(
        trials, (trials[0].run.result, trials[1].run.error, trials[2].run.stopped_early), strict=True
    ):
        trial.run.folder.mkdir(parents=True)
        path.touch()

    assert TrialTable(trials, io.StringIO()).text(3).splitlines()[-1] == (
        "3 trials: 1 finished, 1 failed, 1 stopped early"
    )
