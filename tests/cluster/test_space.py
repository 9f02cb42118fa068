from __future__ import annotations

import pytest

from acro.cluster.space import Dimension, split


def test_commas_within_brackets_and_quotes_do_not_part() -> None:
    assert split("[64,64],[128,128]") == ["[64,64]", "[128,128]"]
    assert split("1, 'a,b' ,{c: 1, d: 2}") == ["1", "'a,b'", "{c: 1, d: 2}"]


def test_bounds_of_integers_are_tunes() -> None:
    dimension = Dimension.parse("data.n_step", "randint(1,6)")

    assert dimension.examples() == ["1", "5"]
    assert (dimension.typed(3), dimension.value("3")) == ("3", 3)


def test_examples_of_a_number_have_a_fraction() -> None:
    low, high, between = Dimension.parse("data.n_step", "uniform(1,3)").examples()

    assert (low, high) == ("1", "3")
    assert 1 < float(between) < 3
    assert not float(between).is_integer()


def test_drawn_number_is_what_its_text_says() -> None:
    dimension = Dimension.parse("model.learning_rate", "loguniform(1e-4,1e-2)")

    assert dimension.typed(0.00123456789) == "0.00123457"
    assert dimension.value("0.00123457") == 0.00123457


def test_number_that_was_rounded_out_of_its_bounds_is_brought_back() -> None:
    dimension = Dimension.parse("x", "uniform(0.1234564,1)")

    assert dimension.value(dimension.typed(0.1234564)) == 0.1234564


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1e-4,1e-2", r"--search x=1e-4,1e-2: expected one of uniform\(LOW,HIGH\); loguniform"),
        ("normal(0,1)", "expected one of"),
        ("uniform(1)", r"expected numbers, uniform\(LOW,HIGH\)"),
        ("uniform(a,b)", "expected numbers"),
        ("uniform(2,1)", "LOW must be below HIGH"),
        ("randint(1,1)", "LOW must be below HIGH"),
        ("loguniform(0,1)", "LOW above 0"),
        ("choice()", "choice needs values that differ"),
        ("choice(1,1)", "choice needs values that differ"),
    ],
)
def test_what_is_no_distribution_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dimension.parse("x", text)


@pytest.mark.parametrize("text", ["randint(1,2)", "lograndint(1,9)", "uniform(0,1)", "choice([8],[8,8])"])
def test_every_distribution_is_one_of_optunas(text: str) -> None:
    pytest.importorskip("optuna")
    dimension = Dimension.parse("x", text)
    distribution = dimension.distribution()

    for example in dimension.examples():
        assert distribution._contains(distribution.to_internal_repr(dimension.value(example)))
