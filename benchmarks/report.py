"""Write `docs/benchmarks.md` from the stored results: `python -m benchmarks.report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import results

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    """Render every file of `benchmarks/results/`, in the order of their names."""
    records = [json.loads(path.read_text()) for path in sorted(results.FOLDER.glob("*.json"))]
    # What counts mutations, and times nothing, has no tables.
    sections = [_section(record) for record in records if "tables" in record]
    PAGE.write_text("\n\n".join([_HEAD, *sections]) + "\n")
    print(f"{PAGE}: {len(sections)} sections")


_HEAD = """# Benchmarks

Written by `python -m benchmarks.report` from `benchmarks/results/`: do not edit by hand.
Every table was measured by the command above it, acro and its peers in one run. The machines are shared
and noisy: read the ratios, not the absolute times.

Where a preset stands beside a peer, the two differ in more than speed: acro's may also learn from mirror images,
normalise layers and explore for several steps at a time, which the peers' settings do not.
"The same work as Stable-Baselines3, SBX and JAX" is the section in which all do the same."""


def _section(record: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    parts = [f"## {record['title']}", f"`{record['command']}` on {record['machine']}; {versions}."]
    for table in record["tables"]:
        head = "| " + " | ".join(table["columns"]) + " |"
        rule = "|" + " --- |" * len(table["columns"])
        rows = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in table["rows"]]
        parts.append("\n".join([f"**{table['caption']}**", "", head, rule, *rows]))
    parts.extend(f"- {note}" for note in record["notes"])
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
