"""`acro COMMAND` and `python -m acro COMMAND`."""

from __future__ import annotations

import contextlib
import importlib.metadata
import subprocess
import sys

import pytest

import acro
from acro.__main__ import main
from acro.cli.versions import versions


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0

    listed = capsys.readouterr().out
    assert all(f"\n  {name} " in listed for name in ("fit", "play", "plot", "sweep", "doctor"))


def test_list_and_doctor_need_neither_torch_nor_lightning() -> None:
    code = (
        "import sys; from acro.__main__ import main; main([]); main(['doctor']); "
        "print(sorted({'torch', 'lightning', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.splitlines()[-1] == "[]"


def test_reader_that_closes_early_hears_no_complaint() -> None:
    code = "import sys; from acro.cli.command import run_command; sys.exit(run_command(lambda _: print('said'), []))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()

    # Nor is there any warning.
    assert (process.returncode, said) == (0, "")


def test_doctor_prints_what_a_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0

    found = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert set(found) == {"acro", "python", "torch", "lightning", "gymnasium", "numpy", "platform", "extension"}
    assert found["torch"] == importlib.metadata.version("torch")
    assert found["extension"] in ("debug build", "release build")


def test_version_is_acros(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0

    assert capsys.readouterr().out == f"acro {acro.__version__}\n"


def test_unknown_command_is_an_error_that_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 2

    assert capsys.readouterr().err == (
        "error: COMMAND must be one of fit, play, plot, sweep, doctor, got train; see acro --help\n"
    )


def test_command_is_passed_its_own_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["play", "--help"])

    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("usage: python -m acro.play")


@pytest.mark.parametrize("command", ["fit", "play", "plot", "sweep"])
def test_help_of_every_command_has_no_format_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):  # argparse's own
        main([command, "--help"])

    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m acro.{command}")
    # argparse formats a help text, but not a description.
    assert "%%" not in shown
    assert "%(" not in shown


def test_versions_of_a_game_have_what_it_comes_from() -> None:
    assert "ale-py" not in versions("CartPole-v1")
    assert versions("ale_py:ALE/Pong-v5")["ale-py"] == importlib.metadata.version("ale-py")
    assert versions("MinAtar/Breakout-v1")["minatar"] == importlib.metadata.version("minatar")
