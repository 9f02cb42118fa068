"""An environment that ends its process, raises or waits, once for each file in a folder."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium

# In the second epoch of `sweeping.SETTINGS`.
_STEP = 50


class Killing(gymnasium.Wrapper[Any, Any, Any, Any]):
    """CartPole, unless there is a file in the folder ACRO_TEST_KILLS at its 50th step."""

    steps = 0

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.steps += 1
        # Not in the tests' own process, where evaluations are played.
        if self.steps == _STEP and "pytest" not in sys.modules:
            for file in Path(os.environ.get("ACRO_TEST_KILLS", os.devnull)).glob("*"):
                if file.name == "wait":
                    while file.exists():
                        time.sleep(0.01)
                    continue
                file.unlink(missing_ok=True)
                if file.name == "raise":
                    raise RuntimeError("the simulator broke")
                os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


def make_env(**kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Make one."""
    return Killing(gymnasium.make("CartPole-v1", **kwargs))
