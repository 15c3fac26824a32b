"""Level and sigma of each count from its codes, which are rounded: ``code = clamp(round(level + sigma z), 0, top)``.

Of codes, ``P(code >= k) = Q((k - 1/2 - level) / sigma)``. In ``1 / sigma`` and ``level / sigma`` the logarithm of the
likelihood is concave, so that it has one maximum, and sets of likely values have no holes.

If codes were k - 1 and k only, they tell ``P(code >= k)``, a line of levels and sigmas: every sigma small enough for no
third code gives the same codes. The largest such sigma is taken, and its interval begins at 0.
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
"""Smallest sigma, in codes, except 0: of a smaller one float32 levels between two codes would be too coarse."""
HALF_CHI2 = 1.9207294
"""Half of the 95 % quantile of chi-square with one degree of freedom."""
_SMALL = 1e-3
"""Sigma below which the interval of a sigma begins at 0."""
_THIRD_READS = 0.05
"""Reads of a third code that the sigma of two codes may lead to be expected: what its likelihood loses."""
_ROUNDING = 2e-6
"""Of variances in a file of five digits."""

Array = NDArray[np.float64]


def log_probability(low: Tensor, high: Tensor) -> Tensor:
    """``log(Phi(high) - Phi(low))``, exact far out as well; low < high, either may be infinite."""
    flip = low > 0  # the left tail keeps its digits
    a, b = torch.where(flip, -high, low), torch.where(flip, -low, high)
    log_a, log_b = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    return log_b + torch.log1p(-torch.exp((log_a - log_b).clamp_max(-1e-15)))


def fit_reads(reads: NDArray[np.int64], top: int) -> tuple[Array, Array]:
    """Level and sigma of each count by maximum likelihood; where all reads gave one code, that code and 0.

    `reads` has how often each code was read, `top` is the largest code. # (counts, codes)
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
    """95 % intervals of level and sigma of each count by likelihood ratio, lower and upper ends; NaN of one code only.

    # (counts, codes) to (2, counts) of levels, and of sigmas
    """
    levels, sigmas = np.full((2, 2, len(reads)), np.nan)
    some = (reads > 0).sum(1) > 1
    if some.any():
        found = _Reads.of(reads[some], top).intervals(*fit_reads(reads[some], top))
        levels[:, some], sigmas[:, some] = found
    return levels, sigmas


def fit_moments(mean: Array, std: Array, top: int) -> tuple[Array, Array]:
    """Level and sigma of each count for which its codes, 0..top, have this mean and deviation. # (counts,)

    The deviation must be one that such codes can have, see `impossible_moments`.
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


def impossible_moments(mean: Array, std: Array, level: Array, sigma: Array, top: int) -> NDArray[np.bool_]:
    """Whether no codes of 0..top have a mean and a standard deviation, to which a level and a sigma were fitted.

    Of whole codes the deviation is at least ``sqrt(p (1 - p))``, p the mean's fraction; near the ends of the range it
    is bounded from above. A rounding of the given numbers by 0.02 is allowed.
    """
    fraction = mean - np.floor(mean)
    too_small = std < np.sqrt(fraction * (1.0 - fraction)) - 0.02
    found_mean, variance = _moments(level, np.maximum(sigma, 1e-9), mean, _reach(std), top)
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
        """The reads of a histogram whose codes end at 0 and `top`. # (counts, codes)"""
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
        """Its logarithm for levels and sigmas of some counts, and the derivatives by the level, in sigmas, and by
        ``log(sigma)``."""
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
    """Where functions fall below 0 on the way from inside to outside: inside if they begin below it, outside if they
    stay above it."""
    with np.errstate(invalid="ignore"):  # scipy, of functions that do not cross 0
        found = elementwise.find_root(function, (inside, outside), args=given)
    ends: Array = np.where(found.success, found.x, np.where(found.f_bracket[0] < 0, inside, outside))
    return ends


def _of_two_codes(upper: NDArray[np.int64], above: Array, allowed: Array, top: int) -> tuple[Array, Array]:
    """The largest sigma for which any third code has at most the probability that is allowed, and its level."""
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
    reach = _reach(std)

    def level_at(sigma: Array, mean: Array) -> Array:
        """Level of the wanted mean."""

        def left(level: Array, sigma: Array, mean: Array) -> Array:
            return mean - _moments(level, sigma, mean, reach, top)[0]

        return _end(left, mean - reach, mean + reach, sigma, mean)

    def left(sigma: Array, mean: Array, std: Array) -> Array:
        level = level_at(sigma, mean)
        # at an end of the range the level stays in it, where the deviation allows that
        most = np.where((level >= 0.0) & (level <= top), std**2 + 1e-6, 0.999 * std**2)
        return most - _moments(level, sigma, mean, reach, top)[1]

    sigma = _end(left, np.full_like(mean, SMALLEST_SIGMA), 2.0 * std + 1.0, mean, std)
    return level_at(sigma, mean), sigma


def _reach(std: Array) -> int:
    """Codes beside a mean that have a probability worth counting."""
    return int(np.ceil(8 * std.max())) + 2


def _moments(level: Array, sigma: Array, around: Array, reach: int, top: int) -> tuple[Array, Array]:
    """Mean of codes, and their mean square distance from a value near it, of which codes lie at most `reach` away."""
    codes = np.round(around)[..., None] + np.arange(-reach, reach + 1)  # (counts, codes)
    at_least = ((codes >= 1) & (codes <= top)) * ndtr((level[..., None] - codes + 0.5) / sigma[..., None])
    floor = np.clip(codes[..., 0], 1, top) - 1.0  # what lies below all of these codes
    weight = 2.0 * (codes - around[..., None]) - 1.0
    return floor + at_least.sum(-1), (floor - around) ** 2 + (at_least * weight).sum(-1)
