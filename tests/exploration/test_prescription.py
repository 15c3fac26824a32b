"""The cheapest changes of layers are those of all combinations, and no combination is cheaper than the bound."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asim_lightning import MacroConfig, Plan, convert_
from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.cost import Technology
from asim_lightning.evaluation.loss_map import Change, LossMap
from asim_lightning.exploration.point_costs import CostFigures
from asim_lightning.exploration.prescription import _STEPS, Prices, _fronts, _least, prescriptions
from asim_lightning.surgery import macro_layers

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


@pytest.mark.parametrize("least", ["energy", "digital"])
def test_plans_of_kinds_change_all_layers_of_a_kind_alike_at_the_least_price(least: str) -> None:
    network = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.ReLU()) for _ in range(3)))
    network.append(torch.nn.Linear(6, 2))
    x = torch.rand(2, 6)
    convert_(network, Plan(MacroConfig(weight_bits=4, input_bits=4, random_noise="0.3 lsb")), x)
    layers = macro_layers(network)
    prices = Prices(CostFigures(GivenNetwork(network, example=x), Technology()), least)
    kind = ["0.0", "1.0", "2.0"]
    assert list(layers) == [*kind, "3"]
    rng = np.random.default_rng(0)
    options = [{"digital_levels": levels, "digital_adc": False} for levels in range(1, 4)]
    left = {name: np.sort(rng.random(4))[::-1] for name in layers}
    changes = [Change(name, fields, left[name][n]) for name in layers for n, fields in enumerate(options, 1)]
    changes.append(Change("0.0", {"adc_bits": 9}, 0.0))  # only of one layer, such as a range of its own
    if least == "digital":  # costs nothing then, and is no change of digital positions
        changes += [Change(name, {"votes": 3, "vote_levels": 2}, 0.0) for name in layers]
    found = LossMap({name: (shares[0],) for name, shares in left.items()}, 1.0, changes=tuple(changes))
    plans = prescriptions(layers, found, prices, by_kind=True)
    for plan in plans:
        levels = [plan.point.get(f"rules.{name}.digital_levels") for name in kind]
        assert len(set(levels)) == 1
        assert not any("adc_bits" in axis for axis in plan.point)
        assert prices.at(plan.point) == pytest.approx(plan.price)
    every = []
    for one, other in product(range(4), repeat=2):
        picks = {**dict.fromkeys(kind, one), "3": other}
        point = {f"rules.{n}.{f}": v for n, pick in picks.items() if pick for f, v in options[pick - 1].items()}
        share = sum(float(left[name][pick]) for name, pick in picks.items())
        every.append((prices.at(point), share))
    best = [(energy, share) for energy, share in every if not any(e < energy and s <= share for e, s in every)]
    assert sorted((plan.price, -plan.strength[0]) for plan in plans) == [pytest.approx(each) for each in sorted(best)]
