"""What is published says where it comes from: no link of README is relative on a package index."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
REPOSITORY = "https://example.org/acro"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("name_repository", ROOT / ".ci" / "name_repository.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_on_an_index_has_absolute_links_to_files_that_there_are(script: ModuleType) -> None:
    targets = re.findall(r"\]\(([^)]*)\)", script.absolute((ROOT / "README.md").read_text(), REPOSITORY, "v1"))

    assert all(target.startswith("https://") for target in targets)
    own = [re.match(rf"{REPOSITORY}/(raw|blob)/v1/(.+)", target) for target in targets if target.startswith(REPOSITORY)]
    assert all(found and (ROOT / found[2]).is_file() for found in own)
    pictures = {found[2] for found in own if found and found[1] == "raw"}
    assert {"docs/images/progress.gif", "docs/images/learning_curve.png"} <= pictures


def test_project_gets_its_addresses_and_stays_what_it_was(script: ModuleType) -> None:
    tomllib = pytest.importorskip("tomllib", reason="it came with Python 3.11")
    text = (ROOT / "pyproject.toml").read_text()
    before, after = tomllib.loads(text), tomllib.loads(script.with_urls(text, REPOSITORY))

    assert after["project"].pop("urls")["Repository"] == REPOSITORY
    assert after == before
