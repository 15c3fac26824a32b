"""Bisection finds the neighbours of a monotone response, in few points, whatever the images decide."""

from collections.abc import Sequence
from math import ceil, log2

import pytest
from hypothesis import given, strategies

from asim_lightning.circuit import MacroConfig, StaticEffects
from asim_lightning.evaluation.results import Decision, Result
from asim_lightning.evaluation.target import TOGETHER, Limit
from asim_lightning.exploration.limits import Property, bisection, properties_of, scaled, spreads_of
from asim_lightning.exploration.methods import Point
from tests.exploration.conftest import driven, made_up

RUNGS = tuple(float(number) for number in range(40))


NOISE = Property("noise", "", RUNGS, lambda value: {"noise": value})


def answer(point: Point, kept: float, missed: float) -> Result:
    """Below `kept` a point is kept, from `missed` on missed, between undecided."""
    (value,) = point.values()
    known = Decision("kept" if value < kept else "missed")
    return made_up(point, decision=Decision("undecided", 900) if kept <= value < missed else known)


@given(strategies.integers(0, 40), strategies.integers(0, 40))
def test_the_limit_is_that_of_all_points(one: int, other: int) -> None:
    kept, missed = sorted((one, other))
    asked, (found,) = driven(bisection([NOISE], {}, lambda limits: None), lambda point: answer(point, kept, missed))
    assert found.kept == (kept - 1 if kept else None)
    assert found.missed == (missed if missed < 40 else None)
    assert found.is_decided == (kept == missed)
    assert found.images == (900 if kept < missed else None)
    assert len(asked) <= 1 + 2 * ceil(log2(41))


def test_all_together_come_last_from_the_limits_of_each() -> None:
    limits = []

    def together(found: Sequence[Limit]) -> Property:
        limits.extend(found)
        return Property(TOGETHER, "times", RUNGS, lambda value: {"all": value})

    _, found = driven(bisection([NOISE], {}, together), lambda point: answer(point, 7, 7))
    assert [(each.name, each.kept, each.missed) for each in found] == [("noise", 6, 7), (TOGETHER, 6, 7)]
    assert limits == found[:1]


def test_a_macro_offers_the_values_that_it_takes() -> None:
    found = {each.name: each for each in properties_of(MacroConfig(rows=256, adc_bits=7, input_bits=4))}
    assert found["random_noise"].unit == found["offset"].unit == "lsb"
    assert found["random_noise"].axes(0.5) == {"random_noise": "0.5 lsb"}
    assert found["stuck_cells"].axes(2.0) == {"static.stuck_at_0": 0.01, "static.stuck_at_1": 0.01}
    assert found["rows"].rungs == (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
    assert found["encoding_bits"].rungs == (1, 2, 3, 4)
    assert found["adc_bits"].rungs == tuple(range(16, 0, -1))
    assert found["inl"].rungs[-1] == 3.98  # 7 bits: 50 % / 2^3.5 is 4.42 %
    growing = scaled({"static.inl": 2.0, "static.gain": 2.0}, MacroConfig(adc_bits=7))
    assert growing.axes(1.5) == {"static.inl": 3.0, "static.gain": 3.0}
    assert growing.axes(4.0) == {"static.inl": 4.419, "static.gain": 8.0}  # thresholds stay in order
    steps = [after / before for before, after in zip(found["gain"].rungs[1:], found["gain"].rungs[2:], strict=False)]
    assert found["gain"].rungs[0] == 0
    assert all(1.11 < step < 1.14 for step in steps)
    ideal = {each.name: each for each in properties_of(MacroConfig(adc_bits=None))}
    assert ideal["random_noise"].unit == "%"
    assert "adc_bits" in ideal
    assert "offset" not in ideal


def test_wrong_names() -> None:
    with pytest.raises(ValueError, match="did you mean offset"):
        properties_of(MacroConfig(), ["ofset"])
    with pytest.raises(ValueError, match="takes no other value of it"):
        properties_of(MacroConfig(adc_bits=None), ["inl"])


def test_noise_and_spreads_are_scaled_together() -> None:
    static = StaticEffects(offset="0.3 lsb", gain=1.0, stuck_at_1=1e-4)
    own = spreads_of(MacroConfig(random_noise="0.2 %", static=static))
    assert own == {
        "random_noise": "0.2 %", "static.offset": "0.3 lsb", "static.gain": 1.0, "static.stuck_at_1": 1e-4
    }  # fmt: skip
    assert scaled(own, MacroConfig()).axes(0.5) == {
        "random_noise": 0.1, "static.offset": "0.15 lsb", "static.gain": 0.5, "static.stuck_at_1": 5e-5
    }  # fmt: skip
