"""The trials of a sweep: one for every configuration and seed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from acro.storage.run_folder import RunFolder

# Called after each epoch with the environment steps, the last evaluation's mean and the best mean.
Report = Callable[[int, float, float], None]

# The YAML file in a configuration's folder with its settings.
SETTINGS = "settings.yaml"
# Characters of a folder's name; most file systems allow 255 bytes.
_LONGEST_NAME = 120


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        folder: The sweep's folder.
        group: Name of its configuration, also of the folder for that configuration's seeds.
        seed: All randomness derives from it.
        settings: The configuration's settings, by dotted name, as typed; empty if only seeds differ.
        arguments: The command line of `acro.fit` for the same run, without the seed.
    """

    folder: Path
    group: str
    seed: int
    settings: Mapping[str, str]
    arguments: tuple[str, ...]

    @property
    def run(self) -> RunFolder:
        """The trial's run folder."""
        return RunFolder(self.folder / self.group / f"version_{self.seed}")

    @property
    def end(self) -> str | None:
        """How the trial ended, by its files: "finished", "failed" or "stopped early"; None if it has not ended."""
        if self.run.result.is_file():
            return "finished"
        if self.run.error.is_file():
            return "failed"
        return "stopped early" if self.run.stopped_early.is_file() else None


def group_name(settings: Mapping[str, str], plain: str) -> str:
    """Return the folder's name of a configuration; different ones have different names.

    Args:
        settings: Its settings, by dotted name.
        plain: The name if there are none.
    """
    if not settings:
        return plain
    last = [name.rpartition(".")[2] for name in settings]
    names = last if len(set(last)) == len(last) else list(settings)
    text = ",".join(f"{name}={value}" for name, value in zip(names, settings.values(), strict=True))
    # Shells interpret brackets, so [64,64] becomes (64,64).
    round_ = text.translate(str.maketrans("[]", "()"))
    safe = re.sub(r"[^\w.,=+()-]+", "_", round_)
    if safe == round_ and "(" not in text and len(safe) <= _LONGEST_NAME:
        return safe
    return f"{safe[:_LONGEST_NAME]}-{sha256(text.encode()).hexdigest()[:8]}"


def grid_of(values: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Return every combination of the values, the last name's changing fastest; one empty one if there are no names."""
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
