"""Memory states and files that were damaged at random, and what must become of them."""

from __future__ import annotations

import io
import json
import random
import signal
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acro.replay import ReplayMemory
from acro.replay import file as replay_file
from acro.replay.state import upgraded

KINDS = ("bytes", "forged", "state", "call")
"""A file whose checksum tells, a file whose checksum was made right again, a state, and a method's odd arguments."""

SECONDS_PER_MUTATION = 30

_NUMBERS = (0, 1, -1, 2, 3, 7, 8, 24, 255, 10**6, 2**31 - 2, 2**31, 2**40, 2**52, 2**63 - 1, 2**64, -(2**63), 10**30)
_ODD: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: True,
    lambda: 1.5,
    lambda: float("nan"),
    lambda: "x",
    lambda: b"x",
    list,
    dict,
    lambda: [[1], [1, 2]],
    lambda: np.zeros(3),
    lambda: np.zeros((2, 2), object),
    lambda: np.array("x"),
    lambda: object(),
    lambda: 10**30,
    lambda: _nested(2000),
    lambda: np.zeros(0, np.dtype([("a", int)])),
    lambda: np.ma.masked_array([1.0, 2.0], [True, False]),
)


def memories() -> list[ReplayMemory]:
    """Small memories of several kinds, in the middle of things."""
    made = [
        ReplayMemory(24, (2,), action_dtype=np.int32, num_envs=3, seed=4, prioritized=True),
        ReplayMemory(10, (3, 2), obs_dtype=np.uint8, action_shape=(2,), action_dtype=np.float32),
        ReplayMemory(6, (), obs_dtype=np.float64, action_dtype=np.bool_, num_envs=2, prioritized=True, alpha=1.0),
        ReplayMemory(100, (4,), obs_dtype=np.float16, num_envs=4),
        ReplayMemory(8, (2, 2), obs_dtype=np.uint8, num_envs=2, prioritized=True, frame_stack=3, padding="zero"),
    ]
    for memory, steps in zip(made, (40, 7, 31, 0, 50), strict=True):
        for step in range(steps):
            obs = np.full(memory.obs_shape, step).astype(memory.obs_dtype)
            action = np.full(memory.action_shape, step % 2).astype(memory.action_dtype)
            env = (step % 5) % memory.num_envs
            memory.push(obs, action, step, obs, step % 11 == 10, step % 7 == 6, env=env)
    return made


class Damage:
    """Mutations by number: the same one for the same number, of one memory after another."""

    def __init__(self, folder: Path) -> None:
        """Make the memories; `folder` is where their files are written."""
        self.path = folder / "memory"
        self.memories = memories()
        self.states = [memory.state_dict() for memory in self.memories]
        self.files = [_written(state) for state in self.states]

    def try_one(self, number: int) -> str:
        """Load mutation `number` and return what became of it: "loaded", or the name of the error.

        Raises:
            AssertionError: It was loaded as something else than it says, or a refusal changed the memory.
        """
        rng = random.Random(number)
        which, kind = number % len(self.memories), kind_of(number)
        if kind == "state":
            return self._try_state(which, rng)
        if kind == "call":
            return self._try_call(which, rng)
        content = self.files[which]
        content = _changed_bytes(content, rng) if kind == "bytes" else _forged(content, rng)
        self.path.write_bytes(content)
        try:
            memory = ReplayMemory.load(self.path)
        except (ValueError, TypeError, MemoryError) as error:
            return type(error).__name__
        says = self.states[which] if kind == "bytes" else replay_file.read(io.BytesIO(content))
        assert _same(memory.state_dict(), upgraded(says)), "it was loaded as something else"
        _use(memory)
        return "loaded"

    def _try_state(self, which: int, rng: random.Random) -> str:
        memory, before = self.memories[which], self.states[which]
        state = dict(before)
        for _ in range(rng.choice((1, 1, 2, 3))):
            _change_state(state, rng)
        try:
            memory.load_state_dict(state)
        except (ValueError, TypeError, MemoryError) as error:
            assert _same(memory.state_dict(), before), "a refused state changed the memory"
            return type(error).__name__
        try:
            assert _same(memory.state_dict(), upgraded(state)), "it was loaded as something else"
            _use(memory)
        finally:
            memory.load_state_dict(before)
        return "loaded"

    def _try_call(self, which: int, rng: random.Random) -> str:
        memory = self.memories[which]
        row, action = np.zeros(memory.obs_shape), np.zeros(memory.action_shape)
        many = (np.zeros((memory.num_envs, *memory.obs_shape)), np.zeros((memory.num_envs, *memory.action_shape)))
        flags = [False] * memory.num_envs
        method, arguments, options = rng.choice(
            (
                (memory.push, [row, action, 0.0, row, False, False], ["env"]),
                (memory.extend, [*many, flags, many[0], flags, flags], ["envs"]),
                (memory.sample, [4], ["n_step", "gamma", "replace", "beta", "out"]),
                (memory.gather, [[0]], ["n_step", "gamma"]),
                (memory.latest, [many[0]], []),
                (memory.update_priorities, [[0], [1.0]], []),
                (memory.load_state_dict, [self.states[which]], []),
            )
        )
        for _ in range(rng.choice((1, 1, 2))):
            arguments[rng.randrange(len(arguments))] = _odd(rng)
        chosen = {name: _odd(rng) for name in options if rng.random() < 0.3}
        try:
            method(*arguments, **chosen)
        except (ValueError, TypeError, MemoryError) as error:
            return type(error).__name__
        except RuntimeError as error:
            if "has no priorities" not in str(error):
                raise
            return "RuntimeError"
        finally:
            memory.load_state_dict(self.states[which])
        return "taken"


def run(folder: Path, first: int, last: int) -> tuple[Counter[str], list[str]]:
    """Try the mutations from `first` to before `last`: how many of each kind ended how, and what must not be.

    A mutation that hangs ends the process by SIGALRM.
    """
    damage, ends, failures = Damage(folder), Counter[str](), []
    for number in range(first, last):
        signal.alarm(SECONDS_PER_MUTATION)
        try:
            ends[f"{kind_of(number)}: {damage.try_one(number)}"] += 1
        except BaseException as error:
            # A panic is no Exception; and whatever it is, the number makes it come again.
            failures.append(f"{number}: {type(error).__name__}: {error}")
            damage = Damage(folder)
    signal.alarm(0)
    return ends, failures


def kind_of(number: int) -> str:
    """The kind of a mutation."""
    return KINDS[number // 5 % len(KINDS)]


def _written(state: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    replay_file.write(file, state)
    return file.getvalue()


def _changed_bytes(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0 if place < len(changed):
                changed[place] ^= 1 << rng.randrange(8)
            case 1 if place < len(changed):
                changed[place] = rng.randrange(256)
            case 2:
                changed[place:place] = rng.randbytes(rng.choice((1, 8, 100)))
            case 3:
                del changed[place : place + rng.choice((1, 8, 100))]
            case 4:
                del changed[place:]
            case _:
                changed[place : place + 8] = rng.randrange(2**64).to_bytes(8, "little")
    return bytes(changed)


def _forged(content: bytes, rng: random.Random) -> bytes:
    """Change the header's meaning or the arrays, and make lengths and checksum right again."""
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), bytearray(content[8 + length : -4])
    values = json.loads(header["__metadata__"]["values"])
    for _ in range(rng.choice((1, 1, 2, 3))):
        entry = rng.choice([entry for entry in header.values() if isinstance(entry, dict) and "dtype" in entry])
        match rng.randrange(9):
            case 0 if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
            case 1:
                values[rng.choice(list(values))] = _odd_json(rng)
            case 2:
                values["capacity"] = rng.choice((*range(200), *_NUMBERS))
            case 3 if isinstance(entry.get("shape"), list) and entry["shape"]:
                entry["shape"][rng.randrange(len(entry["shape"]))] = rng.choice(_NUMBERS)
            case 4:
                entry[rng.choice(("dtype", "shape", "data_offsets"))] = _odd_json(rng)
            case 5 if isinstance(entry.get("data_offsets"), list):
                entry["data_offsets"] = [rng.choice((*entry["data_offsets"], rng.randrange(500))) for _ in range(2)]
            case 6:
                header[rng.choice([*header, "more"])] = rng.choice((entry, _odd_json(rng)))
            case 7:
                del header[rng.choice([name for name in header if name not in ("__metadata__", "checksum")])]
            case _:
                data += rng.randbytes(rng.choice((1, 4, 8)))
    if isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["values"] = json.dumps(values)
    text = json.dumps(header).encode()
    forged = len(text).to_bytes(8, "little") + text + data
    return forged + zlib.crc32(forged).to_bytes(4, "little")


def _odd(rng: random.Random) -> Any:
    if rng.random() < 0.3:
        # A batch of 2**31 rows can be had, and takes its time.
        return rng.choice([number for number in _NUMBERS if not 10**4 < number < 2**50])
    if rng.random() < 0.3:
        length = rng.choice((0, 1, 2, 4, 7))
        kind = rng.choice((np.float64, np.int64, np.bool_, np.uint8, np.float32, object))
        shape = rng.choice(((length,), (length, 2), (2, length), ()))
        return np.full(shape, rng.choice(_NUMBERS[:9])).astype(kind)
    return rng.choice(_ODD)()


def _odd_json(rng: random.Random) -> Any:
    odd: tuple[Any, ...] = (
        None,
        True,
        1.5,
        "x",
        [],
        {},
        [-1],
        [0, 0],
        "F32",
        "I64",
        "U8",
        _nested(500),
        [[1]],
        *_NUMBERS,
    )
    return rng.choice(odd)


def _nested(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def _change_state(state: dict[Any, Any], rng: random.Random) -> None:
    name = rng.choice(list(state))
    value = state[name]
    damageable = isinstance(value, np.ndarray) and value.ndim > 0 and value.dtype.kind in "biuf"
    if not damageable or rng.random() < 0.15:
        match rng.randrange(3):
            case 0:
                del state[name]
                state.setdefault("rng", np.arange(4))
            case 1:
                state[rng.choice((name, "more", 7))] = rng.choice(_ODD)()
            case _:
                state[name] = rng.choice(_NUMBERS)
        return
    changed: NDArray[Any] = value.copy()
    match rng.randrange(8):
        case 0 | 1 | 2 if changed.nbytes and not changed.dtype.hasobject:
            changed = np.ascontiguousarray(changed)
            content = changed.reshape(-1).view(np.uint8)
            content[rng.randrange(len(content))] = rng.choice((0, 1, 2, 127, 255, rng.randrange(256)))
        case 3:
            changed = changed[: rng.randrange(len(changed) + 1)]
        case 4:
            changed = np.concatenate([changed, changed[:1]])
        case 5:
            changed = np.frombuffer(b"\0" + changed.tobytes(), np.uint8)[1:].view(changed.dtype).reshape(changed.shape)
        case 6:
            changed = changed.astype(rng.choice((np.float64, np.int64, np.bool_, np.uint8, object, np.float32)))
        case _:
            changed = rng.choice((changed[None], changed[::-1], changed.T, np.asfortranarray(changed), changed.ravel()))
    state[name] = changed


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two states hold the same bits; a true bool may be any byte but 0."""

    def bits(value: Any) -> Any:
        if value is None or isinstance(value, (int, float, np.number)):
            return value
        array = np.asarray(value)
        return (array.dtype, array.shape, (array | False if array.dtype == bool else array).tobytes())

    return one.keys() == other.keys() and all(bits(one[name]) == bits(other[name]) for name in one)


def _use(memory: ReplayMemory) -> None:
    """Whatever was loaded can be used."""
    row = np.zeros(memory.obs_shape, memory.obs_dtype)
    memory.push(row, np.zeros(memory.action_shape, memory.action_dtype), 0.0, row, terminated=False)
    try:
        batch = memory.sample(4, n_step=3)
    except ValueError as error:
        if "every priority is zero" not in str(error):
            raise
    else:
        memory.gather(batch.indices)
