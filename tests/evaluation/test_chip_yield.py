"""Mean, spread and yield of chips whose truth is known."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from asim_lightning.evaluation.chip_yield import (
    ChipYield,
    crossed_difference,
    crossed_interval,
    default_thresholds,
    yield_curve,
)
from asim_lightning.evaluation.interval import Interval, mean_interval
from asim_lightning.evaluation.results import Outcomes, Result, stacked


def outcomes(correct: np.ndarray) -> Outcomes:
    return Outcomes(np.arange(len(correct)), correct.astype(np.float32), 1.0, "native")


def chips_of(rights: list[int], images: int = 100, stopped: bool = False) -> ChipYield:
    """Chips with so many right answers each."""
    return chip_yield({chip: [outcomes(np.arange(images) < right)] for chip, right in enumerate(rights)}, stopped)


def chip_yield(chips: Mapping[int, Sequence[Outcomes]], stopped: bool = False) -> ChipYield:
    """The yield of chips by number and read, from the result of their point."""
    results = tuple(Result.of({"chip": number}, "simulated", reads) for number, reads in chips.items())
    mean = crossed_interval(list(map(stacked, chips.values())), True)
    whole = Result.of({}, "simulated", [read for reads in chips.values() for read in reads])
    return ChipYield.of(replace(whole, low=mean.low, high=mean.high, chips=results, chips_ended=stopped))


def test_a_yield_counts_chips_that_are_at_least_so_accurate() -> None:
    found = chips_of([90] * 45 + [89] * 5)
    at = found.at(0.9)
    assert (at.good, at.total, at.share) == (45, 50, 0.9)
    assert (at.low, at.high) == pytest.approx((0.782, 0.967), abs=5e-4)
    assert found.at(0.89).good == 50
    assert found.at(0.900001).good == 0


def test_the_images_widen_a_yield_over_all_images_and_more_images_do_less() -> None:
    few, many = chips_of([92] * 45 + [80] * 5).at(0.9), chips_of([9200] * 45 + [8000] * 5, 10_000).at(0.9)
    assert (few.low, few.high) == (many.low, many.high)
    assert few.low_all == 0.0  # 92 of 100 are no sign of 90 % over all images
    assert few.high_all > few.high
    assert many.low_all < many.low < many.high < many.high_all
    assert many.low_all == pytest.approx(many.low, abs=0.02)


def test_chips_after_an_early_stop_have_the_bounds_of_the_sequence() -> None:
    fixed, stopped = chips_of([95] * 43).at(0.9), chips_of([95] * 43, stopped=True).at(0.9)
    assert (stopped.low, stopped.high) == (pytest.approx(0.9011, abs=1e-4), 1.0)
    assert fixed.low > stopped.low > stopped.low_all


@pytest.mark.parametrize(("reads", "common"), [(2, 0.0), (5, 0.0), (5, 0.05)])
def test_the_spread_of_chips_is_without_read_noise(reads: int, common: float) -> None:
    """Chips of sd 0.02 and read noise of sd 0.03; what a read does to all chips alike is no read noise of theirs."""
    rng, images, found, read = np.random.default_rng(0), 100_000, [], []
    for _ in range(40):
        share = 0.8 + 0.02 * rng.normal(size=(50, 1)) + 0.03 * rng.normal(size=(50, reads))
        share = share + common * rng.normal(size=(1, reads))
        each = ChipYield({}, tuple(range(50)), np.round(share * images).astype(int), images, _ANY)
        found.append(each.spread**2)
        assert each.read_spread is not None
        read.append(each.read_spread**2)
    assert np.sqrt(np.mean(found)) == pytest.approx(0.02, rel=0.08)
    assert np.sqrt(np.mean(read)) == pytest.approx(0.03, rel=0.05)


_ANY = Interval(0.9, 0.8, 0.95)


def test_a_share_of_answers_is_whole() -> None:
    found = ChipYield({}, (0, 1, 2), np.array([[360], [367], [359]]), 400, _ANY)
    assert (found.good(0.9), found.good(91.75 / 100)) == (2, 1)


def test_one_read_does_not_tell_its_noise() -> None:
    found = chips_of([90, 92, 94])
    assert found.read_spread is None
    assert found.spread == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("chips", "student", "spread"),
    [(2, 12.71, 0.3), (3, 4.30, 0.3), (5, 2.78, 0.1), (20, 2.09, 0.3)],
)
def test_intervals_of_few_chips_hold_the_truth(chips: int, student: float, spread: float) -> None:
    """An image's ease and a chip's share add, four times, in the logit of a right answer; 400 images, 93 % or more."""
    rng = np.random.default_rng(1)

    def right(logits: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-4 * logits))

    ease, share = 1.3 + 0.8 * rng.normal(size=10**6), spread * rng.normal(size=10**6)
    truth = float(right(ease + share).mean())
    difference = truth - float(right(ease).mean())
    held, intervals = np.zeros(2), []
    for _ in range(300):
        ease, share, luck = 1.3 + 0.8 * rng.normal(size=400), spread * rng.normal(size=(chips, 1)), rng.random(400)
        found = crossed_interval([each[:, None] for each in rng.random((chips, 400)) < right(ease + share)], True)
        less = crossed_difference([each[:, None] for each in luck < right(ease + share)], luck < right(ease), True)
        held += (found.low <= truth <= found.high, less.low <= difference <= less.high)
        intervals.append([(found.mean, less.mean), (found.low, less.low), (found.high, less.high)])
    assert (held / 300 >= 0.93).all()
    # nor are they much wider than those of a mean of so many chips with normal shares
    means, lows, highs = np.moveaxis(np.array(intervals), 1, 0)  # (300, 2) each
    assert ((highs - lows).mean(0) / 2 <= 1.4 * student * means.std(0)).all()


def test_equal_chips_are_as_one() -> None:
    rng = np.random.default_rng(0)
    chip, reference = rng.random((400, 1)) < 0.9, rng.random(400) < 0.92
    one, five = (crossed_difference([chip] * count, reference, True) for count in (1, 5))
    assert (five.mean, five.low, five.high) == pytest.approx((one.mean, one.low, one.high), abs=0.005)
    interval, pairs = crossed_interval([chip] * 5, True), mean_interval(chip, True)
    assert (interval.low, interval.high) == pytest.approx((pairs.low, pairs.high), abs=0.003)


@pytest.mark.parametrize("chips", [3, 60])
def test_chips_widen_the_interval_of_a_loss(chips: int) -> None:
    """A chip adds its own number to the loss of each of 100 samples; 93 % or more hold the truth."""
    rng, held = np.random.default_rng(2), np.zeros(2)
    for _ in range(200):
        before, own = rng.exponential(1, (100, 1)), rng.normal(0.2, 0.1, chips)
        after = [before + each for each in own]
        mean = crossed_interval(after, False)
        change = crossed_difference(after, before[:, 0], False)
        held += (mean.low <= 1.2 <= mean.high, change.low <= 0.2 <= change.high)
    assert (held / 200 >= 0.91).all()


def test_all_right_answers_still_have_an_interval() -> None:
    found = crossed_interval([np.ones((20, 1), dtype=bool)] * 50, True)
    assert (found.mean, found.high) == (1.0, 1.0)
    assert found.low < 0.85


def test_the_curve_falls_from_all_chips_to_few() -> None:
    curve = yield_curve(chips_of([90, 90, 95, 80]))
    assert [(round(100 * accuracy), share) for accuracy, share, *_ in curve] == [(80, 1.0), (90, 0.75), (95, 0.25)]
    assert all(low <= share <= high for _, share, low, high in curve)


def test_thresholds_are_below_the_quantised_network() -> None:
    assert default_thresholds(0.9175) == [0.86, 0.89, 0.9]
    assert default_thresholds(0.9) == [0.85, 0.88, 0.89]
    assert default_thresholds(0.02) == [0.01]


@pytest.mark.parametrize(("of_images", "of_both"), [(1.0, 0.1), (0.1, 1.0)])
def test_the_bounds_on_all_images_hold_and_those_on_these_do_not_stand_for_them(
    of_images: float, of_both: float
) -> None:
    """Right where a chip's, an image's and their own normal numbers are above a limit; chips are alike but for 0.1."""
    rng, normal, threshold = np.random.default_rng(5), NormalDist(), 0.89
    width = np.hypot(of_images, of_both)
    mean = normal.inv_cdf(0.9) * width
    truth = 1 - NormalDist(mean, 0.1).cdf(normal.inv_cdf(threshold) * width)
    wrong = []
    for _ in range(100):
        own = of_both * rng.normal(size=(50, 400))
        right = mean + 0.1 * rng.normal(size=(50, 1)) + of_images * rng.normal(size=(1, 400)) + own > 0
        found = ChipYield({}, tuple(range(50)), right.sum(1, keepdims=True), 400, Interval(0.9, 0.9, 0.9))
        at = found.at(threshold)
        wrong.append((not at.low_all <= truth <= at.high_all, not at.low <= truth <= at.high))
    of_all, of_these = np.mean(wrong, axis=0)
    assert of_all <= 0.05
    assert of_these >= (0.3 if of_images > of_both else 0.05)
