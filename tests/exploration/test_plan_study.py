"""The cheapest likely plan is found with few questions, and plans are proved until enough are kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asim_lightning.evaluation.results import Decision, Result
from asim_lightning.exploration.methods import Point
from asim_lightning.exploration.plan_study import Candidate, Family, proving, screening
from tests.exploration.conftest import driven, made_up

Strength = tuple[float, ...]


def family(name: str, plans: Sequence[tuple[float, Strength]], group: str = "one") -> Family:
    """A family of plans, each an energy and a strength; the point of each names its family and its place."""
    candidates = [Candidate({"family": name, "place": n}, *plan) for n, plan in enumerate(sorted(plans))]
    return Family(name, group, candidates)


def chain(length: int, name: str = "a", energy: Callable[[int], float] = lambda n: n + 1.0) -> Family:
    """A family of stronger and stronger plans."""
    return family(name, [(energy(n), (float(n),)) for n in range(length)])


def tried(plans: Family, margins: Mapping[int, float]) -> Family:
    """The family after some of its plans were tried."""
    return replace(plans, tried=[(plans.candidates[place], margin) for place, margin in margins.items()])


def names(points: Sequence[Point]) -> list[tuple[Any, Any]]:
    """Family and place of each plan; None twice for the macro as it is."""
    return [(point.get("family"), point.get("place")) for point in points]


def screened(families: Sequence[Family], keeps: Callable[[Strength], bool]) -> tuple[list[Any], list[Family]]:
    """Screen families of which the strong enough plans pass: the plans that are asked for, and tried families."""
    by_name = {each.name: each for each in families}

    def answer(point: Point) -> Result:
        each = by_name[str(point["family"])].candidates[int(point["place"])]  # type: ignore[arg-type]
        return made_up(point, 0.9 if keeps(each.strength) else 0.1)

    points, found = driven(screening(families, lambda each: each.accuracy - 0.9), answer)
    return names(points), found


PLACES = st.integers(0, 5).map(float)
STRENGTHS = st.tuples(PLACES, PLACES)


@given(
    st.lists(st.sets(STRENGTHS, min_size=1, max_size=16), min_size=1, max_size=3),
    st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)),
    st.sets(STRENGTHS, max_size=3),
    st.booleans(),
)
def test_screening_finds_the_cheapest_that_passes(
    sets: list[set[Strength]], prices: Strength, enough: set[Strength], is_one_group: bool
) -> None:
    def keeps(strength: Strength) -> bool:
        return any(strength[0] >= one[0] and strength[1] >= one[1] for one in enough)

    def energy(strength: Strength) -> float:
        return prices[0] * strength[0] + prices[1] * strength[1]

    families = [
        family(str(n), [(energy(each), each) for each in plans], "one" if is_one_group else str(n))
        for n, plans in enumerate(sets)
    ]
    points, found = screened(families, keeps)
    assert len(set(points)) == len(points)
    for each in found:
        assert each.cheapest == next((plan for plan in each.candidates if keeps(plan.strength)), None)


@pytest.mark.parametrize("first", [0, 1, 40, 99, 100])
def test_a_long_chain_is_halved(first: int) -> None:
    points, (plans,) = screened([chain(100)], lambda strength: strength[0] >= first)
    assert len(points) <= 7
    assert plans.cheapest == (plans.candidates[first] if first < 100 else None)


@pytest.mark.parametrize(("group", "others"), [("one", []), ("two", [("b", 0)])])
def test_failures_are_shared_in_a_group(group: str, others: list[tuple[str, int]]) -> None:
    strong, weak = family("a", [(5.0, (2.0, 2.0))]), family("b", [(1.0, (1.0, 2.0))], group)
    assert screened([strong, weak], lambda strength: False)[0] == [("a", 0), *others]
    other = family("b", [(1.0, (0.0, 3.0))])
    assert screened([strong, other], lambda strength: False)[0] == [("a", 0), ("b", 0)]


def proved(families: Sequence[Family], most: int, kept: Sequence[tuple[str, int]] = ()) -> list[tuple[str, int]]:
    """Prove families of which some plans are kept; see `names`."""

    def answer(point: Point) -> Result:
        is_kept = (point.get("family"), point.get("place")) in kept
        return made_up(point, decision=Decision("kept" if is_kept else "undecided"))

    points, found = driven(proving(families, most), answer)
    assert [name or None for name, _, _ in found] == [name for name, _ in names(points)]
    assert [each.axes for _, _, each in found] == points
    assert points[0] == {}
    return names(points[1:])


def test_proving_goes_to_dearer_plans_until_one_is_kept() -> None:
    plans = tried(chain(100, energy=lambda n: 1.01**n), {10: 0.0})
    points = proved([plans], 1)
    energies = [plans.candidates[place].price for _, place in points]
    assert points[0] == ("a", 10)
    assert len(points) == 4
    for attempt, (one, other) in enumerate(pairwise(energies)):
        assert 1.03 ** (2**attempt) <= other / one < 1.03 ** (2**attempt) * 1.0101
    for count in range(1, 5):
        assert proved([plans], 1, kept=[points[count - 1]]) == points[:count]


def test_proving_leaves_out_what_failed_and_ends_with_the_dearest() -> None:
    plans = tried(chain(4, energy=lambda n: 2.0**n), {1: -0.1, 0: 0.1})
    assert proved([plans], 1) == [("a", 0), ("a", 2), ("a", 3)]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_proving_stops_at_enough_kept_plans_the_cheapest_first(most: int) -> None:
    bases = {"a": 3.0, "b": 1.0, "c": 2.0}
    families = [tried(chain(3, name, lambda n, base=base: base + n), {0: 0.0}) for name, base in bases.items()]
    assert proved(families, most, [("a", 0), ("b", 0), ("c", 0)]) == [("b", 0), ("c", 0), ("a", 0)][:most]


def test_without_a_likely_plan_the_nearest_is_tried() -> None:
    one, other = tried(chain(4, "a"), {0: -0.4, 2: -0.1, 3: -0.2}), tried(chain(4, "b"), {3: -0.3, 1: -0.3})
    assert proved([one, other, chain(4, "c")], 3) == [("a", 2), ("b", 1)]


def test_the_nearest_of_others_is_tried_only_if_none_is_kept() -> None:
    likely, other = tried(chain(1, "a"), {0: 0.0}), tried(chain(2, "b"), {0: -0.2, 1: -0.1})
    assert proved([likely, other], 3, [("a", 0)]) == [("a", 0)]
    assert proved([likely, other], 3) == [("a", 0), ("b", 1)]
