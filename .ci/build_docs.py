"""Build the documentation into site/: `make docs`.

Zensical builds it, because MkDocs-Material is no longer maintained and MkDocs 2 has no plugins. It renders no
notebooks, so the notebook is run and turned into a page first, in a copy of docs/.

Links out of docs/ need the repository's address in the environment variable ACRO_REPOSITORY; else their words stay.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor, ExecutePreprocessor

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Build, or exit with 1 where Zensical warns of something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path, nargs="?", default=ROOT / "site", help="where the pages go")
    parser.add_argument("--as-kept", action="store_true", help="show the notebook without its outputs, not run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copy(ROOT / "mkdocs.yml", copy)
        shutil.copytree(ROOT / "docs", copy / "docs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        shutil.copytree(ROOT / "python", copy / "python", ignore=shutil.ignore_patterns("__pycache__"))
        for notebook in (copy / "docs").glob("*.ipynb"):
            to_page(notebook, run=not arguments.as_kept)
        for page in (copy / "docs").glob("*.md"):
            page.write_text(linked(page.read_text(encoding="utf-8")), encoding="utf-8")
        zensical = [sys.executable, "-m", "zensical", "build", "--strict"]
        built = subprocess.run(zensical, cwd=copy, capture_output=True, text=True, check=False)
        if built.returncode:
            print(built.stdout, built.stderr, file=sys.stderr)
            return 1
        shutil.rmtree(arguments.site, ignore_errors=True)
        shutil.move(copy / "site", arguments.site)
    return 0


def to_page(path: Path, *, run: bool) -> None:
    """Replace a notebook by a page of Markdown, and the pictures that it shows."""
    notebook = nbformat.read(path, as_version=4)
    if run:
        ExecutePreprocessor(timeout=600).preprocess(notebook, {"metadata": {"path": path.parent}})
        # Lines that were printed one after another are one output.
        CoalesceStreamsPreprocessor().preprocess(notebook, {})
    body, resources = MarkdownExporter().from_notebook_node(notebook)
    for name, picture in resources["outputs"].items():
        path.with_name(name).write_bytes(picture)
    path.with_suffix(".md").write_text(body, encoding="utf-8")
    path.unlink()


def linked(text: str) -> str:
    """Let a page's links lead to the notebook's page, and out of docs/ into the repository."""
    repository = os.environ.get("ACRO_REPOSITORY")
    outside = rf"[\1]({repository}/blob/main/\2)" if repository else r"\1"
    text = re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", outside, text)
    return re.sub(r"\]\((\w+)\.ipynb", r"](\1.md", text)


if __name__ == "__main__":
    sys.exit(main())
