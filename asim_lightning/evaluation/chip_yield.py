"""Yields: how many chips are good enough, from chips that all saw the same images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, floor, hypot, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_lightning.evaluation.binomial import clopper_pearson, sequence_interval
from asim_lightning.evaluation.interval import (
    AT_ONCE,
    RESAMPLES,
    Interval,
    are_answers,
    difference_interval,
    mean_interval,
    student,
    wilson,
)
from asim_lightning.evaluation.results import AxisValue, Outcomes, Result, sums_of
from asim_lightning.evaluation.target import CLOSE

_MANY_CHIPS = 50
"""From this number on, resampled chips spread like chips."""


@dataclass(frozen=True)
class YieldPoint:
    """Good chips among the simulated ones: chips with at least an accuracy on these images.

    The first two bounds are for the share of all chips that are good on these images. The other two are for the share
    of all chips that have this accuracy over all images of this kind.
    """

    accuracy: float
    good: int
    total: int
    low: float
    high: float
    low_all: float
    high_all: float

    @property
    def share(self) -> float:
        """Good chips as a share of the simulated chips."""
        return self.good / self.total


@dataclass(frozen=True)
class ChipYield:
    """Accuracies of chips under the same settings, on the same images and reads.

    The bounds of a share are Clopper and Pearson's, or sequential if outcomes decided the number of chips.
    """

    axes: Mapping[str, AxisValue]
    """Values of the other axes of the sweep."""
    chips: tuple[int, ...]
    right: NDArray[Any]
    """Right answers, or the sum of outcomes. # (chips, reads)"""
    images: int
    mean: Interval
    """Mean accuracy of all chips over all images."""
    stopped_by_outcomes: bool = False

    @classmethod
    def of(cls, result: Result) -> "ChipYield":
        """The chips of a point."""
        right = np.array([each.right or each.sums for each in result.chips])
        mean = Interval(result.accuracy, result.low, result.high, result.differing)
        numbers = tuple(each.chip or 0 for each in result.chips)
        return cls(result.axes, numbers, right, result.images, mean, result.chips_ended)

    @property
    def reads(self) -> int:
        """Reads of each chip."""
        return int(self.right.shape[1])

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """Accuracy of each chip over its reads: 0..1. # (chips,)"""
        return self.right.mean(axis=1) / self.images

    @property
    def read_spread(self) -> float | None:
        """Standard deviation from read to read of one chip; None if there is one read.

        It leaves out the effect of a read on all chips alike, because they share random numbers. Its square is the mean
        square of ``a_ct - a_c - a_t + a`` (accuracy of chip c in read t, its means over reads and chips) with (chips -
        1)(reads - 1) degrees of freedom.
        """
        if self.reads < 2:
            return None
        share = self.right / self.images
        rest = share - share.mean(axis=1, keepdims=True) - share.mean(axis=0, keepdims=True) + share.mean()
        return sqrt(float((rest**2).sum()) / ((self.reads - 1) * (len(self.chips) - 1)))

    @property
    def spread(self) -> float:
        """Standard deviation from chip to chip, ``sqrt(s_b^2 - s_read^2 / reads)``, on these images.

        s_b is the standard deviation of the chips' mean accuracies, and s_read the read noise, which stays in if there
        is only one read.
        """
        between = float(self.accuracies.var(ddof=1))
        return sqrt(max(between - (self.read_spread or 0.0) ** 2 / self.reads, 0.0))

    def good(self, accuracy: float) -> int:
        """How many chips have at least an accuracy, 0..1, on these images."""
        return _good(self.right, self.images, accuracy)

    def at(self, accuracy: float) -> YieldPoint:
        """The yield at an accuracy, 0..1.

        Over all images, the lower bound counts a chip if Wilson's interval of its accuracy lies above, and the upper
        bound if the interval reaches it. Each takes half of the error probability of an end, and the chips take the
        rest. The bounds are wider than needed, because it is not known whether chips share the luck of their images.
        """
        good = self.good(accuracy)
        end = 0.025 if self.stopped_by_outcomes else 0.0125
        z = NormalDist().inv_cdf(1.0 - end)
        reached = [wilson(share, self.images, z) for share in self.accuracies.tolist()]
        surely, perhaps = (sum(ends[side] >= accuracy - CLOSE for ends in reached) for side in (0, 1))
        low_all, high_all = self.bounds(min(surely, good), 0.5)[0], self.bounds(perhaps, 0.5)[1]
        return YieldPoint(accuracy, good, len(self.chips), *self.bounds(good), low_all, high_all)

    def bounds(self, good: int, part: float = 1.0) -> tuple[float, float]:
        """The bounds of the share of all chips if `good` simulated ones are good: 95 %, or each end 95 %; `part` is
        their part of the probability of an error."""
        if self.stopped_by_outcomes:
            return sequence_interval(good, len(self.chips), 0.05 * part)
        return clopper_pearson(good, len(self.chips), 1.0 - 0.05 * part)


def good_chips(chips: Sequence[Sequence[Outcomes]], accuracy: float) -> int:
    """How many chips have at least an accuracy, 0..1, from the reads of each."""
    return _good(_right(chips), len(chips[0][0].value), accuracy)


def yield_figures(chips: Sequence[Sequence[Outcomes]], accuracy: float, stopped_by_outcomes: bool) -> dict[str, float]:
    """Share of the chips with at least an accuracy, 0..1, and its bounds as of `ChipYield`, by name.

    A single chip stands for all chips, because all are equal.
    """
    good = good_chips(chips, accuracy)
    low = high = float(good)
    if len(chips) > 1:
        low, high = (sequence_interval if stopped_by_outcomes else clopper_pearson)(good, len(chips))
    return {"yield": good / len(chips), "yield_low": low, "yield_high": high}


def _right(chips: Sequence[Sequence[Outcomes]]) -> NDArray[Any]:
    """Right answers, or the sum of outcomes. # (chips, reads)"""
    return np.array(list(map(sums_of, chips)))


def _good(right: NDArray[Any], images: int, accuracy: float) -> int:
    return int((right.sum(axis=1) >= accuracy * images * right.shape[1] - CLOSE).sum())


def crossed_interval(chips: Sequence[NDArray[Any]], is_share: bool) -> Interval:
    """95 % interval of a mean over chips and images, both random samples.

    Every chip saw the same images, so the pairs are not independent. Right or wrong answers: from 50 chips on, a
    resample draws as many chips and images as there are, each with replacement, and takes the mean over all pairs.
    Fewer chips would give too narrow an interval; then the parts of images and of chips add as in `crossed_difference`.
    For other numbers, the parts always add, and `mean_interval` gives the part of images.

    Args:
        chips: The outcomes of each chip. # (images, reads)
        is_share: Whether the outcome lies between 0 and 1 by its definition.
    """
    shares = np.stack([np.mean(each, axis=1, dtype=np.float32) for each in chips])  # (chips, images)
    if not (is_share and all(map(are_answers, chips))):
        of_images = mean_interval(shares.mean(axis=0, dtype=np.float64)[:, None], is_share)
        return _with_chips(of_images, shares.mean(axis=1, dtype=np.float64), is_share)
    images, mean, z = shares.shape[1], float(shares.mean(dtype=np.float64)), NormalDist().inv_cdf(0.975)
    if len(chips) >= _MANY_CHIPS:
        low, high = _resampled(shares)
    else:
        half = z * float(shares.mean(axis=0, dtype=np.float64).std()) / sqrt(images)
        low, high = mean - half, mean + half
    # else all right or all wrong answers have no width
    if images < 100 or images * min(mean, 1.0 - mean) < 10:
        wilson_low, wilson_high = wilson(mean, images, z)
        low, high = min(low, wilson_low), max(high, wilson_high)
    differing = images - int(np.unique(shares.mean(axis=0, dtype=np.float64), return_counts=True)[1].max())
    found = Interval(mean, low, high, differing if differing < 10 else None)
    if len(chips) < _MANY_CHIPS:
        found = _with_chips(found, shares.mean(axis=1, dtype=np.float64), is_share)
    return replace(found, low=max(0.0, min(found.low, mean)), high=min(1.0, max(found.high, mean)))


def crossed_difference(chips: Sequence[NDArray[Any]], reference: NDArray[Any], is_share: bool) -> Interval:
    """95 % interval of a mean over chips and images minus a reference's on the same images.

    It is at least as wide as the interval by images, which one chip has. From 50 chips on, right or wrong answers are
    resampled over both. Else the distance of an end from the mean is ``sqrt(images^2 + chips^2)``, from the distances
    in two intervals: by images, and by chips. The second is Student's interval of the chips' means; for a share, of the
    logit of its mean a: ``logit(a) +- t_(chips - 1) s / (sqrt(chips) a (1 - a))`` for chips' standard deviation s.

    Args:
        chips: The outcomes of each chip. # (images, reads)
        reference: Outcomes of the reference. # (images,)
        is_share: Whether the outcome lies between 0 and 1 by its definition.
    """
    of_images = difference_interval(np.concatenate(chips, axis=1), reference[:, None], is_share)
    if len(chips) == 1:
        return of_images
    if len(chips) < _MANY_CHIPS or not (is_share and all(map(are_answers, [*chips, reference]))):
        found = _with_chips(of_images, np.array([each.mean() for each in chips]), is_share)
        if not is_share:
            return found
        low, high = max(min(-1.0, of_images.low), found.low), min(max(1.0, of_images.high), found.high)
        return replace(found, low=low, high=high)
    shares = np.stack([each.mean(axis=1) for each in chips]) - reference  # (chips, images)
    low, high = _resampled(shares.astype(np.float32))
    return replace(of_images, low=min(low, of_images.low), high=max(high, of_images.high))


def _with_chips(of_images: Interval, means: NDArray[np.float64], is_share: bool) -> Interval:
    """An interval by images, widened for the choice of chips. # (chips,)"""
    mean, chips = float(means.mean()), len(means)
    half = student(chips - 1) * float(means.std(ddof=1)) / sqrt(chips)
    below = above = half
    if is_share:  # only a share has a logit
        if not 0.0 < mean < 1.0:
            return of_images
        # far out the ends are 0 and 1, and exp would overflow
        step = exp(min(half / (mean * (1.0 - mean)), 700.0))
        low, high = (mean / (mean + (1.0 - mean) * odds) for odds in (step, 1.0 / step))
        below, above = mean - low, high - mean
    center = of_images.mean
    low, high = center - hypot(center - of_images.low, below), center + hypot(of_images.high - center, above)
    return replace(of_images, low=low, high=high)


def _resampled(shares: NDArray[np.float32]) -> tuple[float, float]:
    """Ends of 95 % of the means over resampled chips and images. # (chips, images)"""
    chips, images = shares.shape
    rng = np.random.default_rng(0)
    of_chips = rng.multinomial(chips, np.full(chips, 1.0 / chips), size=RESAMPLES)  # (resamples, chips)
    means, step = [], max(1, AT_ONCE // images)
    for start in range(0, RESAMPLES, step):
        of_image = of_chips[start : start + step].astype(np.float32) @ shares / chips  # (step, images)
        drawn = rng.integers(0, images, of_image.shape)
        means.append(np.take_along_axis(of_image, drawn, axis=1).mean(axis=1, dtype=np.float64))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def yield_curve(found: ChipYield) -> list[tuple[float, float, float, float]]:
    """Each accuracy that a chip has, rising, with the share of chips that reach it and the bounds of the share."""
    accuracies = np.unique(found.accuracies)
    counts = [int((found.accuracies >= accuracy).sum()) for accuracy in accuracies]
    bounds = {good: found.bounds(good) for good in dict.fromkeys(counts)}
    return [
        (float(accuracy), good / len(found.chips), *bounds[good])
        for accuracy, good in zip(accuracies, counts, strict=True)
    ]


def default_thresholds(accuracy: float) -> list[float]:
    """Accuracies 1, 2 and 5 points below one, in whole percents: 0..1."""
    whole = floor(100 * accuracy + CLOSE)
    return sorted({max(whole - below, 1) / 100 for below in (1, 2, 5)})


def thresholds_of(percents: Sequence[float] | None, of_chips: bool) -> list[float]:
    """Thresholds as shares, 0..1, from percents; none if none are given."""
    if percents is None:
        return []
    if not percents or not all(0 < percent <= 100 for percent in percents):
        raise ValueError(f"`thresholds` must be a list of percents above 0, 100 at most, got {percents}")
    if not of_chips:
        raise ValueError(f"`thresholds` count good chips, and need `chips` or `until`, got only {percents}")
    return [percent / 100 for percent in percents]
