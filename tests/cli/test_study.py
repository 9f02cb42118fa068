from __future__ import annotations

from pathlib import Path

import pytest

from acro.cli.study import Study, asked_study, read_study, sweep_parser


def study_of(*argv: str) -> Study:
    return asked_study(*sweep_parser().parse_known_args(list(argv)))


def test_seeds_are_counted_or_named() -> None:
    assert study_of("--seeds", "3").seeds == [0, 1, 2]
    assert study_of("--seeds", "3", "--seed_everything", "7").seeds == [7, 8, 9]
    assert study_of("--seeds", "4", "2").seeds == [4, 2]


def test_grid_has_its_combinations_in_order(tmp_path: Path) -> None:
    study = study_of(
        "--grid", "data.n_step=1,3", "--grid", "model.hidden=[8],[8,8]", "--seeds", "2", "--preset=acrobot"
    )

    trials = study.all_trials(tmp_path, "acrobot")
    assert [(trial.group, trial.seed) for trial in trials][:3] == [
        ("n_step=1,hidden=(8)", 0),
        ("n_step=1,hidden=(8)", 1),
        ("n_step=1,hidden=(8,8)", 0),
    ]
    assert trials[2].arguments == ("--preset=acrobot", "--data.n_step=1", "--model.hidden=[8,8]")
    assert len(trials) == 8


def test_every_value_is_checked_once() -> None:
    grid = study_of("--grid", "data.n_step=1,3", "--grid", "model.tau=0.5,1").to_check()
    search = study_of("--search", "model.tau=uniform(0.1,1)", "--search", "data.n_step=choice(1,2,3)").to_check()

    assert grid == [
        ("--data.n_step=1", "--model.tau=0.5"),
        ("--data.n_step=3", "--model.tau=0.5"),
        ("--data.n_step=1", "--model.tau=1"),
    ]
    assert search == [
        ("--model.tau=0.1", "--data.n_step=1"),
        ("--model.tau=1", "--data.n_step=2"),
        ("--model.tau=0.386479", "--data.n_step=3"),
    ]


def test_file_says_what_the_command_line_says(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "preset: cartpole\nseeds: 2\ntrials: 9\nsearch: {model.tau: 'uniform(0.1,1)'}\n"
        "data: {env_kwargs: {max_episode_steps: 60}}\nmodel: {hidden: [8, 8]}\n"
    )

    study = study_of("--sweep", str(path), "--trials", "5", "--model.loss", "mse")
    assert (study.seeds, study.trials, study.search) == ([0, 1], 5, {"model.tau": "uniform(0.1,1)"})
    assert study.settings == {
        "preset": "cartpole",
        "model.hidden": "[8, 8]",
        "data.env_kwargs": '{"max_episode_steps": 60}',
        "model.loss": "mse",
    }


def test_study_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    study = study_of(
        "--search", "data.n_step=randint(1,4)", "--trials=3", "--asha", "--preset", "acrobot", "--gif=false"
    )
    (tmp_path / "study.yaml").write_text(study.text())

    assert read_study(tmp_path / "study.yaml") == study


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--grid", "a=1", "--search", "b=uniform(0,1)"],
            r"--grid and --search cannot be combined; --search NAME=",
        ),
        (["--trials", "3"], "--trials counts what a search tries: give --search NAME=DISTRIBUTION too"),
        (["--asha"], "--asha stops configurations that do worse than others: give --grid or --search too"),
        (["--asha", "--grid", "a=1,2", "--seeds", "2"], "--asha would stop single seeds"),
        (["--grid", "a=1,1"], "--grid a=1,1: values must be at least one, each once"),
        (["--grid", "a=1", "--grid", "a=2"], "--grid a is given twice; give all its values at once"),
        (["--search", "a=choice(1,2)", "--search", "a=choice(3,4)"], "--search a is given twice"),
        (["--grid", "a"], "a: expected NAME=VALUES, such as data.n_step=1,3,5"),
        (["--seeds", "0"], r"--seeds must be at least one seed, each once, got \[\]"),
        (["--ckpt_path", "last"], "--ckpt_path has no meaning in a sweep: a sweep goes on with --resume FOLDER"),
        (["--grid", "seed_everything=1,2"], "seeds are given by --seeds"),
        (["--data.prioritized"], "--data.prioritized needs a value, such as --data.prioritized=true"),
        (["acrobot"], "acrobot: expected a setting of a run"),
    ],
)
def test_what_makes_no_sense_is_an_error(argv: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study_of(*argv)


def test_file_with_another_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("sedes: 3\n")

    with pytest.raises(ValueError, match=r"study.yaml has sedes; a study has preset, config, name, model, data"):
        read_study(tmp_path / "study.yaml")


def test_what_would_run_foreign_code_is_found() -> None:
    assert study_of("--preset=acrobot", "--torch_threads=1", "--model.hidden=[8]").foreign_name() is None
    assert study_of("--data.env_id=mine:make").foreign_name() == ("data.env_id", "mine:make")
    assert study_of("--grid", "model.network=acro.QNetwork,mine.Net").foreign_name() == ("model.network", "mine.Net")
