"""Limits are those of all points, wherever the search begins; early looks save work and add no wrong decision."""

from dataclasses import replace
from functools import partial
from math import ceil, log2

import numpy as np
import pytest
from hypothesis import given, strategies

from asim_lightning.evaluation.chip_yield import crossed_difference
from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.target import Limit, decide
from asim_lightning.exploration.limit_search import ALL, EARLY, Property, limit_of, moved
from asim_lightning.exploration.methods import Look
from tests.exploration.conftest import driven, made_up, surely

RUNGS = tuple(float(number) for number in range(40))
NOISE = Property("noise", "", RUNGS, lambda value: {"noise": value})
SOME = strategies.integers(0, 40)


def answer(look: Look, kept: float, missed: float) -> Result:
    """Below `kept` a point is kept, from `missed` on missed, between undecided."""
    (value,) = look.point.values()
    assert isinstance(value, float)
    return made_up(look.point, decision=surely(0.01 if kept <= value < missed else 1.0 if value < kept else -1.0))


def limit(kept: int, missed: int) -> Limit:
    """The limit of a property that is kept below one rung, and missed from another one on."""
    return Limit("noise", "", RUNGS, kept - 1.0 if kept else None, float(missed) if missed < 40 else None)


@given(SOME, SOME)
def test_the_limit_is_that_of_all_points(one: int, other: int) -> None:
    kept, missed = sorted((one, other))
    asked, found = driven(limit_of(NOISE, {}), partial(answer, kept=kept, missed=missed))
    assert (found.kept, found.missed) == (limit(kept, missed).kept, limit(kept, missed).missed)
    assert found.is_decided == (kept == missed)
    assert found.images == (900 if kept < missed else None)
    assert len(asked) <= 1 + 2 * ceil(log2(41))


@given(SOME, SOME, SOME, SOME)
def test_it_is_the_same_wherever_it_is_expected(one: int, other: int, low: int, high: int) -> None:
    (kept, missed), (low, high) = sorted((one, other)), sorted((low, high))
    asked, found = driven(limit_of(NOISE, {}, ALL, limit(low, high)), partial(answer, kept=kept, missed=missed))
    assert (found.kept, found.missed) == (limit(kept, missed).kept, limit(kept, missed).missed)
    off = max(abs(low - kept), abs(high - missed))
    assert len(asked) <= (5 if not off else 5 + 4 * ceil(log2(off + 1)))  # both sides of both ends, and 0
    assert moved(found, limit(low, high)) == max(0, kept - high) - max(0, low - missed)
    assert len(asked) == len({each.point["noise"] for each in asked})


def test_a_look_decides_or_the_next_one_is_taken() -> None:
    """Rungs up to 9 are kept and from 20 on missed; the nearer to these, the more chips decide."""

    def seen(look: Look) -> Result:
        (value,) = look.point.values()
        assert isinstance(value, float)
        margin = 9.5 - value if value < 14.5 else 19.5 - value
        if 9.5 < value < 19.5:
            return made_up(look.point, decision=surely(0.0))
        reach = 0.1 if look.images == 1 else 1.0 if look.chips is None else 2.0
        return made_up(look.point, decision=surely(margin, reach))

    asked, found = driven(limit_of(NOISE, {}, EARLY), seen)
    assert (found.kept, found.missed) == (9.0, 20.0)
    some, many, every = (3, 0.25), (None, 0.25), (None, 1.0)
    looks = dict[float, list[tuple[int | None, float]]]()
    for each in asked:
        looks.setdefault(float(str(each.point["noise"])), []).append((each.chips, each.images))
    assert {value: chips for value, chips in looks.items() if not 9.5 < value < 19.5} == {
        0.0: [some, many], 5.0: [some, many], 7.0: [some, many, every], 8.0: [some, many, every],
        9.0: [some, many, every], 20.0: [some, many, every],
    }  # fmt: skip


def test_an_undecided_rung_has_all_images_only_next_to_a_decided_one() -> None:
    """An early look at an undecided rung has its mean at the target."""
    asked, found = driven(limit_of(NOISE, {}, EARLY), partial(answer, kept=10, missed=30))
    assert (found.kept, found.missed, found.images) == (9.0, 30.0, 900)
    whole = {each.point["noise"] for each in asked if each.images == 1}
    assert whole == {10.0, 29.0}
    assert {each.point["noise"] for each in asked} > whole


@pytest.mark.parametrize(("chips", "bad"), [(1, 0.0), (10, 0.0), (10, 0.2)])
def test_early_looks_hardly_add_wrong_decisions(chips: int, bad: float) -> None:
    """Macros that lose exactly as much as the target allows; one that is decided early is decided wrongly. Chips differ
    a little, or a fifth of them, at least one, has all the loss."""
    rng, loss, wrong, runs = np.random.default_rng(0), 0.05, 0, 400
    for _ in range(runs):
        of_chips = np.exp(0.3 * rng.standard_normal(chips) - 0.045) if chips > 1 else np.ones(1)
        if bad:
            has_loss = rng.permutation(chips) < max(1, rng.binomial(chips, bad))
            of_chips = has_loss / bad
        lost = rng.beta(0.1, 0.1 * (1 - loss) / loss, 400)[:, None] * of_chips
        answers = rng.random(lost.shape) >= lost
        method = limit_of(replace(NOISE, rungs=(1.0,)), {}, EARLY)
        look = next(method)
        while look.images < 1:
            seen = [answers[: int(400 * look.images), [chip]] for chip in range(min(chips, look.chips or chips))]
            found = crossed_difference(seen, np.ones(len(seen[0]), dtype=bool), True)
            try:
                look = method.send(made_up(look.point, decision=decide(found, -loss, len(seen[0]))))
            except StopIteration:
                wrong += 1
                break
    assert wrong <= 0.005 * runs
