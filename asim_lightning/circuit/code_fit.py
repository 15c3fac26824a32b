"""Level and sigma of each count from its codes, which are rounded: ``code = clamp(round(level + sigma z), 0, top)``.

Of codes, ``P(code >= k) = Q((k - 1/2 - level) / sigma)``. In ``h = 1 / sigma`` and ``level / sigma`` the logarithm of
the likelihood is concave, so that it has one maximum, and sets of likely values have no holes.

Where codes were k - 1 and k alone, they tell ``P(code >= k)``, a line of levels and sigmas: every sigma small enough
for no third code gives the same codes. The largest such one is taken, and its interval begins at 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SMALLEST_SIGMA = 0.02
"""Smallest sigma, in codes, but 0: of a smaller one float32 levels between two codes would be too coarse."""
_THIRD_READS = 0.05
"""Reads of a third code that the sigma of two codes may lead to be expected: what its likelihood loses."""
_ON_ONE_THREAD = 2000
"""Elements of which torch computes exponentials and error functions on one thread."""
BISECTIONS = 26
_NEWTON_STEPS, _HALVINGS = 60, 30

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
    """Reads by count and code, those without reads left out. # (cells,)

    Thresholds are counted from the mean code of their count.
    """

    count: Tensor
    number: Tensor
    lower: Tensor
    upper: Tensor
    counts: int

    def log_likelihood(self, level: Tensor, inverse: Tensor) -> Tensor:
        """Of each count, for levels and inverse sigmas. # (counts,)"""
        _, _, log_p = self._arguments(inverse, level * inverse)
        return self.sum(self.number * log_p)

    def sum(self, values: Tensor) -> Tensor:
        """Sums over the cells of each count. # (counts,)"""
        return torch.zeros(self.counts, dtype=torch.float64).index_add_(0, self.count, values)

    def _arguments(self, inverse: Tensor, mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        low = self.lower * inverse[self.count] - mean[self.count]
        high = self.upper * inverse[self.count] - mean[self.count]
        return low, high, log_probability(low, high)

    def newton(self, inverse: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Step of Newton's method in ``h`` and ``level / sigma``, upwards. # (counts,) each"""
        low, high, log_p = self._arguments(inverse, mean)
        at_low, at_high = _density(low, log_p), _density(high, log_p)
        a, b = (torch.where(each.isfinite(), each, 0.0) for each in (self.lower, self.upper))
        low, high = (torch.where(each.isfinite(), each, 0.0) for each in (low, high))
        by_h, by_m = at_high * b - at_low * a, at_low - at_high
        curve_hh = at_low * low * a * a - at_high * high * b * b - by_h * by_h
        curve_hm = at_high * high * b - at_low * low * a - by_h * by_m
        curve_mm = at_low * low - at_high * high - by_m * by_m
        g_h, g_m, hh, hm, mm = (self.sum(self.number * x) for x in (by_h, by_m, curve_hh, curve_hm, curve_mm))
        hh, mm = hh - 1e-9, mm - 1e-9  # negative definite, also where it is flat
        determinant = hh * mm - hm * hm
        determinant = torch.where(determinant > 1e-12 * hh * mm, determinant, 1e-12 * hh * mm)
        return -(mm * g_h - hm * g_m) / determinant, -(hh * g_m - hm * g_h) / determinant


def log_probability(low: Tensor, high: Tensor) -> Tensor:
    """``log(Phi(high) - Phi(low))``, exact far out as well; low < high, either may be infinite."""
    flip = low > 0  # the left tail keeps its digits
    a, b = torch.where(flip, -high, low), torch.where(flip, -low, high)
    log_a, log_b = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    return log_b + torch.log1p(-torch.exp((log_a - log_b).clamp_max(-1e-15)))


def below(at: Tensor) -> Tensor:
    """Normal distribution function; torch's own shares few values among threads, which takes ten times as long."""
    return torch.exp(torch.special.log_ndtr(at))


def _density(at: Tensor, log_p: Tensor) -> Tensor:
    """Normal density over a probability, 0 at infinity."""
    return torch.where(at.isfinite(), torch.exp(-0.5 * at * at - 0.9189385332046727 - log_p), 0.0)


def cells_of(reads: NDArray[np.int64], top: int) -> tuple[Cells, Tensor]:
    """The cells of a histogram, and the mean code of each count, from which their thresholds are counted.

    Args:
        reads: How often each code was read. # (counts, codes)
        top: Largest code, at which codes end, as they do at 0.
    """
    counts, codes = (torch.from_numpy(each) for each in np.nonzero(reads))
    number = torch.from_numpy(reads[np.nonzero(reads)].astype(np.float64))
    total = torch.zeros(len(reads), dtype=torch.float64).index_add_(0, counts, number)
    centre = torch.zeros(len(reads), dtype=torch.float64).index_add_(0, counts, number * codes) / total
    lower = torch.where(codes == 0, -torch.inf, codes - 0.5 - centre[counts])
    upper = torch.where(codes == top, torch.inf, codes + 0.5 - centre[counts])
    return Cells(counts, number, lower, upper, len(reads)), centre


def fit_reads(reads: NDArray[np.int64], top: int) -> tuple[Array, Array]:
    """Level and sigma of each count by maximum likelihood; where all reads gave one code, that code and 0.

    Args:
        reads: How often each code was read. # (counts, codes)
        top: Largest code.
    """
    read = reads > 0
    first, last = read.argmax(1), reads.shape[1] - 1 - read[:, ::-1].argmax(1)  # (counts,)
    level, sigma = first.astype(np.float64), np.zeros(len(reads))
    two, more = last - first == 1, last - first > 1
    if two.any():
        above = np.take_along_axis(reads, last[:, None], 1)[two, 0] / reads[two].sum(1)
        allowed = _THIRD_READS / reads[two].sum(1)
        level[two], sigma[two] = of_two_codes(last[two], above, allowed, top)
    for part in parts(np.flatnonzero(more), read[more].sum(1)):
        cells, centre = cells_of(reads[part], top)
        inverse, mean = _maximum(cells, _start(reads[part]))
        level[part], sigma[part] = (centre + mean / inverse).numpy(), (1.0 / inverse).numpy()
    return level, sigma


def _start(reads: NDArray[np.int64]) -> Tensor:
    codes, number = np.arange(reads.shape[1]), reads.sum(1)
    mean = reads @ codes / number
    return torch.from_numpy(1.0 / np.sqrt(np.maximum(reads @ codes**2 / number - mean**2 - 1 / 12, 0.04)))


def _maximum(cells: Cells, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum of each count's likelihood from a first inverse sigma: ``h`` and ``level / sigma``."""
    mean = torch.zeros_like(inverse)
    best = cells.log_likelihood(mean / inverse, inverse)
    for _ in range(_NEWTON_STEPS):
        step_h, step_m = cells.newton(inverse, mean)
        length = torch.ones_like(best)
        waits = torch.ones_like(best, dtype=torch.bool)
        for _ in range(_HALVINGS):
            h = (inverse + length * step_h).clamp(1e-6, 1.0 / SMALLEST_SIGMA)
            m = mean + length * step_m
            found = cells.log_likelihood(m / h, h)
            better = waits & (found >= best)
            inverse, mean, best = (
                torch.where(better, new, old) for new, old in ((h, inverse), (m, mean), (found, best))
            )
            waits &= ~better
            length = torch.where(waits, length / 2, length)
            if not bool(waits.any()):
                break
        if bool((step_h.abs() < 1e-10).all()) and bool((step_m.abs() < 1e-10).all()):
            break
    return inverse, mean


def of_two_codes(upper: NDArray[np.int64], above: Array, allowed: Array, top: int) -> tuple[Array, Array]:
    """The largest sigma for which any third code has at most the probability that is allowed, and its level.

    Args:
        upper: The higher of the two codes. # (counts,)
        above: Probability of the higher code. # (counts,)
        allowed: Probability of all other codes together. # (counts,)
        top: Largest code.
    """
    z = torch.special.ndtri(torch.from_numpy(above))
    # beyond the ends of the range there are no codes
    over, under = torch.from_numpy(upper < top), torch.from_numpy(upper > 1)
    allow = torch.from_numpy(allowed)

    def fits(sigma: Tensor) -> Tensor:
        third = over * below(z - 1.0 / sigma) + under * below(-z - 1.0 / sigma)
        # at an end of the range, where no third code bounds sigma, the level stays between the two codes
        return (third <= allow) & ((sigma * z).abs() <= 0.5)

    low, high = torch.full_like(z, SMALLEST_SIGMA), torch.full_like(z, 2.0)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        good = fits(middle)
        low, high = torch.where(good, middle, low), torch.where(good, high, middle)
    return upper - 0.5 + (low * z).numpy(), low.numpy()


def parts(counts: NDArray[np.int64], widths: Array) -> Iterator[NDArray[np.int64]]:
    """Counts in groups, each small enough that torch computes it on one thread, which takes less time."""
    low = 0
    while low < len(counts):
        high = low + 1
        while high < len(counts) and (high + 1 - low) * widths[high] <= _ON_ONE_THREAD:
            high += 1
        yield counts[low:high]
        low = high
