"""What `import acro` does and offers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

import acro


def run(code: str) -> str:
    """Return what `code` prints in a Python of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "import gymnasium, acro; print(gymnasium.make('acro/Acrobot-v1').spec.id)",
        "import gymnasium; print(gymnasium.make('acro:acro/Acrobot-v1').spec.id)",
        "import gymnasium; print(gymnasium.make_vec('acro:acro/Acrobot-v1', num_envs=8).spec.id)",
    ],
)
def test_acrobot_is_registered_by_the_import(code: str) -> None:
    assert run(code) == "acro/Acrobot-v1"


def test_import_needs_neither_torch_nor_lightning() -> None:
    assert run("import sys, acro; print(sorted({'torch', 'lightning', 'pygame'} & set(sys.modules)))") == "[]"


def test_everything_that_there_is_is_listed() -> None:
    listed = run("import acro; print(*dir(acro))").split()

    assert set(acro.__all__) <= set(listed)
    for name in acro.__all__:
        assert getattr(acro, name) is not None


def test_version_is_the_extensions() -> None:
    assert acro.__version__ == acro._rust.__version__


def test_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="module 'acro' has no attribute 'DQM'"):
        acro.DQM  # noqa: B018


def test_vector_environment_without_a_mode_is_acros_own() -> None:
    assert type(gymnasium.make_vec("acro:acro/Acrobot-v1", num_envs=2)).__name__ == "AcrobotVectorEnv"


SCRIPT = Path(__file__).parent.parent / ".ci" / "licenses.py"


@pytest.mark.skipif(not SCRIPT.is_file() or not shutil.which("cargo"), reason="needs the source tree and cargo")
def test_licenses_of_the_linked_crates_are_those_that_the_lock_file_names() -> None:
    result = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr) == (0, "")
