"""The cheapest changes of layers are those of all combinations, and no combination is cheaper than the bound."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asim_lightning.exploration.prescription import _STEPS, _fronts, _least

Arrays = Sequence[NDArray[Any]]
_CLOSE = 1e-9


def numbers(most: float) -> st.SearchStrategy[float]:
    """Numbers of which some are equal, as those of layers of one shape are."""
    return (st.integers(0, 8).map(lambda n: 1000 * n) | st.integers(0, 8000)).map(lambda n: most * n / 8000)


@st.composite
def instances(draw: st.DrawFn) -> tuple[Arrays, Arrays]:
    """Energies and losses of 3 or 4 choices of each of 3 layers."""
    counts = draw(st.lists(st.integers(3, 4), min_size=3, max_size=3))
    costs, losses = (
        [np.array(draw(st.lists(numbers(most), min_size=n, max_size=n))) for n in counts] for most in (10.0, 2.0)
    )
    return costs, losses


def total(values: Arrays, picks: Sequence[int]) -> float:
    """The sum of what is picked."""
    return sum(float(each[pick]) for each, pick in zip(values, picks, strict=True))


def combinations(costs: Arrays, losses: Arrays) -> Iterator[tuple[float, float]]:
    """Energy and loss of each combination."""
    for picks in product(*(range(len(each)) for each in costs)):
        yield total(costs, picks), total(losses, picks)


def step_of(costs: Arrays) -> float:
    """The step to which energies are rounded."""
    return sum(float(each.max() - each.min()) for each in costs) / _STEPS


@settings(max_examples=40)
@given(instances())
def test_no_combination_that_costs_less_leaves_less(instance: tuple[Arrays, Arrays]) -> None:
    costs, losses = instance
    found = [(total(costs, picks), total(losses, picks)) for picks in _fronts(costs, losses)]
    slack = len(costs) * step_of(costs)  # each layer is rounded up
    for energy, loss in combinations(costs, losses):
        assert all(left <= loss + _CLOSE for mine, left in found if energy + slack <= mine)
        assert any(mine <= energy + slack + _CLOSE and left <= loss + _CLOSE for mine, left in found)


@settings(max_examples=40)
@given(instances(), st.floats(0, 6))
def test_no_combination_costs_less_than_the_bound(instance: tuple[Arrays, Arrays], share: float) -> None:
    costs, losses = instance
    least = _least(costs, losses, share)
    assert all(least <= energy + _CLOSE for energy, loss in combinations(costs, losses) if loss <= share)


def test_the_bound_is_that_of_a_mixture() -> None:
    costs, losses = [np.array([1.0, 3.0])], [np.array([1.0, 0.0])]
    assert [_least(costs, losses, share) for share in (2.0, 1.0, 0.5, 0.0)] == [1.0, 1.0, 2.0, 3.0]
