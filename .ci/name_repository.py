"""Tell a checkout that is about to be published where it is published from.

    python .ci/name_repository.py https://github.com/OWNER/acro v0.1.0

Links and pictures of README are relative in the repository, so that they work in any copy of it. A package index shows
README alone: there they must be absolute. The same address becomes `project.urls`. Both files are changed in place.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main(repository: str, tag: str) -> None:
    """Change README.md and pyproject.toml of this checkout."""
    readme, project = ROOT / "README.md", ROOT / "pyproject.toml"
    readme.write_text(absolute(readme.read_text(encoding="utf-8"), repository, tag), encoding="utf-8")
    project.write_text(with_urls(project.read_text(encoding="utf-8"), repository), encoding="utf-8")


def absolute(readme: str, repository: str, tag: str) -> str:
    """Return README with links into the repository as it is at `tag`."""
    readme = re.sub(r"(!\[[^\]]*\]\()(?!https?:)", rf"\1{repository}/raw/{tag}/", readme)
    return re.sub(r"((?<!!)\[[^\]]*\]\()(?!https?:|#)", rf"\1{repository}/blob/{tag}/", readme)


def with_urls(project: str, repository: str) -> str:
    """Return pyproject.toml with a table of addresses before its scripts."""
    urls = {"Repository": "", "Changelog": "/blob/main/CHANGELOG.md", "Issues": "/issues"}
    table = "".join(f'{name} = "{repository}{path}"\n' for name, path in urls.items())
    return project.replace(
        "\n[project.optional-dependencies]\n", f"\n[project.urls]\n{table}\n[project.optional-dependencies]\n"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
