"""Gives the pictures of a run to its loggers."""

from __future__ import annotations

import contextlib
from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image


def log_picture(trainer: L.Trainer, name: str, path: Path, step: int) -> None:
    """Log the PNG or GIF in `path` to TensorBoard and Weights & Biases, if the run uses them.

    Args:
        trainer: The Trainer with the loggers.
        name: The picture's name in the logger.
        path: The file.
        step: Environment steps.
    """
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            _log_to_tensorboard(logger, name, path, step)
        elif isinstance(logger, WandbLogger):
            if path.suffix == ".gif":
                logger.log_video(name, [str(path)], format=["gif"])
            else:
                logger.log_image(name, [str(path)])


def _log_to_tensorboard(logger: TensorBoardLogger, name: str, path: Path, step: int) -> None:
    from tensorboard.compat.proto.summary_pb2 import Summary

    with Image.open(path) as image:
        width, height = image.size
    # TensorBoard shows an encoded GIF as it is; `add_video` would encode it again, which needs moviepy.
    picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes())
    writer = logger.experiment._get_file_writer()
    # The logger itself reports when events cannot be written.
    with contextlib.suppress(OSError):
        writer.add_summary(Summary(value=[Summary.Value(tag=name, image=picture)]), step)
