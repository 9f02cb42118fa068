"""What a sweep is made of: one trial for every configuration and seed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

# What a configuration sets, as YAML in its folder.
SETTINGS = "settings.yaml"
# Of a folder's name; most file systems take 255 bytes.
_LONGEST_NAME = 120


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        folder: The sweep's folder.
        group: Name of its configuration, and of the folder of that configuration's seeds.
        seed: What all randomness derives from.
        settings: What this configuration sets, by dotted name, as it would be typed; nothing where only seeds differ.
        arguments: The command line of `acro.fit` that is the same run, but for the seed.
    """

    folder: Path
    group: str
    seed: int
    settings: Mapping[str, str]
    arguments: tuple[str, ...]

    @property
    def version(self) -> str:
        """Name of the run's folder."""
        return f"version_{self.seed}"

    @property
    def run_folder(self) -> Path:
        """The run's own folder."""
        return self.folder / self.group / self.version

    @property
    def result(self) -> Path:
        """What only a finished run has."""
        return self.run_folder / "result.json"

    @property
    def error(self) -> Path:
        """Where a failed run says what happened."""
        return self.run_folder / "error.txt"

    @property
    def pruned(self) -> Path:
        """An empty file where a scheduler stopped the run for others that did better."""
        return self.run_folder / "stopped_early"


def group_name(settings: Mapping[str, str], plain: str) -> str:
    """Return a folder's name for a configuration; different ones have different names.

    Args:
        settings: What it sets, by dotted name.
        plain: The name where it sets nothing.
    """
    if not settings:
        return plain
    last = [name.rpartition(".")[2] for name in settings]
    names = last if len(set(last)) == len(last) else list(settings)
    text = ",".join(f"{name}={value}" for name, value in zip(names, settings.values(), strict=True))
    # Brackets are read by shells: [64,64] is shown as (64,64).
    round_ = text.translate(str.maketrans("[]", "()"))
    safe = re.sub(r"[^\w.,=+()-]+", "_", round_)
    if safe == round_ and "(" not in text and len(safe) <= _LONGEST_NAME:
        return safe
    return f"{safe[:_LONGEST_NAME]}-{sha256(text.encode()).hexdigest()[:8]}"


def grid_of(values: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Return every combination of the values, the last name's changing fastest; one empty one without names."""
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
