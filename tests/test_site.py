"""The documentation as a reader sees it: the built site, its links, and every page in a browser."""

from __future__ import annotations

import functools
import html
import importlib.util
import os
import re
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser
from filelock import FileLock

pytestmark = pytest.mark.site

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
REPOSITORY = "https://example.org/acro"
# A phone, and a window that is not the whole of a laptop's screen.
WIDTHS = (390, 1300)
# What is wider than the window, or than its own box and cannot be scrolled to. Inline code's edge is a few pixels.
CUT_OFF = """
[document.documentElement, ...document.querySelectorAll("article *")].filter(box =>
    box.scrollWidth > box.clientWidth + 4 && box.clientWidth > 0
    && getComputedStyle(box).display != "inline"
    && (box.tagName != "DIV" || getComputedStyle(box).overflowX != "auto")
).map(box => box.tagName + ": " + box.textContent.trim().slice(0, 60))
"""
BROKEN_PICTURES = "[...document.images].filter(picture => !picture.naturalWidth).map(picture => picture.src)"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, once for all of pytest's processes; the notebook is not run for it."""
    for module in ("zensical", "mkdocstrings", "nbconvert"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}, of the extra docs, which Python {sys.version.split()[0]} does not have here")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    built = shared / "site"
    with FileLock(shared / "site.lock"):
        if not built.exists():
            command = [sys.executable, str(ROOT / ".ci" / "build_docs.py"), "--as-kept", str(built)]
            environment = {**os.environ, "ACRO_REPOSITORY": REPOSITORY}
            result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            assert (result.returncode, result.stderr) == (0, "")
    return built


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Serve the site to this machine alone."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def pages(site: Path) -> list[str]:
    return sorted(f"{path.parent.relative_to(site).as_posix()}/" for path in site.rglob("index.html"))


def test_every_link_leads_somewhere(site: Path) -> None:
    anchors: dict[Path, set[str]] = {}
    missing = []
    for page in (site / name / "index.html" for name in pages(site)):
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            target = urllib.parse.urlsplit(urllib.parse.unquote(html.unescape(link)))
            if target.scheme or target.netloc:
                continue
            path = (page.parent / target.path).resolve() if target.path else page
            path = path / "index.html" if path.is_dir() else path
            if target.fragment and path not in anchors and path.is_file():
                anchors[path] = set(re.findall(r'id="([^"]+)"', path.read_text(encoding="utf-8")))
            if not path.is_file() or (target.fragment and html.unescape(target.fragment) not in anchors[path]):
                missing.append(f"{page.parent.name}: {link}")

    assert missing == []


def test_reference_shows_what_it_promises(site: Path) -> None:
    promised = set()
    entry = r"^::: ([\w.]+)\n(?:    options:\n      members: \[(.*)\])?"
    for name, members in re.findall(entry, (DOCS / "api.md").read_text(), re.M):
        promised |= {name, *(f"{name}.{member}" for member in members.split(", ") if member)}
    shown = set(re.findall(r'id="(acro[\w.]*)"', (site / "api" / "index.html").read_text(encoding="utf-8")))

    assert promised >= {"acro.DQN.forward", "acro.ReplayMemory", "acro.evaluate"}
    assert promised - shown == set()
    assert {f"acro.ReplayMemory.{name}" for name in ("push", "extend", "sample", "save", "load")} <= shown


def test_every_page_is_in_the_menu_by_its_own_title(site: Path) -> None:
    menu = (site / "index.html").read_text(encoding="utf-8")
    entries = {html.unescape(name) for name in re.findall(r'class="md-ellipsis">\s*([^<]*?)\s*<', menu)}
    titles = set()
    for page in pages(site):
        title = re.search(r"<h1[^>]*>(.*?)(?:<a |</h1>)", (site / page / "index.html").read_text("utf-8"), re.S)
        titles.add(html.unescape(re.sub(r"<.*?>", "", title[1])) if title else page)

    assert len(titles) == len(pages(site))
    assert titles - entries == set()


def test_home_page_shows_a_picture_an_installation_and_the_repository(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")

    assert 'src="images/progress.gif"' in home
    assert "pip install" in home
    assert f'href="{REPOSITORY}/blob/main/README.md"' in home


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_pages_open_without_errors_and_cut_nothing_off(site: Path, address: str) -> None:
    problems = []
    with Browser() as browser:
        for page in pages(site):
            browser.open(address + page, WIDTHS[0])
            for width in WIDTHS:
                browser.resize(width)
                problems += [f"{page} {width}: {cut} is cut off" for cut in browser.evaluate(CUT_OFF)]
            problems += [f"{page}: no picture in {source}" for source in browser.evaluate(BROKEN_PICTURES)]
            problems += [f"{page}: {error}" for error in browser.errors(address)]

    assert problems == []
