"""Spaces of a search have the points that they say, and methods propose each once, the same each time."""

import importlib.util
from typing import Any

import numpy as np
import pytest

from asim_lightning.evaluation.results import Result
from asim_lightning.exploration.axes import patterns_of
from asim_lightning.exploration.methods import optuna_points, random_points
from asim_lightning.exploration.search import SearchSettings
from asim_lightning.exploration.search_space import SearchSpace, of_network, of_technology
from tests.exploration.conftest import driven, made_up

SPACE = {
    "adc_bits": [6, 7, 8],
    "rows": {"low": 64, "high": 256, "step": 64},
    "random_noise": {"low": 0.01, "high": 1.0, "log": True},
    "column": ["charge", "current"],
    "static": {"offset": ["0.1 lsb", "0.3 lsb"]},
    "rules": {"layer1.*": {"adc_bits": [7, 8]}},
    "technology": {"supply": [0.8, 0.9]},
}


def test_names_and_values() -> None:
    space = SearchSpace.read(SPACE)
    assert list(space.axes) == [
        "adc_bits", "rows", "random_noise", "column", "static.offset", "rules.layer1.*.adc_bits", "technology.supply",
    ]  # fmt: skip
    assert patterns_of([*space.axes, "rules.fc.static.offset", "rules.layer1.*.rows"]) == ["layer1.*", "fc"]
    assert space.count() is None
    assert list(space.values_of("rows")) == [64, 128, 192, 256]
    noises = SearchSpace.read({"random_noise": {"low": 0.0, "high": 0.2, "step": 0.05}}).values_of("random_noise")
    assert list(noises) == [0, 0.05, 0.1, 0.15, 0.2]
    assert list(SearchSpace.read({"rows": {"low": 1, "high": 4}}).values_of("rows")) == [1, 2, 3, 4]
    point = {"adc_bits": 6, "checkpoint": "a", "technology.supply": 0.8}
    assert of_network(point) == {"adc_bits": 6}
    assert of_technology(point) == {"supply": 0.8}


def test_a_grid_has_every_combination() -> None:
    space = SearchSpace.read({"adc_bits": [6, 7, 7], "rows": [64, 128]})
    assert list(space.grid()) == [{"adc_bits": a, "rows": r} for a in (6, 7) for r in (64, 128)]
    assert space.count() == 4
    with pytest.raises(ValueError, match=r"needs a list, or a range with a step, for `search.space.random_noise`"):
        list(SearchSpace.read(SPACE).grid())


def test_a_grid_is_counted_before_it_is_built() -> None:
    large = SearchSpace.read({"random_noise": {"low": 0, "high": 1, "step": 1e-5}, "rows": {"low": 1, "high": 256}})
    assert large.count() == 100_001 * 256
    with pytest.raises(ValueError, match=r"must have at most 1,000,000 points in a grid, got 25,600,256"):
        next(large.grid())
    assert SearchSettings(method="grid").most == 1_000_000  # all of the largest grid


def test_one_quantity_in_several_ways_of_writing_is_one_value() -> None:
    space = SearchSpace.read(
        {"random_noise": ["0.1 lsb", "0.1LSB", "0.2 %", 0.2], "static": {"offset": ["3 mV", "3mV"]}}
    )
    assert space.axes == {"random_noise": ["0.1 lsb", 0.2], "static.offset": ["3 mV"]}
    technology = {"supply": [0.8, "800 mV", "0.9"], "node": ["28nm", 28, "big"], "preset": ["28nm"]}
    assert SearchSpace.read({"technology": technology}).axes == {
        "technology.supply": [0.8, "0.9"],
        "technology.node": [28, "big"],
        "technology.preset": ["28nm"],
    }


def test_random_points_are_within_and_begin_alike() -> None:
    space = SearchSpace.read(SPACE)
    few, many = random_points(space, 5, 3), random_points(space, 40, 3)
    assert many[:5] == few
    assert random_points(space, 5, 4) != few
    noises: list[Any] = [point["random_noise"] for point in many]
    assert all(0.01 <= noise <= 1 for noise in noises)
    assert 0.03 < np.median(noises) < 0.3  # of logarithms
    assert {point["rows"] for point in many} == {64, 128, 192, 256}
    small = SearchSpace.read({"adc_bits": [6, 7], "rows": [64, 128]})
    assert len(random_points(small, 100, 0)) == 4


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs optuna")
def test_optuna_proposes_each_point_once_and_the_same_again() -> None:
    def worth(result: Result) -> tuple[tuple[float, float], dict[str, float]]:
        rows, bits = float(result.axes["rows"]), float(result.axes["adc_bits"])  # type: ignore[arg-type]
        return (rows, bits), {"t": 7.0 - bits}

    def proposed(trials: int, seed: int) -> list[Any]:
        return driven(optuna_points(SearchSpace.read(SPACE), trials, seed, 2, worth), made_up)[0]

    first = proposed(25, 1)
    assert len({str(point) for point in first}) == len(first) == 25
    assert proposed(30, 1)[:25] == first
    assert proposed(25, 2) != first
    assert [type(point["rows"]) for point in first] == [int] * 25
    small = optuna_points(SearchSpace.read({"adc_bits": [6, 7]}), 60, 0, 1, lambda result: ((1.0,), {}))
    assert sorted(driven(small, made_up)[0], key=str) == [{"adc_bits": 6}, {"adc_bits": 7}]


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs optuna")
def test_optuna_learns_where_points_are_best_and_keep_a_target() -> None:
    def worth(result: Result) -> tuple[tuple[float], dict[str, float]]:
        rows = float(result.axes["rows"])  # type: ignore[arg-type]
        return (abs(rows - 700.0),), {"t": rows - 400.0}

    space = SearchSpace.read({"rows": {"low": 1, "high": 1000}})
    points = driven(optuna_points(space, 60, 0, 1, worth), made_up)[0]
    assert 300 < np.median([float(point["rows"]) for point in points[-20:]]) <= 400  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "space",
    [
        {"adc_bits": []}, {"adc_bits": 7}, {"column": "charge"}, {"rows": {"low": 3}},
        {"rows": {"low": 3, "high": 5, "stepp": 1}}, {"rows": {"low": 5, "high": 3}},
        {"random_noise": {"low": 0, "high": 1, "step": 1e-9}},
        {"random_noise": {"low": 0, "high": 1, "log": True}}, {"rows": {"low": 1, "high": 8, "step": 1, "log": True}},
        {"random_noise": {"low": "0.1 lsb", "high": "1 lsb"}},
        {"rules": {"fc": {"adc_bits": [7]}}, "rules.fc.adc_bits": [8]}, {"technology": {}},
        {"static": []}, {"static": {}}, {"static": 3}, {"static": "offset"}, {"static": [{}], "static.offset": [1]},
        {"rules": [3]}, {"rules": {"fc": [3]}}, {"rules": {"fc": {}}}, {"rules": {"fc": {"rows": 3}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_space_that_says_no_points_is_refused(space: Any) -> None:
    with pytest.raises(ValueError, match=r"`search\.space"):
        SearchSpace.read(space)


@pytest.mark.parametrize(
    ("setting", "others"),
    [
        ("method", {"method": "gird"}), ("objectives", {"objectives": ["enrgy"]}), ("objectives", {"objectives": []}),
        ("constraints", {"constraints": ["keep it good"]}), ("trials", {"trials": 0}), ("seed", {"seed": -1}),
        ("reads", {"reads": 0}), ("chips", {"chips": 1}), ("chips", {"constraints": ["yield 0.9 at 85 %"]}),
        ("objectives", {"objectives": ["yield"], "chips": 3}), ("constraints", {"constraints": ["yield 2 at 85 %"]}),
        ("until", {"until": "acc 88 %"}), ("until", {"until": "accuracy 88 %", "reads": 2}),
        ("until", {"until": "accuracy 88 %", "chips": 3}),
        ("until", {"until": "accuracy 88 %", "constraints": ["accuracy 99 % of float"]}),
        ("points", {"method": "list"}), ("points", {"method": "list", "points": [{"rows": 8}, {"adc_bits": 7}]}),
    ],
    ids=str,
)  # fmt: skip
def test_a_setting_that_is_not_allowed_is_named(setting: str, others: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^`search\.{setting}` "):
        SearchSettings(**others)
