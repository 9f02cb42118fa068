from __future__ import annotations

from acro.cluster.trials import grid_of, group_name


def test_grid_is_every_combination_the_last_changing_fastest() -> None:
    assert grid_of({"a": ["1", "2"], "b": ["x", "y"]}) == [
        {"a": "1", "b": "x"},
        {"a": "1", "b": "y"},
        {"a": "2", "b": "x"},
        {"a": "2", "b": "y"},
    ]


def test_without_a_grid_there_is_one_configuration() -> None:
    assert grid_of({}) == [{}]
    assert group_name({}, "acrobot") == "acrobot"


def test_group_is_named_by_what_it_sets() -> None:
    assert group_name({"data.n_step": "3", "model.hidden": "[64,64]"}, "acrobot") == "n_step=3,hidden=(64,64)"


def test_settings_of_one_last_name_keep_their_whole_names() -> None:
    assert group_name({"data.seed": "1", "model.seed": "2"}, "x") == "data.seed=1,model.seed=2"


def test_names_that_a_folder_cannot_have_stay_different() -> None:
    names = [group_name({"a": value}, "x") for value in ("a/b", "a:b", "[1]", "(1)", "y" * 300, "y" * 301)]

    assert len(set(names)) == len(names)
    assert all(len(name) < 140 and "/" not in name for name in names)
