"""Measurements: acro and its peers on the same work, side by side, in one run."""

import sys
from pathlib import Path

# What damages files and compares runs is beside the tests, which use it too.
sys.path.append(str(Path(__file__).parent.parent / "tests"))
