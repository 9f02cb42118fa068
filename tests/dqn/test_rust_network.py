"""`acro._rust.Network` beside the same learning rule in PyTorch's own modules, autograd and Adam."""

from __future__ import annotations

import copy
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from batches import gradient_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from acro._rust import Network

ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}


class Reference(nn.Module):
    """The network, with outputs (B, A, N)."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        self.sizes = sizes
        widths = [sizes["observation_size"], *sizes["hidden"]]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers.append(nn.Linear(inputs, outputs))
            layers += [nn.LayerNorm(outputs)] * sizes["layer_norm"]
            layers.append(nn.ReLU())
        rows = (sizes["num_actions"] + sizes["dueling"]) * sizes["outputs"]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], rows))

    def forward(self, obs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(obs).unflatten(1, (-1, self.sizes["outputs"]))
        if not self.sizes["dueling"]:
            return outputs
        value, advantages = outputs[:, :1], outputs[:, 1:]
        return value + advantages - advantages.mean(dim=1, keepdim=True)


def losses_of(loss: str, taken: Tensor, target: Tensor) -> Tensor:
    """Return each transition's loss (B,) of numbers (B, N)."""
    losses: Tensor
    if loss in ("huber", "mse"):
        losses = (F.smooth_l1_loss if loss == "huber" else F.mse_loss)(taken, target, reduction="none")
        return losses.squeeze(1)
    quantiles = taken.shape[1]
    midpoints = ((torch.arange(quantiles) + 0.5) / quantiles).unsqueeze(1)
    errors = target.unsqueeze(1) - taken.unsqueeze(2)
    huber = F.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none")
    return ((midpoints - (errors < 0).to(errors)).abs() * huber).mean(dim=2).sum(dim=1)


def reference_round(case: Case) -> dict[str, np.ndarray]:
    """Do what `Network.learn` does, in float64."""
    online, rule = copy.deepcopy(case.online).double(), case.rule
    target, average = copy.deepcopy(case.target).double(), copy.deepcopy(case.online).double()
    adam = torch.optim.Adam(online.parameters(), lr=rule["learning_rate"], betas=(0.9, 0.999), eps=rule["eps"])
    td_errors = []
    for number in range(len(case.columns["actions"])):
        batch = {name: torch.from_numpy(column[number]) for name, column in case.columns.items() if column is not None}
        batch = {name: column.double() if column.is_floating_point() else column for name, column in batch.items()}
        rows = torch.arange(len(batch["actions"]))
        with torch.no_grad():
            next_answers = target(batch["next_obs"])
            chooser = online(batch["next_obs"]) if rule["double"] else next_answers
            next_taken = next_answers[rows, chooser.mean(dim=2).argmax(dim=1)]
            td_target = batch["rewards"].unsqueeze(1) + batch["discounts"].unsqueeze(1) * next_taken
        taken = online(batch["obs"])[rows, batch["actions"]]
        losses = losses_of(rule["loss"], taken, td_target)
        adam.zero_grad()
        torch.autograd.backward((losses * batch.get("weights", torch.ones(()))).mean())
        gradients = [gradient_of(parameter) for parameter in online.parameters()]
        norm = torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients]))
        if rule["max_grad_norm"] is not None and norm > rule["max_grad_norm"]:
            for gradient in gradients:
                gradient.mul_(rule["max_grad_norm"] / norm)
        adam.step()
        td_errors.append((td_target.mean(dim=1) - taken.mean(dim=1)).detach().numpy())
        if (rule["updates"] + number + 1) % rule["target_update_every"] == 0:
            lerp(target, online, rule["tau"])
    if rule["average_updates"] is not None:
        lerp(average, online, 1 - (1 - 1 / rule["average_updates"]) ** len(td_errors))
    moments = {
        name: torch.cat([state[name].flatten() for state in adam.state.values()]).numpy()
        for name in ("exp_avg", "exp_avg_sq")
    }
    flats = {"parameters": flat(online), "target": flat(target), "average": flat(average)}
    return {"td_errors": np.array(td_errors), **moments, **flats}


def lerp(follower: nn.Module, leader: nn.Module, share: float) -> None:
    with torch.no_grad():
        for own, other in zip(follower.parameters(), leader.parameters(), strict=True):
            own.lerp_(other, share)


def flat(network: nn.Module) -> np.ndarray:
    values: np.ndarray = nn.utils.parameters_to_vector(network.parameters()).detach().clone().numpy()
    return values


class Case:
    """A network, a rule and a round of minibatches, drawn from a seed."""

    def __init__(self, sizes: dict[str, Any], rule: dict[str, Any], lengths: tuple[int, int], seed: int) -> None:
        self.sizes, self.rule = sizes, rule
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.online, self.target = Reference(sizes), Reference(sizes)
            for parameter in [*self.online.parameters(), *self.target.parameters()]:
                nn.init.normal_(parameter, std=0.4)
        rng = np.random.default_rng(seed)

        def floats(*shape: int) -> np.ndarray:
            return rng.standard_normal((*lengths, *shape)).astype(np.float32)

        self.columns: dict[str, Any] = {
            "obs": floats(sizes["observation_size"]),
            "actions": rng.integers(sizes["num_actions"], size=lengths),
            "rewards": 2 * floats(),
            "next_obs": floats(sizes["observation_size"]),
            "discounts": np.where(rng.random(lengths) < 0.2, 0, 0.95).astype(np.float32),
            "weights": rng.random(lengths).astype(np.float32) if rng.random() < 0.5 else None,
        }
        self.network = Network(**sizes)
        self.arrays: dict[str, Any] = {
            "parameters": flat(self.online),
            "exp_avg": np.zeros(self.network.num_parameters, np.float32),
            "exp_avg_sq": np.zeros(self.network.num_parameters, np.float32),
            "target": flat(self.target),
            "average": None if rule["average_updates"] is None else flat(self.online),
        }

    def learn(self, **changes: Any) -> tuple[np.ndarray, dict[str, float]]:
        arguments = {**self.arrays, **self.columns, "adam_steps": 0, **self.rule}
        return self.network.learn(**{**arguments, **changes})


def case(seed: int = 0, **changes: Any) -> Case:
    sizes = {"observation_size": 3, "hidden": [8, 5], "num_actions": 2, "outputs": 1}
    rule = {"loss": "huber", "double": True, "learning_rate": 1e-3, "max_grad_norm": 10.0, "updates": 0}
    rule |= {"target_update_every": 3, "tau": 1.0, "average_updates": 10, **ADAM}
    sizes |= {"dueling": False, "layer_norm": False}
    sizes |= {name: change for name, change in changes.items() if name in sizes}
    rule |= {name: change for name, change in changes.items() if name in rule}
    return Case(sizes, rule, changes.get("lengths", (4, 6)), seed)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    outputs = draw(st.sampled_from([1, 1, 2, 7, 25]))
    return case(
        observation_size=draw(st.integers(1, 9)),
        hidden=draw(st.lists(st.integers(1, 70), max_size=3)),
        num_actions=draw(st.integers(1, 5)),
        outputs=outputs,
        dueling=draw(st.booleans()),
        layer_norm=draw(st.booleans()),
        loss=draw(st.sampled_from(["huber", "mse", "quantile"])) if outputs == 1 else "quantile",
        double=draw(st.booleans()),
        learning_rate=draw(st.sampled_from([0.0, 1e-3, 1e-2])),
        # Where a gradient is nothing but rounding, Adam's step would be too with a small one.
        eps=1e-3,
        max_grad_norm=draw(st.sampled_from([None, 0.1, 10.0])),
        updates=draw(st.integers(0, 9)),
        target_update_every=draw(st.integers(1, 5)),
        tau=draw(st.sampled_from([1.0, 0.3])),
        average_updates=draw(st.sampled_from([None, 1, 20])),
        lengths=(draw(st.integers(1, 5)), draw(st.integers(1, 40))),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@settings(max_examples=60, deadline=None)
@given(cases())
def test_a_round_is_that_of_autograd_and_torchs_adam(case: Case) -> None:
    expected = reference_round(case)
    td_errors, stats = case.learn()
    assert td_errors.dtype == np.float32
    found = {**case.arrays, "td_errors": td_errors}
    for name, column in found.items():
        if column is not None:
            np.testing.assert_allclose(column, expected[name], rtol=1e-3, atol=1e-3, err_msg=name)
    assert set(stats) == {"loss", "q_mean", "q_max", "grad_norm"}


@settings(max_examples=25, deadline=None)
@given(cases())
def test_a_gradient_is_autograds(case: Case) -> None:
    case.columns = {name: column if column is None else column[:1].copy() for name, column in case.columns.items()}
    case.rule |= {"max_grad_norm": None, "beta1": 0.0, "eps": 1e-8}
    case.learn()
    expected = reference_round(case)["exp_avg"] / 0.1
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(case.arrays["exp_avg"] / scale, expected / scale, atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(cases())
def test_answers_and_greedy_actions_are_torchs(case: Case) -> None:
    obs = case.columns["obs"][0]
    with torch.no_grad():
        expected = case.online(torch.from_numpy(obs)).numpy()
    answers = case.network.forward(case.arrays["parameters"], obs)
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-4)
    actions = case.network.greedy_actions(case.arrays["parameters"], obs)
    assert actions.dtype == np.int64
    values = expected.mean(axis=2)
    assert (values[np.arange(len(obs)), actions] >= values.max(axis=1) - 1e-4).all()


@pytest.mark.parametrize("outputs", [1, 4])
def test_a_reward_that_is_not_a_number_spreads_as_in_torch(outputs: int) -> None:
    poisoned = case(outputs=outputs, loss="huber" if outputs == 1 else "quantile")
    poisoned.columns["rewards"][1, 2] = np.nan
    expected = reference_round(poisoned)
    td_errors, stats = poisoned.learn()
    assert np.isnan(td_errors).tolist() == np.isnan(expected["td_errors"]).tolist()
    assert np.isnan(poisoned.arrays["parameters"]).tolist() == np.isnan(expected["parameters"]).tolist()
    assert np.isnan(stats["loss"])


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("reward", [np.inf, -np.inf])
def test_an_infinite_reward_is_cut_by_the_loss_as_in_torch(outputs: int, reward: float) -> None:
    extreme = case(outputs=outputs, loss="huber" if outputs == 1 else "quantile")
    extreme.columns["rewards"][1, 2] = reward
    expected = reference_round(extreme)
    td_errors, _ = extreme.learn()
    np.testing.assert_allclose(td_errors, expected["td_errors"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(extreme.arrays["parameters"], expected["parameters"], rtol=1e-3, atol=1e-3)


def test_the_same_round_has_the_same_bits_in_a_network_that_was_used_before() -> None:
    first, second = case(seed=3), case(seed=3)
    case(seed=3).learn()
    second.network = case(seed=4).network
    second.network.learn(**{**case(seed=4).arrays, **case(seed=4).columns, "adam_steps": 7, **case(seed=4).rule})
    found, again = first.learn(), second.learn()
    assert found[1] == again[1]
    np.testing.assert_array_equal(found[0], again[0])
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name])


def test_a_round_works_in_the_memory_of_torch_tensors() -> None:
    tensors = case()
    parameters = torch.from_numpy(tensors.arrays["parameters"])
    before = parameters.clone()
    tensors.learn(parameters=parameters.numpy())
    assert not torch.equal(parameters, before)


def test_a_round_of_no_minibatches_changes_nothing() -> None:
    empty = case(lengths=(0, 6))
    before = copy.deepcopy(empty.arrays)
    td_errors, stats = empty.learn()
    assert td_errors.shape == (0, 6)
    assert stats == {"loss": 0.0, "q_mean": 0.0, "q_max": 0.0, "grad_norm": 0.0}
    for name, array in before.items():
        np.testing.assert_array_equal(empty.arrays[name], array)


def test_observations_of_more_axes_are_flattened() -> None:
    flattened, whole = case(observation_size=6), case(observation_size=6)
    columns = {name: whole.columns[name].reshape(4, 6, 2, 3) for name in ("obs", "next_obs")}
    np.testing.assert_array_equal(flattened.learn()[0], whole.learn(**columns)[0])


def test_rounds_of_one_network_in_two_threads_do_not_disturb_each_other() -> None:
    alone, together = [case(seed=seed) for seed in (1, 2)], [case(seed=seed) for seed in (1, 2)]
    together[1].network = together[0].network

    def learn_long(case: Case) -> None:
        for _ in range(50):
            case.learn()

    for each in alone:
        learn_long(each)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(learn_long, together))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.arrays["parameters"], other.arrays["parameters"])


def floats(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def read_only(*shape: int) -> np.ndarray:
    array = floats(*shape)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"obs": floats(4, 6, 4)}, ValueError, "obs must have shape (4, 6, 3), got (4, 6, 4)"),
        ({"rewards": floats(4, 5)}, ValueError, "rewards must have shape (4, 6), got (4, 5)"),
        ({"weights": floats(24)}, ValueError, "weights must have shape (4, 6), got (24,)"),
        ({"actions": np.zeros(6, np.int64)}, ValueError, "actions must have shape (M, B), got (6,)"),
        ({"target": floats(3)}, ValueError, "target must have shape (89,), got (3,)"),
        (
            {"rewards": np.zeros((4, 6))},
            TypeError,
            "rewards must be an array of float32, got float64; convert it first",
        ),
        (
            {"actions": np.zeros((4, 6), np.int32)},
            TypeError,
            "actions must be an array of int64, got int32; convert it first",
        ),
        ({"obs": [1.0]}, TypeError, "obs must be an array of float32, got list; convert it first"),
        (
            {"rewards": floats(6, 4).T},
            ValueError,
            "rewards must be in C order, got a strided view; copy it first",
        ),
        (
            {"parameters": read_only(89)},
            ValueError,
            "parameters must be writeable, got a read-only array; copy it first",
        ),
        ({"actions": np.full((4, 6), 2)}, ValueError, "actions must be from 0 to 1, got 2 at position 0"),
        ({"loss": "hubert"}, ValueError, 'loss must be huber, mse or quantile, got "hubert"'),
        ({"tau": 1.5}, ValueError, "tau must be above 0 and at most 1, got 1.5"),
        ({"updates": -1}, ValueError, "updates must be at least 0, got -1"),
        ({"target_update_every": 0}, ValueError, "target_update_every must be at least 1, got 0"),
        (
            {"average": None},
            ValueError,
            "average and average_updates must be given together; give both or None for both",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_and_changes_nothing(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    refused = case()
    before = copy.deepcopy(refused.arrays)
    with pytest.raises(error) as caught:
        refused.learn(**changes)
    assert str(caught.value) == message
    for name, array in before.items():
        np.testing.assert_array_equal(refused.arrays[name], array)


def test_arrays_that_share_memory_are_an_error() -> None:
    refused = case()
    both = floats(100)
    # As tensors are: NumPy does not know that their memory is the same.
    parameters, target = (torch.from_numpy(both)[start : start + 89].numpy() for start in (0, 10))
    with pytest.raises(ValueError, match=r"^parameters and target must not share memory; copy one of them$"):
        refused.learn(parameters=parameters, target=target)
    with pytest.raises(ValueError, match="must not share memory with another array"):
        refused.learn(parameters=both[:89], target=both[10:99])


def test_sizes_that_cannot_be_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"^hidden\[1\] must be at least 1, got 0$"):
        Network(3, [4, 0], 2)
    with pytest.raises(ValueError, match=r"^outputs must be at least 1, got -1$"):
        Network(3, [4], 2, outputs=-1)
    with pytest.raises(ValueError, match=r"^outputs must be 1 under the Huber and the squared loss, got 4"):
        case(outputs=4).learn()


def test_parameters_of_another_network_are_an_error() -> None:
    network = Network(3, [4], 2)
    with pytest.raises(ValueError, match=r"^parameters must have shape \(26,\), got \(25,\)$"):
        network.greedy_actions(floats(25), floats(8, 3))
    with pytest.raises(ValueError, match=r"^obs must have shape \(8, 3\), got \(8, 4\)$"):
        network.forward(floats(26), floats(8, 4))
