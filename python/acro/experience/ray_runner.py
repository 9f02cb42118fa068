"""Steps environments in collectors: Ray's actors, on this machine or on others."""

from __future__ import annotations

import contextlib
import copy
import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from acro.experience.ray_session import connected
from acro.experience.shards import EnvShard, concatenate_steps, merge_states, split_state
from acro.experience.stepper import Step, unstacked

logger = logging.getLogger(__name__)

# A collector that replaces a lost one repeats at most this many rounds.
_ROUNDS_BETWEEN_STATES = 16
# Ray copies larger messages into its store, once for each collector.
_MOST_BYTES_IN_A_MESSAGE = 100 * 1024
# In a row, of one collector. Whatever killed so many processes will kill the next one, too.
_MOST_LOSSES = 20


class _Request(NamedTuple):
    """The arguments of `_Actor.steps`."""

    weights: Any
    epsilon: float
    num_steps: int
    with_state: bool


class _Actor:
    """A collector: a shard of the environments, and a copy of the network."""

    def __init__(self, shard: EnvShard) -> None:
        torch.set_num_threads(1)
        # Arrays that come from Ray are read-only.
        self._stepper = copy.deepcopy(shard).make()
        self._policy: Any

    def act_with(self, policy: Any) -> None:
        self._policy = copy.deepcopy(policy)

    def steps(self, weights: bytes, epsilon: float, count: int, with_state: bool) -> tuple[Step, dict[str, Any] | None]:
        self._policy.load_weights(pickle.loads(weights))
        self._stepper.start(self._policy, epsilon, count)
        return self._stepper.finish(), self._stepper.state_dict() if with_state else None

    def state(self) -> dict[str, Any]:
        return self._stepper.state_dict()

    def load_state(self, state: dict[str, Any]) -> dict[int, str]:
        return self._stepper.load_state_dict(state)


class RayRunner:
    """Steps environments in collectors, which get the weights once a round and send the steps back as arrays.

    A collector that is lost is replaced. The new one continues from the last state that the lost one sent, and repeats
    the rounds since then with the same weights: it ends in the same state, to the bit.
    """

    def __init__(self, shards: Sequence[EnvShard]) -> None:
        self.num_envs = shards[0].total_envs
        self._shards = shards
        self._stack = contextlib.ExitStack()
        self._states: list[dict[str, Any] | None] = [None] * len(shards)
        # Those of every round since the states.
        self._requests: list[_Request] = []
        self._under_way: list[Any] = []
        self._actors: list[Any] = []
        self._open()

    def _open(self) -> None:
        """Start the collectors if there are none; they continue from the states that were kept."""
        if self._actors:
            return
        count = len(self._shards)
        # The learner waits for collectors, so they must not be nicer than it is.
        ray = connected(f"collectors={count}", least_cpus=count + 1, niceness=0)
        self._ray = self._stack.enter_context(ray)
        # With too few CPUs they share them; Ray would wait for a CPU for each.
        has_enough = self._ray.cluster_resources().get("CPU", 0) > count
        options = {"num_cpus": int(has_enough), "scheduling_strategy": "SPREAD"}
        self._make_actor: Callable[[EnvShard], Any] = self._ray.remote(_Actor).options(**options).remote
        self._policy: Any = None
        self._actors = [self._make_actor(shard) for shard in self._shards]
        for actor, state in zip(self._actors, self._states, strict=True):
            if state is not None:
                actor.load_state.remote(state)

    def steps(self, network: Any, epsilon: float, count: int) -> Iterator[Step]:
        """Yield `count` steps of every environment, after all of them were taken."""
        self.start(network, epsilon, count)
        yield from unstacked(self.finish())

    def start(self, network: Any, epsilon: float, count: int) -> None:
        """Send the weights, and start `count` steps in every collector."""
        self._open()
        if self._policy is None:
            if not hasattr(network, "make_policy"):
                raise ValueError(f"collectors need a DQN to act, got a {type(network).__name__}; use collectors=0")
            self._policy = self._ray.put(network.make_policy())
            for actor in self._actors:
                actor.act_with.remote(self._policy)
        with_state = len(self._requests) + 1 >= _ROUNDS_BETWEEN_STATES
        # Pickled into one message: Ray's store, or an object for each array, takes more of the learner's time.
        weights = pickle.dumps(network.weights_to_send())
        if len(weights) > _MOST_BYTES_IN_A_MESSAGE:
            weights = self._ray.put(weights)
        self._requests.append(_Request(weights, epsilon, count, with_state))
        self._under_way = [actor.steps.remote(*self._requests[-1]) for actor in self._actors]

    def finish(self) -> Step:
        """Return the steps that were started, (count, N, ...)."""
        found = [self._get(index, reference) for index, reference in enumerate(self._under_way)]
        self._under_way = []
        if self._requests[-1].with_state:
            self._keep([state for _, state in found])
        return concatenate_steps([steps for steps, _ in found])

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all environments, the same as if this process had stepped them."""
        self._open()
        states = self._current_states()
        self._keep(states)
        # Checkpoints need writable arrays, and those that come from Ray are read-only.
        merged: dict[str, Any] = merge_states(copy.deepcopy(states), [shard.num_envs for shard in self._shards])
        return merged

    def load_state_dict(self, state: dict[str, Any]) -> dict[int, str]:
        """Continue from the state of all environments, whatever stepped them before."""
        self._open()
        states = [split_state(state, shard.first_env, shard.num_envs, shard.total_envs) for shard in self._shards]
        self._keep(states)
        differences: dict[int, str] = {}
        for index, (shard, actor) in enumerate(zip(self._shards, self._actors, strict=True)):
            found = self._get(index, actor.load_state.remote(states[index]), "load_state", states[index])
            differences |= {shard.first_env + env: reason for env, reason in found.items()}
        return differences

    def close(self) -> None:
        """Stop the collectors, and Ray if it was started for them; the next steps start them again from here."""
        if self._actors and self._policy is not None:
            # An environment's error, of any kind, has been raised before.
            with contextlib.suppress(Exception):
                self._keep(copy.deepcopy(self._current_states()))
        while self._actors:
            self._ray.kill(self._actors.pop())
        self._stack.close()

    def _current_states(self) -> list[Any]:
        references = [actor.state.remote() for actor in self._actors]
        return [self._get(index, reference, "state") for index, reference in enumerate(references)]

    def _keep(self, states: Sequence[Any]) -> None:
        self._states = list(states)
        self._requests.clear()

    def _get(self, index: int, reference: Any, method: str | None = None, *arguments: Any) -> Any:
        """Return the result of a collector's call; if the collector is lost, that of its replacement.

        Args:
            index: Number of the collector.
            reference: Ray's reference to the result.
            method: Name of the method that was called; None for the steps of the last round.
            arguments: What it was called with.
        """
        errors = self._ray.exceptions
        for _ in range(_MOST_LOSSES):
            try:
                return self._ray.get(reference)
            except (
                errors.RayActorError,
                errors.WorkerCrashedError,
                errors.NodeDiedError,
                errors.ObjectLostError,
            ) as lost:
                logger.warning("collector %d was lost and is replaced: %s", index, str(lost).splitlines()[0])
                reference = self._replace(index)
                if method is not None:
                    reference = getattr(self._actors[index], method).remote(*arguments)
        raise RuntimeError(f"collector {index} was lost {_MOST_LOSSES} times in a row; see Ray's logs")

    def _replace(self, index: int) -> Any:
        """Replace collector `index`; return a reference to the result of the last round's steps."""
        actor = self._actors[index] = self._make_actor(self._shards[index])
        if self._policy is not None:
            actor.act_with.remote(self._policy)
        if self._states[index] is not None:
            actor.load_state.remote(self._states[index])
        # The actor repeats them in order; the memory has the results of all but the last already.
        references = [actor.steps.remote(*each) for each in self._requests]
        return references[-1] if references else None
