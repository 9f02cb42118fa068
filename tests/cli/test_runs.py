"""Run folders: one process each, nothing left of refused runs, nothing run that they name."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from test_fit import mistake, run

from acro.cli.runs import Run, comparable_settings


def test_runs_started_together_get_folders_of_their_own(tmp_path: Path) -> None:
    code = "import pathlib, sys; from acro.cli.runs import Run; print(Run.new(pathlib.Path(sys.argv[1]), 'a').version)"
    command = [sys.executable, "-c", code, str(tmp_path / "runs")]
    together = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(20)]
    made = [process.communicate(timeout=60)[0].strip() for process in together]

    assert sorted(made) == sorted(f"version_{number}" for number in range(20))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch."""
    root = tmp_path_factory.mktemp("finished")
    assert run(f"--trainer.default_root_dir={root}", "--trainer.max_epochs=1", "--gif=false") == 0
    return root / "acrobot" / "version_0"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "acrobot" / "version_0"))


def resume(folder: Path, *arguments: str) -> int:
    return run(f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}", "--trainer.max_epochs=2", *arguments)


def test_second_process_is_refused_in_a_sentence(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (copied / "config.yaml").read_bytes()
    made = Run.of_checkpoint(copied / "checkpoints" / "last.ckpt")
    assert made is not None
    code = (
        "import sys, pathlib; from acro.cli.runs import Run; lock = Run.of_checkpoint(pathlib.Path(sys.argv[1])).lock()"
    )
    holder = [sys.executable, "-c", f"{code}; print('held', flush=True); sys.stdin.read()"]
    command = [*holder, str(made.last_checkpoint)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert resume(copied) == 2
        assert mistake(capsys) == f"error: another process trains in {made.folder}; wait for it or stop it first\n"
        assert (copied / "config.yaml").read_bytes() == before
        process.kill()

    # The lock went with the process.
    assert resume(copied) == 0


def test_refused_run_removes_no_folder_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "acrobot").mkdir()
    assert run(f"--trainer.default_root_dir={tmp_path}", "--trainer.devices=2") == 2

    assert [path.name for path in tmp_path.rglob("*")] == ["acrobot"]


HOSTILE = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("trainer: {callbacks: [{class_path: hostile.Callback}]}", "hostile.Callback"),
        ("trainer: {callbacks: hostile.Callback}", "hostile.Callback"),
        ("trainer: {callbacks: '[{class_path: hostile.Callback}]'}", "hostile.Callback"),
        ("trainer: {callbacks: [{class_path: LambdaCallback, init_args: {on_fit_start: os.abort}}]}", "os.abort"),
        ("trainer: hostile.yaml", "hostile.yaml"),
        ("model: {network: {class_path: hostile.Net}}", "hostile.Net"),
        ("model: {network: nested/hostile.yaml}", "nested/hostile.yaml"),
        ("data: {env_id: 'hostile:Env-v0'}", "hostile:Env-v0"),
    ],
)
def test_run_folder_of_somebody_else_runs_nothing(
    setting: str,
    named: str,
    copied: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delitem(sys.modules, "hostile", raising=False)
    (tmp_path / "hostile.py").write_text(HOSTILE)
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "hostile.yaml").write_text("class_path: hostile.Net\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (copied / "config.yaml").write_text(f"{setting}\n")

    assert resume(copied) == 2

    said = mistake(capsys)
    assert f"names {named!r} in " in said
    assert "if you trust that file, continue with --trust_config" in said
    assert not (tmp_path / "ran").exists()
    assert "hostile" not in sys.modules


def test_own_code_continues_with_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_callbacks.py").write_text(
        textwrap.dedent(
            """
            import signal
            import lightning as L

            class Stop(L.Callback):
                def on_train_batch_start(self, trainer, *_):
                    if trainer.fit_loop.total_batch_idx == 2:
                        signal.raise_signal(signal.SIGTERM)
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    root = f"--trainer.default_root_dir={tmp_path / 'runs'}"
    assert run(root, "--trainer.max_epochs=1", "--trainer.callbacks+=own_callbacks.Stop", "--gif=false") == 143

    last = tmp_path / "runs" / "acrobot" / "version_0" / "checkpoints" / "last.ckpt"
    assert f"continue with: python -m acro.fit --ckpt_path {last} --trust_config" in capsys.readouterr().err
    assert run(f"--ckpt_path={last}") == 2
    assert run(f"--ckpt_path={last}", "--trust_config", "--trainer.max_epochs=1") == 0


def test_seeds_of_one_experiment_have_the_same_settings() -> None:
    config = {
        "seed_everything": 3,
        "preset": "acrobot",
        "model": {"tau": 1.0},
        "data": {"collectors": 2},
        "trainer": {"default_root_dir": "a", "enable_checkpointing": False},
    }

    assert comparable_settings(config) == {"model.tau": 1.0}
