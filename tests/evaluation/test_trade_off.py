"""The front has what nothing is better than, and the cheapest point is one that surely keeps the targets."""

from itertools import product
from typing import Any

import pytest

from asim_lightning.evaluation.results import PointResult
from asim_lightning.evaluation.targets import Decision, Verdict
from asim_lightning.evaluation.trade_off import SearchPoint, SearchResult, is_design, pareto_front


def point(accuracy: float, energy: float, verdict: Verdict = "kept", **more: float) -> SearchPoint:
    result = PointResult({}, "simulated", 1, 100, accuracy, accuracy, accuracy, 1.0, "exact")
    axes: dict[str, Any] = {"adc_bits": energy}
    return SearchPoint(axes, result, {"accuracy": accuracy, "energy": energy, **more}, (Decision(verdict),))


def test_the_front_is_that_of_all_pairs() -> None:
    points = [point(accuracy / 5, energy) for accuracy, energy in product(range(5), range(1, 4)) if accuracy <= energy]
    front = pareto_front(points, ["accuracy", "energy"])
    assert [(p.figures["accuracy"], p.figures["energy"]) for p in front] == [(0.6, 3), (0.4, 2), (0.2, 1)]
    assert pareto_front(points, ["accuracy"]) == (point(0.6, 3),)
    twice = [point(0.5, 1), point(0.5, 1), point(0.5, 2)]
    assert len(pareto_front(twice, ["accuracy", "energy"])) == 2  # neither is better


def test_the_cheapest_keeps_the_targets() -> None:
    points = (point(0.9, 3), point(0.89, 2), point(0.88, 1, "undecided"), point(0.5, 0.5, "missed"), point(0.85, 2))
    found = SearchResult(points, (), ("accuracy", "energy"), ("accuracy 80 %",))
    assert found.cheapest == (points[1],)  # of the same energy the more accurate
    assert SearchResult(points, (), ("accuracy", "energy")).cheapest == (None,)
    assert SearchResult(points[2:4], (), ("accuracy", "energy"), ("x",)).cheapest == (None,)


def test_cheaper_points_that_are_undecided_and_the_recipes_own() -> None:
    points = [point(0.9, 3), point(0.89, 2, "undecided"), point(0.88, 1, "undecided"), point(0.95, 4, "undecided")]
    found = SearchResult(tuple(points), (), ("accuracy", "energy"), ("accuracy 80 %",))
    assert found.cheaper(points, points[0]) == [points[2], points[1]]
    assert is_design({"rows": 64, "random_noise": 0.1, "static.offset": 1}, {"rows": 64.0, "random_noise": 0.2})
    assert not is_design({"rows": 64}, {"rows": 65})
    assert not is_design({"technology.supply": 1.0}, {"rows": 64})


def test_verdict_of_several_targets() -> None:
    assert point(0.9, 1).verdict == "kept"
    several = SearchPoint({}, point(0.9, 1).result, {}, (Decision("kept"), Decision("undecided"), Decision("missed")))
    assert several.verdict == "missed"
    assert SearchPoint({}, point(0.9, 1).result, {}).verdict == "kept"


@pytest.mark.parametrize(
    ("axis", "is_given"),
    [
        ("rules.layer1.*.random_noise", True), ("static.offset", True), ("rules.fc.static.gain", True),
        ("static", True), ("random_noise", True), ("chip", True), ("column", True), ("adc_bits", False),
        ("rows", False), ("technology.supply", False), ("checkpoint", False),
        ("static.columns_per_adc", False), ("static.trim", False), ("rules.fc.adc_bits", False),
    ],
)  # fmt: skip
def test_spreads_are_given_and_what_is_built_is_chosen(axis: str, is_given: bool) -> None:
    points = tuple(SearchPoint({axis: value}, point(0.9, 1).result, {"accuracy": 0.9, "energy": 1}) for value in (1, 2))
    found = SearchResult(points, (), ("accuracy", "energy"))
    assert len(found.groups) == (2 if is_given else 1)


def test_noise_is_given_and_not_chosen() -> None:
    points = tuple(
        SearchPoint({"adc_bits": energy, "random_noise": noise}, each.result, each.figures, each.decisions)
        for noise, energy, each in (
            (0, 1, point(0.9, 1)), (0, 2, point(0.9, 2)), (0.1, 1, point(0.5, 1, "missed")), (0.1, 2, point(0.8, 2)),
            (0.2, 1, point(0.3, 1, "missed")),
        )
    )  # fmt: skip
    found = SearchResult(points, (), ("accuracy", "energy"), ("accuracy 80 %",))
    assert [given for given, _ in found.groups] == [{"random_noise": noise} for noise in (0, 0.1, 0.2)]
    assert found.front == (points[0], points[3], points[2], points[4])
    assert found.cheapest == (points[0], points[3], None)
