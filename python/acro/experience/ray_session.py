"""Starts Ray, or joins a cluster, for as long as a sweep or a run needs it."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

_QUIET = {
    # Ray reports to its makers otherwise.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Trials keep their own logs, and Ctrl-C is the sweep's own.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # A trial that fails before its first evaluation has no metric; it says so itself.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # A trial that is stopped early has to draw its curve before its worker takes the next one.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def find_ray(feature: str) -> Any:
    """Return the module `ray`, which is an extra.

    Raises:
        ImportError: It is not installed; the message says that `feature` needs it.
    """
    # Ray reads these variables when it is imported.
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise ImportError(f"{feature} needs Ray, which is not installed; pip install 'acro-dqn[ray]'") from error


@contextlib.contextmanager
def connected(
    feature: str,
    *,
    address: str | None = None,
    num_cpus: int | None = None,
    least_cpus: int = 1,
    niceness: int = 15,
) -> Iterator[Any]:
    """Start Ray on this machine, or join a cluster, for the block; yield the module.

    Args:
        feature: What needs Ray, for the error message.
        address: "auto", "HOST:PORT" or "ray://HOST:PORT" of a cluster; None for the variable RAY_ADDRESS, and if that
            is not set, for Ray on this machine.
        num_cpus: CPUs of this machine that Ray may use; None for all.
        least_cpus: CPUs that Ray counts at least, even if the machine has fewer: its processes share them.
        niceness: Nice value of Ray's worker processes on this machine.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: There is no cluster at `address`.
    """
    ray = find_ray(feature)
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:
        # Without "local" Ray would join whatever cluster was started on this machine before.
        options |= {
            "address": "local",
            "num_cpus": num_cpus or max(os.cpu_count() or 1, least_cpus),
            "include_dashboard": False,
            "_system_config": {"worker_niceness": niceness},
        }
    else:
        # Workers on other machines do not inherit this process's environment.
        options |= {"address": address, "runtime_env": {"env_vars": _QUIET}}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options)
    except ConnectionError as error:
        raise ConnectionError(f"--address {address}: no Ray cluster answers there; start one with ray start") from error
    if handler is not None and threading.current_thread() is threading.main_thread():
        # Ray's own handler exits at once; the Trainer's lets the round end and saves.
        signal.signal(signal.SIGTERM, handler)
    try:
        yield ray
    finally:
        ray.shutdown()
