"""Checks that a run folder's config.yaml names no foreign code, so that reading it runs none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_TRUSTED = ("acro", "gymnasium", "lightning", "torch")
_IMPORTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
# Plain paths and names, which are never imported.
_PLAIN = {"ckpt_path", "name", "preset", "trainer.default_root_dir"}


def check_trust(config: Path) -> None:
    """Check that `config` names no code outside of acro, torch, lightning and gymnasium, and no other file.

    Raises:
        ValueError: It does.
    """
    try:
        settings = yaml.safe_load(config.read_text())
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{config} is damaged: {error}") from error
    for name, text in foreign_names(settings):
        raise ValueError(
            f"{config} names {text!r} in {name}, which would be imported or read; "
            "if you trust that file, continue with --trust_config"
        )


def foreign_names(settings: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (setting, text) for every text in `settings` that could make foreign code run."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from foreign_names(value, f"{name}.{key}" if name else str(key))
    elif isinstance(settings, list):
        for value in settings:
            yield from foreign_names(value, name)
    elif isinstance(settings, str) and name not in _PLAIN:
        inner = _inner(settings)
        if inner is not None:
            yield from foreign_names(inner, name)
        elif _is_foreign(settings, name):
            yield name, settings


def _inner(text: str) -> list[Any] | dict[str, Any] | None:
    """Return the content of a text that jsonargparse would parse as YAML; None for other texts."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return found if isinstance(found, (list, dict)) else None


def _is_foreign(text: str, name: str) -> bool:
    if name in ("data.env_id", "data.eval_env"):
        module, colon, _ = text.partition(":")
        return bool(colon) and module.split(".")[0] not in _TRUSTED
    if _IMPORTED.fullmatch(text):
        return text.split(".")[0] not in _TRUSTED
    # jsonargparse reads a file whose path is given instead of a group of settings or a class.
    return "." not in name or os.path.isfile(text)
