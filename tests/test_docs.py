"""The documentation cannot rot: its notebook and its examples are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


def test_notebook_runs_and_shows_its_curve_and_its_gifs(notebook: Any) -> None:
    assert len(outputs(notebook, "image/png")) == 1
    assert sum("data:image/gif;base64," in html for html in outputs(notebook, "text/html")) == 2


def test_notebook_says_nothing_on_stderr(notebook: Any) -> None:
    streams = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]

    assert [output.text for output in streams if output.get("name") == "stderr"] == []


def test_notebook_is_kept_without_outputs() -> None:
    nbformat = pytest.importorskip("nbformat")

    cells = [cell for cell in nbformat.read(DOCS / "acrobot.ipynb", as_version=4).cells if cell.cell_type == "code"]

    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


PAGES = sorted(path for path in DOCS.glob("*.md") if "```python" in path.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_of_a_page_run_one_after_another(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    blocks = re.findall(r"^```python(?: title=\"([\w.]+)\")?\n(.*?)^```", page.read_text(), flags=re.S | re.M)
    names: dict[str, object] = {"__name__": "example"}
    for file, block in blocks:
        if file:
            (tmp_path / file).write_text(block)
        else:
            exec(compile(block, str(page), "exec"), names)


def test_links_between_pages_lead_somewhere() -> None:
    missing = []
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([\w.-]+\.(?:md|ipynb|png|gif))[)#]", page.read_text()):
            if not (DOCS / target).is_file():
                missing.append(f"{page.name} -> {target}")

    assert missing == []


def test_documentation_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocs_jupyter")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "ACRO_DOCS_RUN_NOTEBOOK": "false", "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)

    assert (result.returncode, result.stderr) == (0, "")
    promised = set()
    entry = r"^::: ([\w.]+)\n(?:    options:\n      members: \[(.*)\])?"
    for name, members in re.findall(entry, (DOCS / "api.md").read_text(), re.M):
        promised |= {name, *(f"{name}.{member}" for member in members.split(", ") if member)}
    shown = set(re.findall(r'id="(acro[\w.]*)"', (tmp_path / "site" / "api" / "index.html").read_text()))
    assert promised >= {"acro.DQN.forward", "acro.ReplayMemory", "acro.evaluate"}
    assert promised - shown == set()
    assert {f"acro.ReplayMemory.{name}" for name in ("push", "extend", "sample", "save", "load")} <= shown
