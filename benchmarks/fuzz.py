"""Damaged states and files of a memory by the million: `python -m benchmarks.fuzz [--quick]`."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from mutations import run

RESULT = Path(__file__).parent / "results" / "fuzz.json"
CHUNK = 20_000


def main() -> int:
    """Try the mutations in processes of their own, and store how they ended; return 1 if one ended badly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few mutations, and no file: does the script still work?")
    parser.add_argument("--mutations", type=int, default=1_600_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    count = 8_000 if arguments.quick else arguments.mutations
    began = time.monotonic()
    ends, failures, megabytes = Counter[str](), [], 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, mp_context=context) as pool:
        chunks = {pool.submit(chunk, first, min(first + CHUNK, count)): first for first in range(0, count, CHUNK)}
        for done in as_completed(chunks):
            try:
                found, failed, peak = done.result()
            except BrokenProcessPool:
                failures.append(f"{chunks[done]} and on: a process crashed or hung")
                continue
            ends += found
            failures += failed
            megabytes = max(megabytes, peak)
    report = {
        "mutations": count,
        "ends": dict(sorted(ends.items())),
        "failures": failures,
        "largest_growth_of_a_process_mb": megabytes,
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(report, indent=2))
    if not arguments.quick:
        RESULT.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if failures or megabytes > 200 else 0


def chunk(first: int, last: int) -> tuple[Counter[str], list[str], int]:
    """Try these mutations; return how they ended, what must not be, and by how many MB the process grew."""
    warnings.simplefilter("ignore")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        ends, failures = run(Path(folder), first, last)
    return ends, failures, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024


if __name__ == "__main__":
    raise SystemExit(main())
