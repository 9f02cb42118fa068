"""Write THIRD_PARTY_LICENSES.txt, the licences of the Rust code in a wheel: `make licenses`.

A wheel holds the crates that the bindings depend on, for any platform, and Rust's standard library.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE = ROOT / "THIRD_PARTY_LICENSES.txt"
HEADER = """\
acro's own licence is in LICENSE. A wheel of acro has the following code in it, too.

Where a package offers several licences, it is used under MIT. Where it comes without the licence's text, the text of
MIT stands here. The Rust standard library is used under MIT; its own notices come with every Rust toolchain.
"""
MIT = """\
Copyright (c) the authors of the packages above

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
RULE = "=" * 80
LICENSE_FILE = re.compile(r"(un)?licen[cs]e|copying|notice", re.I)


def main() -> int:
    """Write the file, or with --check say whether the one that is there is the right one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the file is another one")
    check: bool = parser.parse_args().check
    wanted = document()
    if not check:
        FILE.write_text(wanted, encoding="utf-8", newline="\n")
    elif not FILE.is_file() or FILE.read_text(encoding="utf-8") != wanted:
        print(f"{FILE.name} must name what Cargo.lock has; run `make licenses` and commit it", file=sys.stderr)
        return 1
    return 0


def document() -> str:
    """Return the file's text: every licence once, below the packages that it covers."""
    covered: dict[str, list[str]] = {MIT: ["Rust standard library"]}
    for name, version, folder in crates():
        for text in licenses(folder):
            covered.setdefault(text, []).append(f"{name} {version}")
    parts = [f"{', '.join(names)}\n\n{text.strip()}\n" for text, names in covered.items()]
    return HEADER + "".join(f"\n{RULE}\n{part}" for part in parts)


def crates() -> list[tuple[str, str, Path]]:
    """Return name, version and folder of each crate of others that is linked, on whatever platform."""
    tree = cargo("tree", "-p", "acro-python", "-e", "normal,no-proc-macro", "--target", "all", "--prefix", "none")
    linked = {tuple(line.split()[:2]) for line in tree.splitlines()}
    packages = json.loads(cargo("metadata", "--format-version", "1"))["packages"]
    return sorted(
        (package["name"], package["version"], Path(package["manifest_path"]).parent)
        for package in packages
        if package["source"] and (package["name"], f"v{package['version']}") in linked
    )


def licenses(folder: Path) -> list[str]:
    """Return the texts of a crate's licences: MIT's where there is a choice."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and LICENSE_FILE.match(path.name))
    files = [path for path in files if "MIT" in path.name.upper()] or files
    texts = [path.read_text(encoding="utf-8").replace("\r\n", "\n") for path in files]
    # COPYING beside no LICENSE is of code from elsewhere.
    return texts if any(not path.name.startswith("COPYING.") for path in files) else [MIT, *texts]


def cargo(*arguments: str) -> str:
    """Return what cargo prints."""
    command = ["cargo", arguments[0], "--locked", "--quiet", *arguments[1:]]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8").stdout


if __name__ == "__main__":
    sys.exit(main())
