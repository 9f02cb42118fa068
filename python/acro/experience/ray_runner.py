"""Environments that are stepped in other processes, on this machine or on others: Ray's actors."""

from __future__ import annotations

import contextlib
import copy
import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from acro.experience.ray_session import connected
from acro.experience.shards import Part, merge_states, side_by_side, split_state
from acro.experience.stepper import Step, unstacked

logger = logging.getLogger(__name__)

# After so many rounds a collector sends its state: what a lost one has to take again is bounded by it.
_ROUNDS_BETWEEN_STATES = 16
# Ray puts larger ones into its store, once for each collector.
_MOST_BYTES_IN_A_MESSAGE = 100 * 1024
# Of one collector, one after another. Whatever ends so many processes will end the next one, too.
_MOST_LOSSES = 20


class _Actor:
    """What Ray makes an actor of: a part of the environments, and a copy of the network."""

    def __init__(self, part: Part) -> None:
        torch.set_num_threads(1)
        # What Ray hands over is read-only.
        self._stepper = copy.deepcopy(part).make()
        self._policy: Any

    def act_with(self, policy: Any) -> None:
        self._policy = copy.deepcopy(policy)

    def steps(self, weights: bytes, epsilon: float, count: int, with_state: bool) -> tuple[Step, dict[str, Any] | None]:
        self._policy.load_weights(pickle.loads(weights))
        steps = self._stepper.steps(self._policy, epsilon, count)
        return steps, self._stepper.state_dict() if with_state else None

    def state(self) -> dict[str, Any]:
        return self._stepper.state_dict()

    def load_state(self, state: dict[str, Any]) -> dict[int, str]:
        return self._stepper.load_state_dict(state)


class Elsewhere:
    """Environments in collectors: the weights go out once a round, and what happened comes back as arrays.

    A collector that is lost, or whose machine is, is replaced. The new one continues from the last state that the lost
    one sent, and takes the rounds since then again, with the same weights: it ends where the lost one was, to the bit.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.num_envs = parts[0].of
        self._parts = parts
        self._stack = contextlib.ExitStack()
        self._states: list[dict[str, Any] | None] = [None] * len(parts)
        # Weights, epsilon, steps and whether a state was asked for, of every round since those states.
        self._rounds: list[tuple[Any, float, int, bool]] = []
        self._under_way: list[Any] = []
        self._actors: list[Any] = []
        self._open()

    def _open(self) -> None:
        """Start the collectors where none are; they continue from the states that are kept."""
        if self._actors:
            return
        count = len(self._parts)
        # The learner waits for them: they are no less urgent than it is.
        ray = connected(f"collectors={count}", least_cpus=count + 1, niceness=0)
        self._ray = self._stack.enter_context(ray)
        # Without a CPU for each, they share those there are, and Ray waits for none.
        has_enough = self._ray.cluster_resources().get("CPU", 0) > count
        options = {"num_cpus": int(has_enough), "scheduling_strategy": "SPREAD"}
        self._make_actor: Callable[[Part], Any] = self._ray.remote(_Actor).options(**options).remote
        self._policy: Any = None
        self._actors = [self._make_actor(part) for part in self._parts]
        for actor, state in zip(self._actors, self._states, strict=True):
            if state is not None:
                actor.load_state.remote(state)

    def steps(self, network: Any, epsilon: float, count: int, device: torch.device | str) -> Iterator[Step]:
        """Have all of them taken, and yield one after another."""
        self.start(network, epsilon, count, device)
        yield from unstacked(self.finish())

    def start(self, network: Any, epsilon: float, count: int, device: torch.device | str) -> None:
        """Send the weights, and begin `count` steps everywhere."""
        self._open()
        if self._policy is None:
            if not hasattr(network, "make_policy"):
                raise ValueError(f"collectors need a DQN to act, got a {type(network).__name__}; use collectors=0")
            self._policy = self._ray.put(network.make_policy())
            for actor in self._actors:
                actor.act_with.remote(self._policy)
        with_state = len(self._rounds) + 1 >= _ROUNDS_BETWEEN_STATES
        # One piece within the message is the fastest way: each array, and Ray's store, costs the learner more.
        weights = pickle.dumps(network.weights_to_send())
        if len(weights) > _MOST_BYTES_IN_A_MESSAGE:
            weights = self._ray.put(weights)
        self._rounds.append((weights, epsilon, count, with_state))
        self._under_way = [actor.steps.remote(*self._rounds[-1]) for actor in self._actors]

    def finish(self) -> Step:
        """Return the steps of all environments, in their order."""
        found = [self._get(index, reference) for index, reference in enumerate(self._under_way)]
        self._under_way = []
        if self._rounds[-1][3]:
            self._keep([state for _, state in found])
        return side_by_side([steps for steps, _ in found])

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all environments, as one process has it."""
        self._open()
        states = [self._get(*each, "state") for each in enumerate(self._ask_for_states())]
        self._keep(states)
        # Checkpoints are made of arrays that can be written, which Ray's cannot.
        merged: dict[str, Any] = merge_states(copy.deepcopy(states), [part.count for part in self._parts])
        return merged

    def load_state_dict(self, state: dict[str, Any]) -> dict[int, str]:
        """Continue from the state of all environments, wherever they were."""
        self._open()
        states = [split_state(state, part.first, part.count, part.of) for part in self._parts]
        self._keep(states)
        differences: dict[int, str] = {}
        for index, (part, actor) in enumerate(zip(self._parts, self._actors, strict=True)):
            found = self._get(index, actor.load_state.remote(states[index]), "load_state", states[index])
            differences |= {part.first + env: reason for env, reason in found.items()}
        return differences

    def close(self) -> None:
        """End the collectors, and Ray where it was started for them; they go on from here when they are asked."""
        if self._actors and self._policy is not None:
            with contextlib.suppress(RuntimeError, ValueError):  # What an environment raised was told already.
                self._keep(copy.deepcopy([self._get(*each, "state") for each in enumerate(self._ask_for_states())]))
        while self._actors:
            self._ray.kill(self._actors.pop())
        self._stack.close()

    def _ask_for_states(self) -> list[Any]:
        return [actor.state.remote() for actor in self._actors]

    def _keep(self, states: Sequence[Any]) -> None:
        self._states = list(states)
        self._rounds.clear()

    def _get(self, index: int, reference: Any, method: str | None = None, *arguments: Any) -> Any:
        """Return what collector `index` answers; where it is lost, what its replacement does.

        Args:
            index: Which.
            reference: The answer to come.
            method: What was asked; None for the last of the rounds.
            arguments: With what.
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
                logger.warning("collector %d was lost, and is replaced: %s", index, str(lost).splitlines()[0])
                reference = self._replace(index)
                if method is not None:
                    reference = getattr(self._actors[index], method).remote(*arguments)
        raise RuntimeError(f"collector {index} was lost {_MOST_LOSSES} times in a row; see Ray's logs")

    def _replace(self, index: int) -> Any:
        """Bring the environments of collector `index` back; return the answer of the last round, to come."""
        actor = self._actors[index] = self._make_actor(self._parts[index])
        if self._policy is not None:
            actor.act_with.remote(self._policy)
        if self._states[index] is not None:
            actor.load_state.remote(self._states[index])
        # One after another, in the actor's own process; all but the last were remembered already.
        references = [actor.steps.remote(*each) for each in self._rounds]
        return references[-1] if references else None
