"""Thousands of damaged states and files of a memory; `benchmarks/fuzz.py` tries millions."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest
from mutations import run


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no alarms")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_whatever_is_damaged_is_refused_or_loaded_as_it_says(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends, failures = run(tmp_path, 0, 8000)
    assert failures == []
    assert all(
        end.split(": ")[1] in ("ValueError", "TypeError", "MemoryError", "loaded") for end in ends if "call" not in end
    )
    assert ends["bytes: ValueError"] > 1500
    assert ends["forged: ValueError"] > 1000
    assert ends["forged: loaded"] > 100
    assert ends["state: ValueError"] > 1000
    assert ends["state: loaded"] > 100
    # The files have 2 kB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
