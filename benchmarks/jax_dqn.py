"""DQN in plain JAX: rounds of updates in one `lax.scan`, and a training loop that is compiled whole, Acrobot included.

Run by the interpreter of `.venv-jax`; nothing here imports acro.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

OBSERVATION_SIZE, NUM_ACTIONS, MAX_STEPS = 6, 3, 500
Params = list[tuple[Array, Array]]


class Settings(NamedTuple):
    """What is compiled in; `num_quantiles` 0 is the value head."""

    width: int
    batch_size: int
    num_quantiles: int = 0
    double: bool = True
    learning_rate: float = 1e-3
    target_update_every: int = 100
    gamma: float = 0.99


class Batch(NamedTuple):
    """Minibatches, with any leading axes."""

    obs: Array
    actions: Array
    rewards: Array
    next_obs: Array
    discounts: Array


class Learner(NamedTuple):
    """What an update changes."""

    params: Params
    target: Params
    optimizer: Any
    updates: Array


def make_learner(settings: Settings, seed: int = 0) -> tuple[Learner, Callable[[Learner, Batch], Learner]]:
    """Return a fresh learner, and the function that takes it through one minibatch."""
    outputs = NUM_ACTIONS * max(1, settings.num_quantiles)
    sizes = [OBSERVATION_SIZE, settings.width, settings.width, outputs]
    keys = jax.random.split(jax.random.key(seed), len(sizes) - 1)
    params = [
        (jax.random.normal(key, (rows, columns)) * math.sqrt(2.0 / rows), jnp.zeros(columns))
        for key, rows, columns in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(settings.learning_rate))
    loss = partial(quantile_loss if settings.num_quantiles else value_loss, settings=settings)

    def update(learner: Learner, batch: Batch) -> Learner:
        gradients = jax.grad(loss)(learner.params, learner.target, batch)
        changes, state = optimizer.update(gradients, learner.optimizer)
        # optax says that these are trees; they are of the kind that goes in.
        params: Params = optax.apply_updates(learner.params, changes)  # type: ignore[assignment]
        updates = learner.updates + 1
        target: Params = optax.periodic_update(params, learner.target, updates, settings.target_update_every)  # type: ignore[assignment]
        return Learner(params, target, state, updates)

    # Donated memory cannot be held twice.
    copies = jax.tree.map(jnp.copy, params)
    return Learner(params, copies, optimizer.init(params), jnp.zeros((), jnp.int32)), update


def forward(params: Params, obs: Array) -> Array:
    """Return the outputs (B, NUM_ACTIONS * quantiles)."""
    for weights, bias in params[:-1]:
        obs = jax.nn.relu(obs @ weights + bias)
    weights, bias = params[-1]
    return obs @ weights + bias


def value_loss(params: Params, target: Params, batch: Batch, settings: Settings) -> Array:
    """Return the mean Huber loss of the temporal-difference errors."""
    rows = jnp.arange(settings.batch_size)
    next_values = forward(target, batch.next_obs)  # (B, actions)
    choosing = forward(lax.stop_gradient(params), batch.next_obs) if settings.double else next_values
    td_target = batch.rewards + batch.discounts * next_values[rows, choosing.argmax(axis=1)]
    q = forward(params, batch.obs)[rows, batch.actions]
    return optax.huber_loss(q, td_target).mean()


def quantile_loss(params: Params, target: Params, batch: Batch, settings: Settings) -> Array:
    """Return QR-DQN's loss (Dabney et al. 2018) with its corner at 1."""
    rows, number = jnp.arange(settings.batch_size), settings.num_quantiles
    shape = (settings.batch_size, NUM_ACTIONS, number)
    following = forward(target, batch.next_obs).reshape(shape)
    choosing = forward(lax.stop_gradient(params), batch.next_obs).reshape(shape) if settings.double else following
    best = choosing.mean(axis=2).argmax(axis=1)
    td_target = batch.rewards[:, None] + batch.discounts[:, None] * following[rows, best]  # (B, N)
    quantiles = forward(params, batch.obs).reshape(shape)[rows, batch.actions]  # (B, N)
    errors = td_target[:, None, :] - quantiles[:, :, None]  # (B, N, N)
    levels = (jnp.arange(number) + 0.5) / number
    weights = jnp.abs(levels[None, :, None] - (errors < 0))
    return (weights * optax.huber_loss(errors)).mean(axis=2).sum(axis=1).mean()


def round_of_updates(settings: Settings) -> tuple[Learner, Callable[[Learner, Batch], Learner]]:
    """Return a learner and the compiled function that takes it through a batch (M, B), in the learner's own memory."""
    learner, update = make_learner(settings)

    def updates(learner: Learner, batch: Batch) -> Learner:
        return lax.scan(lambda carry, minibatch: (update(carry, minibatch), None), learner, batch)[0]

    return learner, jax.jit(updates, donate_argnums=0)


# ---- the whole loop


class Loop(NamedTuple):
    """A learner, one Acrobot, and a memory that is overwritten in turn."""

    learner: Learner
    angles: Array
    episode_steps: Array
    memory: Batch
    stored: Array
    key: Array


def training_loop(settings: Settings, capacity: int, train_every: int, rounds: int, epsilon: float) -> tuple[Loop, Any]:
    """Return a loop and the compiled function that runs `rounds` rounds: `train_every` steps, then as many updates."""
    learner, update = make_learner(settings)

    def step(loop: Loop, _: None) -> tuple[Loop, None]:
        key, exploring, action_key, start_key = jax.random.split(loop.key, 4)
        obs = observe(loop.angles)
        greedy = forward(loop.learner.params, obs[None])[0].argmax()
        is_exploring = jax.random.uniform(exploring) < epsilon
        action = jnp.where(is_exploring, jax.random.randint(action_key, (), 0, NUM_ACTIONS), greedy)
        angles, terminated = acrobot(loop.angles, action)
        slot = loop.stored % capacity
        discount = jnp.where(terminated, 0.0, settings.gamma)
        row = Batch(obs, action, jnp.where(terminated, 0.0, -1.0), observe(angles), discount)
        memory = Batch(*(column.at[slot].set(value) for column, value in zip(loop.memory, row, strict=True)))
        ended = terminated | (loop.episode_steps + 1 >= MAX_STEPS)
        angles = jnp.where(ended, jax.random.uniform(start_key, (4,), minval=-0.1, maxval=0.1), angles)
        episode_steps = jnp.where(ended, 0, loop.episode_steps + 1)
        return Loop(loop.learner, angles, episode_steps, memory, loop.stored + 1, key), None

    def learn(loop: Loop, _: None) -> tuple[Loop, None]:
        key, drawing = jax.random.split(loop.key)
        rows = jax.random.randint(drawing, (settings.batch_size,), 0, jnp.minimum(loop.stored, capacity))
        learner = update(loop.learner, Batch(*(column[rows] for column in loop.memory)))
        return loop._replace(learner=learner, key=key), None

    def one_round(loop: Loop, _: None) -> tuple[Loop, None]:
        loop, _ = lax.scan(step, loop, length=train_every)
        return lax.scan(learn, loop, length=train_every)

    observations = jnp.zeros((capacity, OBSERVATION_SIZE))
    numbers = jnp.zeros(capacity)
    memory = Batch(observations, jnp.zeros(capacity, jnp.int32), numbers, observations.copy(), numbers.copy())
    zero = jnp.zeros((), jnp.int32)
    loop = Loop(learner, jnp.zeros(4), zero, memory, zero.copy(), jax.random.key(1))
    return loop, jax.jit(lambda loop: lax.scan(one_round, loop, length=rounds)[0], donate_argnums=0)


def observe(angles: Array) -> Array:
    """Return the observation (6,) of two angles and their speeds."""
    first, second, first_speed, second_speed = angles
    return jnp.stack([jnp.cos(first), jnp.sin(first), jnp.cos(second), jnp.sin(second), first_speed, second_speed])


def acrobot(angles: Array, action: Array) -> tuple[Array, Array]:
    """Return the next angles and whether the tip is high enough; Gymnasium's Acrobot-v1, RK4 over 0.2 s."""
    torque, time_step = action.astype(jnp.float32) - 1.0, 0.2
    k1 = _slope(angles, torque)
    k2 = _slope(angles + 0.5 * time_step * k1, torque)
    k3 = _slope(angles + 0.5 * time_step * k2, torque)
    k4 = _slope(angles + time_step * k3, torque)
    moved = angles + time_step / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    turned = jnp.mod(moved[:2] + jnp.pi, 2.0 * jnp.pi) - jnp.pi
    limits = jnp.array([4.0 * jnp.pi, 9.0 * jnp.pi])
    moved = jnp.concatenate([turned, jnp.clip(moved[2:], -limits, limits)])
    return moved, -jnp.cos(moved[0]) - jnp.cos(moved[0] + moved[1]) > 1.0


def _slope(angles: Array, torque: Array) -> Array:
    # Both links weigh 1, are 1 long with the centre at 0.5, and have inertia 1 (Sutton and Barto's "book" dynamics).
    first, second, first_speed, second_speed = angles
    gravity = 9.8
    d1 = 0.25 + (1.25 + jnp.cos(second)) + 2.0
    d2 = 0.25 + 0.5 * jnp.cos(second) + 1.0
    phi2 = 0.5 * gravity * jnp.cos(first + second - jnp.pi / 2.0)
    phi1 = (
        -0.5 * second_speed**2 * jnp.sin(second)
        - second_speed * first_speed * jnp.sin(second)
        + 1.5 * gravity * jnp.cos(first - jnp.pi / 2.0)
        + phi2
    )
    second_acceleration = (torque + d2 / d1 * phi1 - 0.5 * first_speed**2 * jnp.sin(second) - phi2) / (
        1.25 - d2**2 / d1
    )
    first_acceleration = -(d2 * second_acceleration + phi1) / d1
    return jnp.stack([first_speed, second_speed, first_acceleration, second_acceleration])
