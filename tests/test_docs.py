"""The documentation cannot rot: its notebook and its examples are run."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from runs import train

import acro.fit

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def notebook() -> Any:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    found = nbformat.read(DOCS / "acrobot.ipynb", as_version=4)
    (parameters,) = [cell for cell in found.cells if "parameters" in cell.metadata.get("tags", [])]
    for long, short in {
        "EPOCHS = 20": "EPOCHS = 2",
        "TABLE_STEPS = 100_000": "TABLE_STEPS = 5_000",
        "EPISODE_STEPS = 500": "EPISODE_STEPS = 30",
    }.items():
        assert parameters.source.count(long) == 1
        parameters.source = parameters.source.replace(long, short)
    nbclient.NotebookClient(found, timeout=100).execute()
    return found


def outputs(notebook: Any, kind: str) -> list[str]:
    found = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.data[kind] for output in found if kind in output.get("data", {})]


@pytest.mark.site
def test_notebook_runs_and_shows_its_curve_and_its_gifs(notebook: Any) -> None:
    assert len(outputs(notebook, "image/png")) == 1
    assert sum("data:image/gif;base64," in html for html in outputs(notebook, "text/html")) == 2


@pytest.mark.site
def test_notebook_says_nothing_on_stderr(notebook: Any) -> None:
    streams = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]

    assert [output.text for output in streams if output.get("name") == "stderr"] == []


def test_notebook_is_kept_without_outputs() -> None:
    nbformat = pytest.importorskip("nbformat")

    cells = [cell for cell in nbformat.read(DOCS / "acrobot.ipynb", as_version=4).cells if cell.cell_type == "code"]

    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md"))]


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """Return a page's blocks of code in a language: the file that each of them is, or an empty name, and the code."""
    found = re.findall(r"^```(\w*)(?: title=\"([\w.]+)\")?\n(.*?)^```", page.read_text(), flags=re.S | re.M)
    return [(file, code) for kind, file, code in found if kind == language]


def commands(page: Path) -> list[list[str]]:
    """Return a page's commands of acro, split as a shell does it."""
    lines = "".join(block for _, block in blocks(page, "")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if re.match(r"(python -m acro[. ]|acro )", line)]


def check_command(command: list[str]) -> None:
    """Raise where acro does not know the command or its arguments; nothing is run."""
    module, *arguments = command[2:] if command[0] == "python" else command
    name, *arguments = [*module.split(".")[1:], *arguments]
    if name == "fit":
        if "--ckpt_path" in arguments:  # There is no run to continue.
            del arguments[(at := arguments.index("--ckpt_path")) : at + 2]
        with pytest.raises(SystemExit, match="0"):
            sys.exit(acro.fit.main([*arguments, "--print_config"]))
    elif name in ("play", "plot"):
        importlib.import_module(f"acro.{name}")._parser().parse_args(arguments)
    else:
        assert name == "doctor" or importlib.util.find_spec(f"acro.{name}")


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module that a page's code makes, in a folder with what README's reader has already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    entry_point = "gymnasium.envs.classic_control:CartPoleEnv"
    register = f"gymnasium.register('MyEnv-v0', {entry_point!r}, max_episode_steps=20)"
    Path("my_package.py").write_text(f"import gymnasium\n{register}\n")
    checkpoints = tmp_path / "runs" / "acrobot" / "version_0" / "checkpoints"
    train(checkpoints, epochs=1)
    (checkpoints / "last.ckpt").rename(checkpoints / "best.ckpt")
    module = ModuleType("my_module")
    monkeypatch.setitem(sys.modules, "my_module", module)
    return module


WITH_CODE = [page for page in PAGES if blocks(page, "python") or commands(page)]


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.stem, marks=[] if page == README else pytest.mark.site) for page in WITH_CODE],
)
def test_code_of_a_page_runs_one_block_after_another(page: Path, stranger: ModuleType) -> None:
    for file, block in blocks(page, "python"):
        block = block.replace("max_epochs=30", "max_epochs=1")
        if file:
            Path(file).write_text(block)
        else:
            exec(compile(block, str(page), "exec"), vars(stranger))
    for command in commands(page):
        check_command(command)


def test_links_in_the_repository_lead_somewhere() -> None:
    missing = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("rust/*/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#|\.\./\.\./)([^)#]+)", page.read_text()):
            if not (page.parent / target).exists():
                missing.append(f"{page.name} -> {target}")

    assert missing == []
