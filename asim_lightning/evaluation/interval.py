"""How far an accuracy on some images may lie from the accuracy on all images of that kind."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

# Below these numbers, the bootstrap resamples are too coarse or too alike, so the binomial bound is used, too.
_FEW_IMAGES = 100
_FEW_ANSWERS = 10
_MANY_VALUES = 1000
"""Number of different values from which images are drawn one by one."""
_TAIL = (1.0 - 0.95) / 2.0
_DEVIATIONS = NormalDist().inv_cdf(1.0 - _TAIL)
"""Share beyond an end of an interval, and standard deviations from the mean to this end."""
RESAMPLES = 2000
AT_ONCE = 2**24
"""Number of bootstrap resamples, and images of one block of them."""


@dataclass(frozen=True)
class Interval:
    """An accuracy, or a difference of two, and the interval around it, low <= mean <= high."""

    mean: float
    low: float
    high: float


NO_DIFFERENCE = Interval(0.0, 0.0, 0.0)
"""The difference of answers that are equal by construction; intervals from samples have a width."""


def accuracy_interval(correct: ArrayLike) -> Interval:
    """95 % interval of the mean accuracy by a percentile bootstrap over images; equal answers give equal intervals.

    An image is drawn with all its trials, because trials share the image's difficulty: 10 trials of 200 images say far
    less than 2,000 images. A resample draws as many images as there are, with replacement. Its mean is
    ``sum_v weight_v v / (images trials)``, where v runs over the possible numbers of right trials of an image and the
    weights are one multinomial draw. This equals drawing rows, at a cost that does not grow with images.

    The bootstrap only knows the images it has. It is too narrow if all images (or all except 10) have the same number
    of right trials, if right or wrong answers amount to fewer than 10 images, or if there are fewer than 100 images:
    200 right of 200 would give [1, 1]. Then the interval is widened to include Wilson's score interval of a binomial
    with n = images: ``(p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)``. It is valid for any correlation of
    trials, because at least n answers are independent.

    Effects that all images share, such as the mismatch of one simulated chip, are not part of the interval.

    Outcomes between 0 and 1 are treated alike, because none varies more than right and wrong answers of the same mean.
    For other outcomes, such as a loss, few images widen the interval to include Student's: ``mean +- t s/sqrt(n)``.

    Args:
        correct: Whether each answer was right, or another outcome of it. Shape (images, trials).
    """
    right, trials = _right_trials(correct)
    images, mean = right.size, float(right.sum()) / (right.size * trials)
    low, high, most = _resampled(right, images * trials)
    if not 0 <= right.min() <= right.max() <= trials:
        return _without_bounds(right / trials, low, high)
    if images < _FEW_IMAGES or min(images - most, images * min(mean, 1.0 - mean)) < _FEW_ANSWERS:
        wilson_low, wilson_high = wilson(mean, images, _DEVIATIONS)
        low, high = min(low, wilson_low), max(high, wilson_high)
    # Rounding must not push an end past the mean: error bars have no negative length.
    return Interval(mean, max(0.0, min(low, mean)), min(1.0, max(high, mean)))


def difference_interval(correct: ArrayLike, other: ArrayLike) -> Interval:
    """95 % interval of the difference of two mean accuracies on the same images: bootstrap over images, in pairs.

    If few images differ, resamples are too much alike. The interval is then widened to include Agresti and Min's for
    pairs (Statistics in Medicine 24, 2005), with half an image more on each side:
    ``(c - b) / (n + 2) +- z sqrt(b + c - (c - b)^2 / (n + 2)) / (n + 2)`` for b and c images lost and won.

    Args:
        correct: Whether each answer was right. Shape (images, trials).
        other: Answers to compare with. Shape (images, trials), with any number of trials.
    """
    (right, trials), (others, other_trials) = _right_trials(correct), _right_trials(other)
    if right.size != others.size:
        raise ValueError(f"both answers must be to the same images, got {right.size} and {others.size} images")
    won = right / trials - others / other_trials  # (images,)
    low, high, _ = _resampled(won, won.size)
    if np.abs(won).max() > 1:
        return _without_bounds(won, low, high)
    c, b, n = won.clip(min=0).sum() + 0.5, (-won).clip(min=0).sum() + 0.5, won.size + 2
    middle, mean = (c - b) / n, float(won.mean())
    half = _DEVIATIONS * sqrt(b + c - (c - b) ** 2 / n) / n
    return Interval(mean, max(-1.0, min(low, middle - half, mean)), min(1.0, max(high, middle + half, mean)))


def _resampled(values: NDArray[Any], divisor: int) -> tuple[float, float, int]:
    """Ends of the sum of resampled values over a divisor, and the number of images with the most frequent value."""
    kinds, counts = np.unique(values, return_counts=True)
    rng = np.random.default_rng(0)
    if kinds.size > _MANY_VALUES:
        step = max(1, AT_ONCE // values.size)
        blocks = [min(step, RESAMPLES - start) for start in range(0, RESAMPLES, step)]
        sums = np.concatenate([values[rng.integers(values.size, size=(n, values.size))].sum(axis=1) for n in blocks])
    else:
        sums = rng.multinomial(values.size, counts / values.size, size=RESAMPLES) @ kinds
    low, high = np.quantile(sums / divisor, [_TAIL, 1.0 - _TAIL])
    return float(low), float(high), int(counts.max())


def _without_bounds(values: NDArray[np.float64], low: float, high: float) -> Interval:
    """The mean of unbounded numbers, with the ends of their resamples, wider if there are few."""
    mean = float(values.mean())
    if 1 < values.size < _FEW_IMAGES:
        half = student(values.size - 1) * float(values.std(ddof=1)) / sqrt(values.size)
        low, high = min(low, mean - half), max(high, mean + half)
    return Interval(mean, min(low, mean), max(high, mean))


def _right_trials(correct: ArrayLike) -> tuple[NDArray[Any], int]:
    """Sum of the trials of each image, shape (images,), and the number of trials."""
    answers = np.asarray(correct)
    if answers.ndim != 2 or answers.size == 0:
        raise ValueError(f"`correct` must have the shape (images, trials), neither of them 0, got {answers.shape}")
    if answers.dtype.kind not in "buif" or not bool(np.isfinite(answers).all()):
        raise ValueError(f"`correct` must hold booleans or finite numbers, got {answers.dtype}")
    return answers.sum(axis=1, dtype=np.float64 if answers.dtype.kind == "f" else np.int64), answers.shape[1]


def wilson(share: float, count: int, z: float) -> tuple[float, float]:
    """Wilson's score interval of a share of `count` independent answers, z standard deviations wide on each side."""
    middle = share + z * z / (2 * count)
    half = z * sqrt(share * (1.0 - share) / count + z * z / (4 * count * count))
    return (middle - half) / (1.0 + z * z / count), (middle + half) / (1.0 + z * z / count)


def student(freedom: int) -> float:
    """The magnitude that Student's t exceeds with probability 5 %, 1 or more degrees of freedom."""
    return float(stdtrit(freedom, 0.975))
