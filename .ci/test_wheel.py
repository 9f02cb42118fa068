"""Install a wheel where nothing can be compiled, and use it as a stranger would: `make test-wheel`.

A fresh virtual environment is the only folder on the PATH, and the current folder is empty but for the tests.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
# They use what the wheel installs, and pytest and hypothesis.
TESTS = ["test_package.py", "test_command.py", "test_evaluation.py", "envs", "replay"]


def main() -> None:
    """Install, then run the memory's example in README, a short training, a look at its result, and the tests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument(
        "--borrow",
        action="store_true",
        help="take the dependencies from this Python, where they are, not from the index",
    )
    parser.add_argument("--short", action="store_true", help="leave the tests out, and train for one epoch")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        venv.create(here / "venv", with_pip=True, symlinks=os.name != "nt")
        machine = Machine(here)
        if arguments.borrow:
            machine.borrow_packages()
            machine.python("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", arguments.wheel.resolve())
        else:
            machine.python("-m", "pip", "install", "--quiet", "--only-binary", ":all:", arguments.wheel.resolve())
            machine.python("-m", "pip", "install", "--quiet", "pytest", "hypothesis")
        machine.use(epochs=1 if arguments.short else 2)
        if not arguments.short:
            machine.test()
    print(f"{arguments.wheel.name}: installs and works without a compiler")


class Machine:
    """A folder with a virtual environment that knows no compiler."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        # The caller's environment may name its own packages, or a compiler.
        own = ("CARGO", "CC", "PYO3", "PYTHON", "RUST", "VIRTUAL_ENV")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        self.environment = {**inherited, "PATH": str(self.bin)}
        for compiler in ("cargo", "rustc", "cc", "gcc", "clang", "cl"):
            if found := shutil.which(compiler, path=str(self.bin)):
                raise RuntimeError(f"there must be no compiler, found {found}")

    def python(self, *arguments: str | Path) -> None:
        """Run the environment's Python in the empty folder; what goes wrong there ends the test."""
        subprocess.run([self.bin / "python", *arguments], cwd=self.folder, env=self.environment, check=True)

    def borrow_packages(self) -> None:
        """Let the environment import what is installed beside this Python; its own packages come first."""
        own = sysconfig.get_path("purelib", "venv", {"base": str(self.folder / "venv")})
        installed = [folder for folder in sys.path if folder.endswith("site-packages")]
        Path(own, "borrowed.pth").write_text("\n".join(installed))

    def use(self, epochs: int) -> None:
        """Use the installed acro, which must be the wheel's."""
        self.python("-c", "import acro, sys; assert acro.__file__.startswith(sys.prefix), acro.__file__")
        # It raises where the wheel has no such file.
        licenses = "licenses/THIRD_PARTY_LICENSES.txt"
        self.python("-c", f"import importlib.metadata as m; assert m.distribution('acro-dqn').read_text({licenses!r})")
        (example,) = re.findall(r"^```python\n(import numpy.*?)^```", (ROOT / "README.md").read_text(), re.S | re.M)
        self.python("-c", example)
        self.python("-m", "acro", "doctor")
        self.python("-m", "acro.fit", "--trainer.max_epochs", str(epochs))
        play = [
            shutil.which("acro", path=str(self.bin)) or "acro",
            "play",
            "runs/acrobot/version_0",
            "--episodes",
            "3",
            "--gif",
            "swing_up.gif",
        ]
        subprocess.run(play, cwd=self.folder, env=self.environment, check=True)

    def test(self) -> None:
        """Run the tests that need no source tree."""
        shutil.copytree(ROOT / "tests", self.folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", self.folder)
        tests = [Path("tests", name) for name in TESTS]
        self.python("-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests)


if __name__ == "__main__":
    main()
