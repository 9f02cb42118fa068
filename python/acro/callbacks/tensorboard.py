"""Writes a run's events for TensorBoard."""

from __future__ import annotations

import logging
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

logger = logging.getLogger(__name__)


class Events(TensorBoardLogger):
    """Lightning's TensorBoardLogger with a plain hparams.yaml, which stops writing when the disk is full.

    The same numbers are in metrics.csv, so a failure to write them here must not end a run.
    """

    _is_broken = False

    def log_hyperparams(self, params: Any, metrics: dict[str, Any] | None = None, step: int | None = None) -> None:
        """Log the settings, with tuples as lists, since plain YAML has no tuples."""
        given = params if isinstance(params, dict) else vars(params)
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
        self._try(super().log_hyperparams, plain, metrics, step)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log metrics; those of a test without the epoch, which training has logged for this step."""
        if any(name.startswith("test/") for name in metrics):
            metrics = {name: value for name, value in metrics.items() if name != "epoch"}
        self._try(super().log_metrics, metrics, step)

    def save(self) -> None:
        """Write pending events."""
        self._try(super().save)

    def finalize(self, status: str) -> None:
        """Close the file."""
        self._try(super().finalize, status)

    def _try(self, write: Any, *arguments: Any) -> None:
        if self._is_broken:
            return
        try:
            write(*arguments)
        except (OSError, ValueError) as error:
            # Lightning replaces an OSError with a ValueError about the type of the number.
            reason = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(reason, OSError):
                raise
            self._is_broken = True
            logger.warning("TensorBoard gets no more events: %s", reason)
