"""Level and sigma of each count, fitted to rounded codes: ``code = clamp(round(level + sigma z), 0, top)``.

``P(code >= k) = Q((k - 1/2 - level) / sigma)``. The log-likelihood is concave in ``1 / sigma`` and ``level / sigma``:
it has one maximum, and intervals have no holes.

If a count gave only the codes k - 1 and k, they fix only ``P(code >= k)``: every sigma that is too small for a third
code explains them. The fit takes the largest such sigma, and its interval begins at 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import elementwise
from scipy.special import ndtr, ndtri
from torch import Tensor

SMALLEST_SIGMA = 0.02
"""Smallest sigma above 0, in codes: below it, float32 levels between two codes are too coarse."""
HALF_CHI2 = 1.9207294
"""Half of the 95 % quantile of chi-square with one degree of freedom."""
_SMALL = 1e-3
"""Sigma below which the interval of a sigma begins at 0."""
_THIRD_READS = 0.05
"""Most reads of a third code that the sigma of two codes may predict: the loss of its log-likelihood."""
_ROUNDING = 2e-6
"""Rounding of variances in a file of five digits."""

Array = NDArray[np.float64]


def log_probability(low: Tensor, high: Tensor) -> Tensor:
    """``log(Phi(high) - Phi(low))``, exact in the tails, too; low < high, either may be infinite."""
    flip = low > 0  # the left tail keeps its digits
    a, b = torch.where(flip, -high, low), torch.where(flip, -low, high)
    log_a, log_b = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    return log_b + torch.log1p(-torch.exp((log_a - log_b).clamp_max(-1e-15)))


def fit_reads(reads: NDArray[np.int64], top: int) -> tuple[Array, Array]:
    """Level and sigma of each count by maximum likelihood; a count with one code gets this code and 0.

    `reads` says how often each code was read, `top` is the largest code. # (counts, codes)
    """
    codes = (reads > 0).sum(1)
    level, sigma = reads.argmax(1).astype(np.float64), np.zeros(len(reads))
    last = reads.shape[1] - 1 - (reads > 0)[:, ::-1].argmax(1)
    two = (codes == 2) & (np.take_along_axis(reads, last[:, None] - 1, 1)[:, 0] > 0)
    if two.any():
        number, above = reads[two].sum(1), np.take_along_axis(reads, last[:, None], 1)[two, 0]
        level[two], sigma[two] = _of_two_codes(last[two], above / number, _THIRD_READS / number, top)
    more = (codes > 1) & ~two
    if more.any():
        level[more], sigma[more] = _Reads.of(reads[more], top).fit()
    return level, sigma


def intervals(reads: NDArray[np.int64], top: int) -> tuple[Array, Array]:
    """95 % intervals of level and sigma of each count by likelihood ratio, lower and upper ends; NaN for one code.

    # (counts, codes) to (2, counts) of levels, and of sigmas
    """
    ends = np.full((2, 2, len(reads)), np.nan)
    some = (reads > 0).sum(1) > 1
    if some.any():
        ends[:, :, some] = _Reads.of(reads[some], top).intervals(*fit_reads(reads[some], top))
    return ends[0], ends[1]


def fit_moments(mean: Array, std: Array, top: int) -> tuple[Array, Array]:
    """Level and sigma of each count for which its codes, 0..top, have this mean and deviation. # (counts,)

    Such codes must be able to have this deviation, see `impossible_moments`.
    """
    level, sigma = np.round(mean), np.zeros(len(mean))
    fraction = mean - np.floor(mean)
    least = fraction * (1.0 - fraction)  # variance of two codes only
    two = (std > 0) & (least > 0) & (std**2 <= 1.002 * least + _ROUNDING)
    upper = np.floor(mean[two]).astype(np.int64) + 1
    level[two], sigma[two] = _of_two_codes(upper, fraction[two], 0.0005 * least[two] + _ROUNDING / 4, top)
    more = (std > 0) & ~two
    if more.any():
        level[more], sigma[more] = _of_moments(mean[more], std[more], top)
    return level, sigma


def too_wide(mean: Array, std: Array, top: int) -> NDArray[np.bool_]:
    """Whether a deviation is larger than that of any codes 0..top with the mean, whose variance is at most
    ``mean (top - mean)``; the given numbers may be rounded by 0.02. # (counts,)"""
    wide: NDArray[np.bool_] = std * 0.98 - 0.02 > np.sqrt((mean + 0.02) * (top - mean + 0.02))
    return wide


def impossible_moments(mean: Array, std: Array, level: Array, sigma: Array, top: int) -> NDArray[np.bool_]:
    """Whether no codes of 0..top have the mean and deviation to which a level and a sigma were fitted.

    The deviation of whole codes is at least ``sqrt(p (1 - p))``, p the mean's fraction; near the ends of the range it
    also has an upper bound. The given numbers may be rounded by 0.02.
    """
    fraction = mean - np.floor(mean)
    too_small = std < np.sqrt(fraction * (1.0 - fraction)) - 0.02
    found_mean, variance = _moments(level, np.maximum(sigma, 1e-9), mean, _reach(std, top), top)
    found_std = np.sqrt(np.maximum(variance, 0.0))
    wrong: NDArray[np.bool_] = too_small | (np.abs(found_mean - mean) > 0.02) | (found_std < std * 0.98 - 0.02)
    return wrong


@dataclass(frozen=True, eq=False)
class _Reads:
    """Reads by count, from the lowest to the highest code of each; thresholds are counted from the mean code."""

    number: Array  # (counts, codes)
    lower: Array  # (counts, codes)
    upper: Array  # (counts, codes)
    centre: Array
    """Mean code. # (counts,)"""
    std: Array
    """Standard deviation of the codes. # (counts,)"""

    @classmethod
    def of(cls, reads: NDArray[np.int64], top: int) -> "_Reads":
        """The reads of a histogram of the codes 0..`top`. # (counts, codes)"""
        read = reads > 0
        first, last = read.argmax(1), reads.shape[1] - 1 - read[:, ::-1].argmax(1)  # (counts,)
        codes = first[:, None] + np.arange((last - first).max() + 1)  # (counts, codes)
        number = np.take_along_axis(reads, np.minimum(codes, last[:, None]), 1) * (codes <= last[:, None])
        centre = (number * codes).sum(1, keepdims=True) / number.sum(1, keepdims=True)
        variance = (number * (codes - centre) ** 2).sum(1) / number.sum(1)
        lower = np.where(codes == 0, -np.inf, codes - 0.5 - centre)
        upper = np.where(codes == top, np.inf, codes + 0.5 - centre)
        return cls(number.astype(np.float64), lower, upper, centre[:, 0], np.sqrt(variance))

    def fit(self) -> tuple[Array, Array]:
        """Likeliest level and sigma. # (counts,)"""
        count = np.arange(len(self.number))
        small = np.full(len(count), np.log(SMALLEST_SIGMA))
        log_sigma = _end(
            lambda s, c: self._likelihood(self._best_level(s, c), s, c)[2], small, np.log(self.std) + 5.0, count
        )
        return self.centre + self._best_level(log_sigma, count), np.exp(log_sigma)

    def intervals(self, level: Array, sigma: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Lower and upper ends around the likeliest level and sigma. # (counts,)"""
        count, level, log_sigma = np.arange(len(level)), level - self.centre, np.log(sigma)
        least = self._likelihood(level, log_sigma, count)[0] - HALF_CHI2
        reach = 8.0 * sigma + 3.0

        def of_level(at: Array, count: NDArray[np.int64]) -> Array:
            best = self._best_log_sigma(at, np.log(reach[count]), count)
            return self._likelihood(at, best, count)[0] - least[count]

        def of_sigma(at: Array, count: NDArray[np.int64]) -> Array:
            return self._likelihood(self._best_level(at, count), at, count)[0] - least[count]

        levels = [_end(of_level, level, level + side * reach, count) + self.centre for side in (-1.0, 1.0)]
        low, high = (
            np.exp(_end(of_sigma, log_sigma, end, count))
            for end in (np.full_like(level, np.log(_SMALL)), np.log(reach))
        )
        return (levels[0], levels[1]), (np.where(low < 2 * _SMALL, 0.0, low), high)

    def _likelihood(self, level: Array, log_sigma: Array, count: NDArray[np.int64]) -> tuple[Array, Array, Array]:
        """The log-likelihood of some counts, and its derivatives by the level, in sigmas, and by ``log(sigma)``."""
        inverse = np.exp(-log_sigma)[..., None]
        low, high = ((each[count] - level[..., None]) * inverse for each in (self.lower, self.upper))
        number, log_p = self.number[count], log_probability(torch.from_numpy(low), torch.from_numpy(high)).numpy()
        log_p = np.where(number > 0, log_p, 0.0)
        at_low, at_high = (np.exp(-0.5 * each**2 - 0.9189385332046727 - log_p) for each in (low, high))
        finite_low, finite_high = (np.where(np.isfinite(each), each, 0.0) for each in (low, high))
        by_sigma = finite_low * at_low - finite_high * at_high
        return (number * log_p).sum(-1), (number * (at_low - at_high)).sum(-1), (number * by_sigma).sum(-1)

    def _best_level(self, log_sigma: Array, count: NDArray[np.int64]) -> Array:
        reach = 8.0 * np.exp(log_sigma) + 8.0 * self.std[count] + 3.0
        return _end(lambda x, s, c: self._likelihood(x, s, c)[1], -reach, reach, log_sigma, count)

    def _best_log_sigma(self, level: Array, most: Array, count: NDArray[np.int64]) -> Array:
        least = np.full_like(level, np.log(_SMALL))
        return _end(lambda s, x, c: self._likelihood(x, s, c)[2], least, most, level, count)


def _end(function: Callable[..., Array], inside: Array, outside: Array, *given: Any) -> Array:
    """The points between inside and outside at which functions fall below 0; inside if a function begins below 0,
    outside if it stays above."""
    with np.errstate(invalid="ignore"):  # scipy warns about functions that do not cross 0
        found = elementwise.find_root(function, (inside, outside), args=given)
    ends: Array = np.where(found.success, found.x, np.where(found.f_bracket[0] < 0, inside, outside))
    return ends


def _of_two_codes(upper: NDArray[np.int64], above: Array, allowed: Array, top: int) -> tuple[Array, Array]:
    """Level, and the largest sigma at which third codes have at most the allowed probability."""
    z = ndtri(above)

    def left(sigma: Array, z: Array, upper: Array, allowed: Array) -> Array:
        # beyond the ends of the range there are no codes
        third: Array = (upper < top) * ndtr(z - 1.0 / sigma) + (upper > 1) * ndtr(-z - 1.0 / sigma)
        return allowed - third

    sigma = _end(left, np.full_like(z, SMALLEST_SIGMA), np.full_like(z, 2.0), z, upper, allowed)
    # at an end of the range, where no third code bounds sigma, the level stays between the two codes
    sigma = np.minimum(sigma, np.maximum(0.5 / np.maximum(np.abs(z), 1e-9), SMALLEST_SIGMA))
    return upper - 0.5 + sigma * z, sigma


def _of_moments(mean: Array, std: Array, top: int) -> tuple[Array, Array]:
    reach = _reach(std, top)

    def level_at(sigma: Array, mean: Array) -> Array:
        """Level of the wanted mean."""

        def left(level: Array, sigma: Array, mean: Array) -> Array:
            return mean - _moments(level, sigma, mean, reach, top)[0]

        return _end(left, mean - reach, mean + reach, sigma, mean)

    def left(sigma: Array, mean: Array, std: Array) -> Array:
        level = level_at(sigma, mean)
        # near an end of the range, the level stays inside if the deviation allows it
        most = np.where((level >= 0.0) & (level <= top), std**2 + 1e-6, 0.999 * std**2)
        return most - _moments(level, sigma, mean, reach, top)[1]

    sigma = _end(left, np.full_like(mean, SMALLEST_SIGMA), 2.0 * std + 1.0, mean, std)
    return level_at(sigma, mean), sigma


def _reach(std: Array, top: int) -> int:
    """Number of codes on each side of a mean that matter: all codes are 0..top, whatever deviation a file claims."""
    return min(int(np.ceil(8 * std.max())) + 2, top + 1)


def _moments(level: Array, sigma: Array, around: Array, reach: int, top: int) -> tuple[Array, Array]:
    """Mean of codes, and their mean square distance from `around`; codes are at most `reach` from it."""
    codes = np.round(around)[..., None] + np.arange(-reach, reach + 1)  # (counts, codes)
    at_least = ((codes >= 1) & (codes <= top)) * ndtr((level[..., None] - codes + 0.5) / sigma[..., None])
    floor = np.clip(codes[..., 0], 1, top) - 1.0  # the code below all of these
    weight = 2.0 * (codes - around[..., None]) - 1.0
    return floor + at_least.sum(-1), (floor - around) ** 2 + (at_least * weight).sum(-1)
