"""Damage a checkpoint in many ways: every reading ends in a ValueError or in what was written.

`python -m benchmarks.fuzz_checkpoints --mutations 200000 --out benchmarks/results/fuzz_checkpoints.json`

Half of the mutations are as a disk would make them. The other half get a new checksum, as an attacker would make them:
those may load as something else, since a checksum is no signature, but must neither crash, hang, nor take memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
import warnings
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from differences import differences

from acro.storage.checkpoints import FORMAT_KEY, DurableCheckpointIO, read_checkpoint

_SEAL_DIGITS = 8
_SLOW_SECONDS = 5.0


def main() -> None:
    """Mutate as often as asked, and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=200_000)
    parser.add_argument("--quick", action="store_true", help="2,000 mutations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # torch warns of odd pickles before it refuses them.
    warnings.simplefilter("ignore")
    # In memory where there is such a folder: a disk would be the slowest part.
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=folder) as place:
        counts = fuzz(Path(place), 2_000 if arguments.quick else arguments.mutations, arguments.seed)
    print(json.dumps(counts, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(counts) + "\n")
    if counts["crashes"] or counts["silent"] or counts["slow"]:
        raise SystemExit(1)


def fuzz(folder: Path, mutations: int, seed: int) -> dict[str, Any]:
    """Return how many mutations of each kind were refused, harmless, or wrong."""
    path = folder / "last.ckpt"
    DurableCheckpointIO().save_checkpoint(_checkpoint(), path)
    original, expected = path.read_bytes(), read_checkpoint(path)
    generator = np.random.Generator(np.random.PCG64(seed))
    counts: Counter[str] = Counter()
    crashes: list[str] = []
    memory_before, started = _peak_megabytes(), time.perf_counter()
    for index in range(mutations):
        content = mutate(original, generator)
        resealed = index % 2 == 1
        if resealed:
            content = content[:-_SEAL_DIGITS] + b"%08x" % zlib.crc32(content[:-_SEAL_DIGITS])
        path.write_bytes(content)
        kind = "resealed" if resealed else "plain"
        begun = time.perf_counter()
        try:
            found = read_checkpoint(path)
        except ValueError:
            counts[f"{kind}_refused"] += 1
        except BaseException as error:
            crashes.append(f"mutation {index}: {error!r}"[:300])
        else:
            same = differences(expected, found) == []
            counts[f"{kind}_{'same' if same else 'other'}"] += 1
        counts["slow"] += time.perf_counter() - begun > _SLOW_SECONDS
    return {
        "mutations": mutations,
        "seed": seed,
        "bytes": len(original),
        "seconds": round(time.perf_counter() - started, 1),
        **{f"{kind}_{end}": counts[f"{kind}_{end}"] for kind in ("plain", "resealed") for end in ("refused", "same")},
        "resealed_other": counts["resealed_other"],
        "silent": counts["plain_other"],
        "slow": counts["slow"],
        "crashes": crashes,
        "memory_growth_mb": round(_peak_megabytes() - memory_before),
    }


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """Return `content` with a bit flipped, bytes overwritten, cut out, doubled or zeroed, or its end cut off."""
    data = bytearray(content)
    for _ in range(int(generator.integers(1, 4))):
        start = int(generator.integers(len(data)))
        end = start + int(generator.integers(1, 17))
        kind = generator.integers(6)
        if kind == 0:
            data[start] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            data[start:end] = generator.bytes(len(data[start:end]))
        elif kind == 2:
            del data[start:end]
        elif kind == 3:
            data[start:start] = data[start:end]
        elif kind == 4:
            data[start:end] = bytes(len(data[start:end]))
        elif len(data) > 64:
            del data[max(start, 64) :]
    return bytes(data)


def _checkpoint() -> dict[str, Any]:
    """A small checkpoint with every kind of value that acro's have."""
    return {
        FORMAT_KEY: 1,
        "state_dict": {"q_network.0.weight": torch.arange(12.0).reshape(3, 4), "empty": torch.zeros(0)},
        "hyper_parameters": {"hidden": [16, 16], "head": "value", "learning_rate": 1e-3, "v_min": None},
        "Experience": {"flags": torch.tensor([True, False]), "big": 2**100, "nested": [{"a": [1, 2.5, "x"]}, (3,)]},
    }


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
