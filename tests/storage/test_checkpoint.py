"""Checkpoints are written whole or not at all, and refused when they are not what acro wrote."""

from __future__ import annotations

import errno
import io
import os
import pickle
import re
import resource
import stat
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium
import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runs import differences, train

from acro import DQN
from acro.dqn.agent import load_agent
from acro.storage.checkpoints import FORMAT_KEY, FORMAT_VERSION, DurableCheckpointIO, read_checkpoint
from acro.storage.tensors import to_tensors


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run's last checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    train(folder, epochs=1, data={"capacity": 40})
    return folder / "last.ckpt"


def test_numpys_scalars_are_stored_as_pythons() -> None:
    state = to_tensors({"a": np.float64(0.5), "b": [np.int64(3), np.bool_(True)], "c": 1})
    assert state == {"a": 0.5, "b": [3, True], "c": 1}
    assert [type(value) for value in (state["a"], *state["b"])] == [float, int, bool]


def test_module_loads_from_a_checkpoint_without_an_environment(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an environment was made")

    for name in ("make", "make_vec"):
        monkeypatch.setattr(gymnasium, name, refuse)
    module = DQN.load_from_checkpoint(checkpoint)

    assert module(torch.zeros(2, 6)).shape == (2, 3)


def test_format_version_is_inside(checkpoint: Path) -> None:
    assert read_checkpoint(checkpoint)[FORMAT_KEY] == FORMAT_VERSION == 1


# ---- saving


def test_failed_save_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    saver = DurableCheckpointIO()
    saver.save_checkpoint({"weights": torch.ones(3)}, path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        saver.save_checkpoint({"weights": torch.zeros(3)}, path)

    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_disk_that_fills_up_while_writing_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    DurableCheckpointIO().save_checkpoint({"weights": torch.ones(3)}, path)
    before = path.read_bytes()
    # A limit on the size of files stands in for a full disk: the write itself fails, part of the way.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            DurableCheckpointIO().save_checkpoint({"weights": torch.zeros(1_000_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_saved_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    DurableCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")
    (tmp_path / "plain").touch()

    assert stat.S_IMODE((tmp_path / "last.ckpt").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_saving_keeps_the_permissions_of_a_file_that_is_there(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.touch()
    path.chmod(mode)
    DurableCheckpointIO().save_checkpoint({}, path)

    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_saving_replaces_what_a_link_names(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "last.ckpt").symlink_to(tmp_path / "disk" / "real.ckpt")
    DurableCheckpointIO().save_checkpoint({FORMAT_KEY: 1}, tmp_path / "last.ckpt")

    assert (tmp_path / "last.ckpt").is_symlink()
    assert read_checkpoint(tmp_path / "disk" / "real.ckpt") == {FORMAT_KEY: 1}
    assert os.listdir(tmp_path / "disk") == ["real.ckpt"]


def test_saving_to_a_pipe_writes_into_it(checkpoint: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        received = pool.submit(pipe.read_bytes)
        DurableCheckpointIO().save_checkpoint(read_checkpoint(checkpoint), pipe)
        (tmp_path / "received.ckpt").write_bytes(received.result())

    assert differences(read_checkpoint(tmp_path / "received.ckpt"), read_checkpoint(checkpoint)) == []
    assert pipe.is_fifo()


def test_saving_leaves_the_umask_of_the_process_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> int:
        raise AssertionError("other threads make files too")

    monkeypatch.setattr(os, "umask", refuse)
    DurableCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")


# ---- loading


def test_checkpoint_of_a_plain_trainer_is_read(tmp_path: Path) -> None:
    class Plain(L.Callback):
        def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
            trainer.save_checkpoint(tmp_path / "plain.ckpt")

    train(tmp_path, epochs=1, callbacks=(Plain(),), plugins=[])

    assert read_checkpoint(tmp_path / "plain.ckpt")["hyper_parameters"]["observation_size"] == 6


def test_checkpoint_of_a_gpu_is_read_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = torch.arange(3.0)
    # What is written of a tensor's device.
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    DurableCheckpointIO().save_checkpoint({FORMAT_KEY: FORMAT_VERSION, "weights": weights}, tmp_path / "gpu.ckpt")
    monkeypatch.undo()

    for map_location in (None, "cpu"):
        loaded = DurableCheckpointIO().load_checkpoint(tmp_path / "gpu.ckpt", map_location)
        assert torch.equal(loaded["weights"], weights)


def test_missing_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.ckpt: no such checkpoint"):
        read_checkpoint(tmp_path / "nothing.ckpt")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a checkpoint", b"\x80\x02}q\x00."])
def test_foreign_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "foreign.ckpt"
    path.write_bytes(content)

    with pytest.raises(ValueError, match="is not a checkpoint, or a damaged one"):
        read_checkpoint(path)


def test_checkpoint_of_another_program_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")

    with pytest.raises(ValueError, match="is not a checkpoint of acro: it has no 'acro_format_version'"):
        read_checkpoint(tmp_path / "other.ckpt")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_unknown_format_version_is_refused(version: object, tmp_path: Path) -> None:
    torch.save({FORMAT_KEY: version}, tmp_path / "newer.ckpt")

    with pytest.raises(ValueError, match=f"has format version {version!r}; this acro reads up to 1"):
        read_checkpoint(tmp_path / "newer.ckpt")


def test_compressed_checkpoint_is_refused_before_it_is_unpacked(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(checkpoint) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in source.namelist():
            bomb.writestr(name, source.read(name))

    with pytest.raises(ValueError, match="it is compressed, which acro's checkpoints never are"):
        read_checkpoint(path)


def _lists_in_lists(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def _doubled(times: int) -> list[Any]:
    doubled: list[Any] = [0]
    for _ in range(times):
        doubled = [doubled, doubled]
    return doubled


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_lists_in_lists(60), "nested without end"),
        (_doubled(40), "nested without end"),
        (torch.zeros(1).expand(1_000_000_000), r"a tensor of shape \(1000000000,\) has fewer numbers in the file"),
    ],
    ids=["deep", "shared", "expanded"],
)
def test_values_that_unfold_to_more_than_the_file_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    torch.save({FORMAT_KEY: 1, "content": content}, tmp_path / "bomb.ckpt")

    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path / "bomb.ckpt")


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": [40_000, 40_000]},
        {"hidden": [1] * 100_000},
        {"head": "quantile", "num_quantiles": 10**9},
        {"hidden": ["a"]},
        {"hidden": 3},
        {"hidden": [-1, 16]},
    ],
    ids=["wide", "deep", "quantiles", "text", "number", "negative"],
)
def test_network_that_the_weights_cannot_fill_is_not_made(
    settings: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    content = read_checkpoint(checkpoint)
    content["hyper_parameters"].update(settings)
    DurableCheckpointIO().save_checkpoint(content, tmp_path / "bomb.ckpt")

    with pytest.raises(ValueError, match=r"the weights in .*bomb\.ckpt do not fit acro\.QNetwork"):
        load_agent(tmp_path / "bomb.ckpt")


def test_tensor_without_a_storage_is_refused(tmp_path: Path) -> None:
    torch.save({FORMAT_KEY: 1, "weights": torch.ones(3)}, tmp_path / "plain.ckpt")
    path = tmp_path / "damaged.ckpt"
    with zipfile.ZipFile(tmp_path / "plain.ckpt") as source, zipfile.ZipFile(path, "w") as damaged:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                # The tuple that names the storage becomes a number, which torch meets with an assertion.
                content = b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x05Qs."
            damaged.writestr(name, content)

    with pytest.raises(AssertionError) as raised:
        torch.load(path, weights_only=True)
    # PyTorch's assertion has a text in some of its versions, and none in others.
    reason = str(raised.value) or "AssertionError"
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path} is damaged or no checkpoint: {reason}')}$"):
        read_checkpoint(path)


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_hostile_checkpoint_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    path, evidence = tmp_path / "hostile.ckpt", tmp_path / "evidence"
    torch.save({FORMAT_KEY: 1, "state_dict": Hostile(f"touch {evidence}")}, path)

    with pytest.raises(ValueError, match="holds more than tensors and plain values, and is refused"):
        read_checkpoint(path)
    with pytest.raises(pickle.UnpicklingError):
        DQN.load_from_checkpoint(path)
    assert not evidence.exists()


def test_bare_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    path, evidence = tmp_path / "hostile.ckpt", tmp_path / "evidence"
    path.write_bytes(pickle.dumps(Hostile(f"touch {evidence}")))

    with pytest.raises(ValueError, match="is not a checkpoint, or a damaged one"):
        read_checkpoint(path)
    assert not evidence.exists()


def _bytes_of(path: Path) -> bytes:
    content = path.read_bytes()
    assert zipfile.is_zipfile(io.BytesIO(content))
    return content


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_truncated_checkpoint_is_refused(checkpoint: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = _bytes_of(checkpoint)
    path = tmp_path / "truncated.ckpt"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])

    with pytest.raises(ValueError, match=r"truncated\.ckpt"):
        read_checkpoint(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bit_is_noticed_or_harmless(checkpoint: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(_bytes_of(checkpoint))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.ckpt"
    path.write_bytes(content)

    try:
        found = read_checkpoint(path)
    except ValueError:
        return
    # Some bytes mean nothing, such as padding between the archive's members or a date in its directory.
    assert differences(read_checkpoint(checkpoint), found) == []
