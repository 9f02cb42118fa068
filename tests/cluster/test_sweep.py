"""`python -m acro.sweep`, from its arguments to its report."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
import yaml
from browser import CHROMIUM, Browser
from differences import compare
from sweeping import ARGUMENTS

from acro import fit, plot, sweep

ENV = "--data.env_id=killing:make_env"


@pytest.fixture(scope="module")
def undisturbed(ray_cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep over two seeds, in one worker: each worker imports PyTorch and Lightning."""
    root = tmp_path_factory.mktemp("undisturbed")
    assert (
        sweep.main([*ARGUMENTS, ENV, "--gif=true", f"--trainer.default_root_dir={root}", "--seeds", "2", "--jobs", "1"])
        == 0
    )
    return root / "killing-make_env-sweep" / "version_0"


def test_trial_is_the_run_that_fit_makes(undisturbed: Path, tmp_path: Path) -> None:
    arguments = [*ARGUMENTS, ENV, "--gif=true", f"--trainer.default_root_dir={tmp_path}", "--seed_everything=1"]
    assert fit.main(arguments) == 0

    trial = undisturbed / "killing-make_env" / "version_1"
    assert compare(tmp_path / "killing-make_env" / "version_0", trial) == []
    runs = [str(path) for path in sorted(trial.parent.glob("version_*"))]
    assert plot.main([*runs, "--out", str(tmp_path / "seeds.png")]) == 0
    own = shutil.copytree(trial, tmp_path / "continued" / "version_0")
    assert fit.main([f"--ckpt_path={own}/checkpoints/last.ckpt", "--trainer.max_epochs=4", "--trust_config"]) == 0


def test_sweep_leaves_its_table_curves_and_best_configuration(undisturbed: Path) -> None:
    with (undisturbed / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert [(row["seed"], row["state"]) for row in rows] == [("0", "finished"), ("1", "finished")]
    assert (undisturbed / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert (undisturbed / "curves.svg").is_file()
    assert not (undisturbed / ".tune").exists()
    best = yaml.safe_load((undisturbed / "best.yaml").read_text())
    assert (best["data"]["env_id"], best["model"]["hidden"]) == ("killing:make_env", [8])


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH: apt-get install chromium")
def test_report_shows_every_picture_in_a_browser(undisturbed: Path) -> None:
    address = (undisturbed / "report.html").as_uri()
    with Browser() as browser:
        browser.open(address, 1_200)

        # The curves, and a GIF for each of two seeds.
        assert browser.evaluate("[...document.images].filter(image => image.naturalWidth > 9).length") == 3
        assert browser.evaluate("document.querySelectorAll('.trial').length") == 2
        assert browser.evaluate("document.querySelector('h1').innerText") == "killing:make_env: 2 seeds"
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert browser.errors(address) == []


def test_sweep_goes_on_with_the_trials_that_are_not_finished(undisturbed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(undisturbed, tmp_path / "version_0")
    finished, stopped = folder / "killing-make_env" / "version_0", folder / "killing-make_env" / "version_1"
    shutil.rmtree(stopped)
    # As far as a driver that was killed would have left it.
    arguments = [*ARGUMENTS, ENV, "--gif=true", f"--trainer.default_root_dir={folder}", "--seed_everything=1"]
    assert fit.main([*arguments, "--trainer.max_epochs=2"]) == 0
    (stopped / "result.json").unlink()
    before = (finished / "result.json").stat().st_mtime_ns

    assert sweep.main(["--resume", str(folder), "--trust_config"]) == 0
    assert (finished / "result.json").stat().st_mtime_ns == before
    assert compare(undisturbed / "killing-make_env" / "version_1", stopped) == []


@pytest.mark.slow
def test_killed_and_stopped_sweep_ends_like_one_that_was_not(
    undisturbed: Path, ray_cluster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ray_cluster / "one").touch()
    root = tmp_path / "runs"
    folder = root / "killing-make_env-sweep" / "version_0"
    trials = folder / "killing-make_env"
    stopper = threading.Thread(target=_interrupt_the_second, args=(trials, ray_cluster / "wait"))
    stopper.start()
    arguments = [*ARGUMENTS, ENV, "--gif=true", f"--trainer.default_root_dir={root}"]
    code = sweep.main([*arguments, "--seeds", "2", "--jobs", "1"])
    stopper.join()

    assert code == 130
    assert f"continue with: python -m acro.sweep --resume {folder}" in (said := capsys.readouterr().err)
    assert "lost, goes on" in said
    assert list(ray_cluster.iterdir()) == []
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/result.json")}
    assert len(finished) == 1
    assert sweep.main(["--resume", str(folder)]) == 2
    assert "names 'killing:make_env' in data.env_id" in capsys.readouterr().err
    assert sweep.main(["--resume", str(folder), "--trust_config"]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    for seed in range(2):
        name = f"killing-make_env/version_{seed}"
        assert compare(undisturbed / name, folder / name) == []


def _interrupt_the_second(trials: Path, wait: Path) -> None:
    _wait_for(trials / "version_0" / "result.json")
    wait.touch()
    _wait_for(trials / "version_1" / "config.yaml")
    os.kill(os.getpid(), signal.SIGINT)
    # Until the trial asks whether it should stop, a few times a second.
    time.sleep(0.5)
    wait.unlink()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 100.0
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.slow
def test_search_draws_with_optuna_and_goes_on_where_it_was(
    ray_cluster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ["--search", "model.learning_rate=loguniform(1e-4,1e-2)", "--search", "model.double=choice(true,false)"]
    common = [*ARGUMENTS, f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epochs=1"]
    assert sweep.main([*common, *search, "--trials", "2", "--asha"]) == 0
    folder = tmp_path / "CartPole-v1-sweep" / "version_0"
    assert len(list(folder.glob("learning_rate=*,double=*/version_0/result.json"))) == 2
    capsys.readouterr()

    # As if the driver had been killed after two configurations of three.
    study = folder / "study.yaml"
    study.write_text(study.read_text().replace("trials: 2", "trials: 3"))
    assert sweep.main(["--resume", str(folder)]) == 0
    assert capsys.readouterr().err.count("finished") == 1
    with (folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["finished"] * 3
    assert "settings and scores" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--model.learning_rat=1"],
            "unrecognized arguments: --model.learning_rat=1; did you mean --model.learning_rate?",
        ),
        (["--grid", "data.n_steps=1,3"], "unrecognized arguments: --data.n_steps=1; did you mean --data.n_step?"),
        (["--grid", "data.n_step=1,x"], 'Parser key "data.n_step": Expected a'),
        (["--search", "model.tau=uniform(0.5,2)"], "tau must be at most 1, a share of the online network, got 2.0"),
        (["--resume", "nowhere"], "no sweep is there, it has no study.yaml"),
        (["--resume", "nowhere", "--seeds", "2"], "--seeds cannot change a sweep that has begun"),
    ],
)
def test_mistake_is_one_sentence_before_anything_is_written(
    argv: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)

    assert sweep.main(argv) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_without_ray_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)

    assert sweep.main(["--seeds", "2"]) == 2
    assert capsys.readouterr().err == (
        "error: python -m acro.sweep needs Ray, which is not installed; pip install 'acro-dqn[ray]'\n"
    )
