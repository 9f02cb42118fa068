"""JAX and SBX as contestants: they run in a process and an environment (`make .venv-jax/.installed`) of their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

PYTHON = Path(__file__).parent.parent / ".venv-jax" / "bin" / "python"
# One thread, as every other contestant; of a GPU's memory no more than is needed.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "OMP_NUM_THREADS": "1",
}


class JaxTurn:
    """One contestant in the other process; calling it takes one turn and returns the turn's seconds."""

    def __init__(self, process: JaxProcess, index: int, first_seconds: float) -> None:
        self._process = process
        self._index = index
        self.first_seconds = first_seconds

    def of(self, steps: int) -> float:
        """Take a turn; its steps were settled when it was made."""
        return self()

    def __call__(self) -> float:
        """Take a turn."""
        return float(self._process.ask({"turn": self._index})["seconds"])


class JaxProcess:
    """The other process.

    Args:
        platform: Where JAX computes: "cpu" or "cuda".

    Raises:
        ImportError: Its environment is not installed.
    """

    def __init__(self, platform: str = "cpu") -> None:
        if not PYTHON.exists():
            raise ImportError("JAX's environment is not installed; run `make bench`, or `make .venv-jax/.installed`")
        self._process = subprocess.Popen(
            [PYTHON, Path(__file__).with_name("jax_worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRONMENT, "JAX_PLATFORMS": platform},
        )

    def make(self, name: str, **settings: Any) -> JaxTurn:
        """Return a contestant that has been compiled and has taken its first turn.

        Args:
            name: One of `jax_worker.MAKERS`.
            **settings: What it takes.
        """
        answer = self.ask({"make": name, "settings": settings})
        return JaxTurn(self, int(answer["turn"]), float(answer["seconds"]))

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one question."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"JAX's process ended with {self._process.wait()} when asked {question}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> JaxProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process."""
        self._process.communicate()
