"""Every file of examples/ runs, and learns where it has the time to."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from runs import train

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Gymnasium imports an entry point by its module's name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["own_environment", "own_network", "own_loss"])
def test_training_ends_with_an_evaluation(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    evaluation = example(name).main(epochs=1)

    assert len(evaluation.returns) == 100


def test_memory_alone_trains() -> None:
    mean = example("memory_alone").main(steps=2_000, learning_starts=1_500)

    assert 8 <= mean <= 500


def test_trained_agent_plays(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)

    assert -500 <= example("use_agent").main(tmp_path / "last.ckpt", env_id="acro/Acrobot-v1") <= 0


def test_every_example_is_listed() -> None:
    page = (EXAMPLES / "README.md").read_text()

    assert all(f"]({path.name})" in page for path in EXAMPLES.glob("*.py"))
