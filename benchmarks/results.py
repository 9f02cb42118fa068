"""Where a benchmark's figures are kept: one JSON file a script, under `benchmarks/results/`."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "results"
_LINE_LENGTH = 160
_GLUE = "\N{NO-BREAK SPACE}"


class Table(NamedTuple):
    """One table of a report; every cell is written as `str(cell)`."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def save(
    name: str, title: str, tables: Sequence[Table], *, notes: Sequence[str] = (), data: Any = None, part: str = ""
) -> Path:
    """Write what was measured to `benchmarks/results/<name>.json`, or under `quick/` there with `--quick`.

    Args:
        name: The script's name, without `.py`.
        title: The section's heading in `docs/benchmarks.md`.
        tables: What the report shows.
        notes: Sentences under the tables: burn-in, what a row means, what is unfair.
        data: The raw figures behind the tables (every repeat, every seed), JSON values.
        part: Which of several results of one script; the file is then `<name>-<part>.json`.
    """
    record = {
        "title": title,
        "command": " ".join(["python -m", f"benchmarks.{name}", *sys.argv[1:]]),
        "machine": _machine(),
        "versions": _versions(),
        "tables": [table._asdict() for table in tables],
        "notes": list(notes),
        "data": data,
    }
    # A short form shows that a script works; its figures take no full run's place.
    folder = FOLDER / "quick" if "--quick" in sys.argv else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"{name}-{part}.json" if part else f"{name}.json")
    path.write_text(compact(record) + "\n")
    return path


def compact(value: Any, margin: str = "") -> str:
    """Return `value` as JSON in few lines: a row of a table on one, numbers and points side by side."""
    line = json.dumps(value)
    if not isinstance(value, (dict, list, tuple)) or len(margin) + len(line) <= _LINE_LENGTH:
        return line
    inner = margin + " "
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {compact(item, inner)}" for name, item in value.items()]
        return "{\n" + ",\n".join(inner + part for part in parts) + f"\n{margin}}}"
    parts = [compact(item, inner) for item in value]
    if not any(_has_text(item) for item in value):
        # JSON has spaces after commas only: those within a point are hidden from the filling.
        words = " ".join(f"{part.replace(' ', _GLUE)}," for part in parts)
        parts = [row.removesuffix(",").replace(_GLUE, " ") for row in textwrap.wrap(words, _LINE_LENGTH - len(inner))]
    return "[\n" + ",\n".join(inner + part for part in parts) + f"\n{margin}]"


def _has_text(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_has_text(item) for item in value)
    return isinstance(value, (str, dict))


def show(table: Table) -> None:
    """Print a table in aligned columns."""
    cells = [[str(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    print(f"\n{table.caption}")
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def pin_to_one_core() -> None:
    """Keep this process, and those it starts, on one core, where the system allows that."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def _versions() -> dict[str, str]:
    names = ("torch", "lightning", "gymnasium", "numpy", "stable-baselines3", "torchrl", "cpprb", "rlox", "envpool")
    found = {name: metadata.version(name) for name in names if _installed(name)}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {"acro": commit.stdout.strip() or "unknown commit", "python": platform.python_version(), **found}


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
