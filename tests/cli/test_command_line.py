"""What the command line takes, shows and refuses."""

from __future__ import annotations

import gc
import inspect
import io
import logging
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from test_fit import mistake, run

import acro
from acro import DQN, Experience, fit
from acro.cli import parser
from acro.cli.command import loading


def config_of(tmp_path: Path, **values: str) -> str:
    """Write a configuration file and return its path."""
    path = tmp_path / "settings.yaml"
    path.write_text("".join(f"{name}: {value}\n" for name, value in values.items()))
    return str(path)


def test_last_checkpoint_is_looked_for_where_the_configuration_file_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(tmp_path, data="{env_id: CartPole-v1}", trainer=f"{{default_root_dir: {tmp_path / 'runs'}}}")
    assert fit.main(["--config", config, "--ckpt_path", "last"]) == 2

    assert f"no run under {tmp_path / 'runs' / 'CartPole-v1'} has a checkpoint" in mistake(capsys)


def test_configuration_file_and_preset_work_together_or_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(tmp_path, data="{capacity: 777}")
    with pytest.raises(SystemExit):
        fit.main(["--config", config, "--preset", "cartpole", "--print_config"])
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["data"]["env_id"], shown["data"]["capacity"]) == ("CartPole-v1", 777)

    assert fit.main(["--config", config_of(tmp_path, preset="mountaincar"), "--preset", "cartpole"]) == 2
    assert mistake(capsys) == (
        "error: --preset and --config name different presets, cartpole and mountaincar; leave one of them out\n"
    )


def test_help_shows_the_defaults_of_what_will_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*arguments: str) -> list[str]:
        assert fit.main([*arguments, "--help"]) == 0
        return re.findall(r"Transitions that the memory holds. \((.*)\)", capsys.readouterr().out)

    assert shown() == ["50000"]
    assert shown("--preset=lunarlander") == ["100000"]
    assert shown("--data.env_id=Acrobot-v1") == ["100000"]
    assert shown("--config", config_of(tmp_path, data="{capacity: 777}"), "--preset", "cartpole") == ["777"]


def test_help_imports_neither_torch_nor_lightning() -> None:
    code = "import sys; from acro import fit; fit.main(['--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.endswith("\nFalse\n")


def test_reader_of_the_help_that_closes_early_hears_no_complaint() -> None:
    command = f"{sys.executable} -m acro.fit --help | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)

    assert done.stderr == ""


def test_help_has_the_defaults_of_the_classes(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit.main(["--data.env_id=Acrobot-v1", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())

    for owner, prefix in ((Experience, "data"), (DQN, "model")):
        for name, parameter in inspect.signature(owner).parameters.items():
            if f"--{prefix}.{name} " in shown and isinstance(parameter.default, (int, float)):
                text = shown.split(f"--{prefix}.{name} ")[1].split(" --")[0]
                default = str(parameter.default)
                assert f"({default.lower() if isinstance(parameter.default, bool) else default})" in text, name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "error: --config: the file has no settings by name; it must be YAML such as a run's config.yaml"),
        (
            "data: {capacty: 5}",
            "a configuration file has data.capacty, which is no setting; did you mean --data.capacity?",
        ),
    ],
)
def test_mistake_in_a_configuration_file_says_what_would_be_right(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yaml").write_text(text)

    assert run(f"--trainer.default_root_dir={tmp_path / 'runs'}", f"--config={tmp_path / 'own.yaml'}") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.gama=0.9"], "unrecognized arguments: --data.gama=0.9; did you mean --data.gamma?"),
        (["--lr=0.1"], "unrecognized arguments: --lr=0.1; did you mean --model.learning_rate?"),
        (["--trainer.max_epoch=3"], "did you mean --trainer.max_epochs?"),
        (["--data.env_id=json:nope"], "'json:nope': json has no function nope, and registers no environment of that"),
        (["--trainer.callbacks=foo.Bar"], "--trainer.callbacks: cannot make foo.Bar: No module named 'foo'"),
        (
            ["--trainer.callbacks+=EarlyStopping"],
            "--trainer.callbacks: cannot make lightning.pytorch.callbacks.EarlyStopping: "
            "the following arguments are required: monitor",
        ),
        (
            ["--trainer.logger=CSVLogger", "--trainer.logger.save_dirr=x"],
            "--trainer.logger: cannot make lightning.pytorch.loggers.CSVLogger: Option 'save_dirr' is not accepted",
        ),
        (["--trainer.callbacks=Foo"], "--trainer.callbacks: Expected a dot import path string: Foo"),
        (
            ["--trainer.callbacks=acro.callbacks.gif.RenderGif", "--trainer.callbacks.every_n_epochs=0"],
            "error: RenderGif(every_n_epochs=0): every_n_epochs must be at least 1, got 0",
        ),
        (["--model.optimizer=torch.optim.AdamX"], "--model.optimizer: module 'torch.optim' has no attribute 'AdamX'"),
        (
            ["--model.optimizer=AdamW", "--model.optimizer.weight_deca=1"],
            "error: --model.optimizer: Option 'weight_deca' is not accepted",
        ),
        (["--model.network=os.system"], "--model.network: Import path does not correspond to a subclass of Module"),
        (["--trainer.gradient_clip_val=1"], "use model.max_grad_norm"),
        (["--trainer.accumulate_grad_batches=2"], "model.max_grad_norm"),
        (["--trainer.max_steps=5"], "max_steps=5 would count rounds: bound the run by max_epochs"),
        (["--trainer.limit_test_batches=0"], "would leave out the result: use --data.eval_episodes"),
        (["--torch_threads=0"], "error: --torch_threads must be at least 1, got 0"),
        (["--trainer.barebones=true"], "error: --trainer.barebones leaves out the files that a run is made of"),
    ],
)
def test_mistake_says_what_would_be_right(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"--trainer.default_root_dir={tmp_path / 'runs'}", *arguments) == 2

    assert message in mistake(capsys)
    assert list(tmp_path.iterdir()) == []


def test_interrupt_waits_for_the_libraries() -> None:
    reached = []

    def load(interrupts: int) -> None:
        with loading():
            for _ in range(interrupts):
                signal.raise_signal(signal.SIGINT)
            reached.append(interrupts)

    for interrupts in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            load(interrupts)

    assert reached == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_no_garbage_is_looked_for_while_libraries_load() -> None:
    assert gc.isenabled()
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_interrupt_while_a_dataclass_is_made_has_the_usual_exit_code(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(
        """
import sys
from acro.cli.command import run_command

sys.exit(run_command(lambda _: exec("raise KeyboardInterrupt"), []))
"""
    )
    # Only `python -m` would end by the signal.
    done = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, check=False)

    assert done.returncode == 130


def test_logging_is_as_it_was_after_a_command(tmp_path: Path) -> None:
    logger = logging.getLogger("acro")
    before = logger.level, logger.handlers, logger.propagate
    assert run("--lr=0.1", f"--trainer.default_root_dir={tmp_path}") == 2

    assert (logger.level, logger.handlers, logger.propagate) == before
    assert logger.propagate


def test_profile_is_shown(tmp_path: Path) -> None:
    arguments = [f"--trainer.default_root_dir={tmp_path}", "--gif=false", "--trainer.profiler=simple"]
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    # Where a terminal's handler is.
    logging.getLogger("lightning.pytorch").addHandler(handler)
    try:
        assert run(*arguments, "--trainer.max_epochs=1") == 0
    finally:
        logging.getLogger("lightning.pytorch").removeHandler(handler)

    assert "run_training_epoch" in shown.getvalue()


def test_environment_with_a_preset_mentions_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epochs=1", "--gif=false"]
    assert run(*arguments, "--data.env_id=CartPole-v1", "--name=mine") == 0

    assert "CartPole-v1 · seed 0 · 256 steps · " in (said := capsys.readouterr().err)
    assert "tuned settings: --preset cartpole" in said
    assert (tmp_path / "mine" / "version_0" / "metrics.csv").is_file()


def test_version_is_acros(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit.main(["--version"]) == 0

    assert capsys.readouterr().out == f"acro {acro.__version__}\n"


@pytest.mark.slow
def test_interrupt_while_it_starts_is_quiet(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "acro.fit", f"--trainer.default_root_dir={tmp_path}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("acro ")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == ""
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_memory_without_room_for_a_checkpoint_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experience = Experience(capacity=20_000)
    experience.setup("fit")
    assert experience.collector is not None
    nbytes = experience.collector.memory.nbytes
    arguments = [f"--trainer.default_root_dir={tmp_path / 'runs'}", "--data.capacity=20000", "--trainer.max_epochs=100"]

    monkeypatch.setattr(parser, "available_bytes", lambda: int(1.9 * nbytes))
    assert run(*arguments) == 2
    assert "a checkpoint is written from a copy of it" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    # What is never full needs less, and without checkpoints there is no copy.
    assert run(*arguments, "--trainer.max_epochs=1") == 0
    assert run(*arguments, "--trainer.max_epochs=4", "--trainer.enable_checkpointing=false", "--gif=false") == 0
