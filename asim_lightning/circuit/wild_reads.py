"""Wild reads of a measured column: reads that are much farther from their count's median than the noise explains."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.special import ndtri

MOST_DEVIATIONS = 6.0
"""Robust deviations from the median of its count beyond which a read is wild."""
RULE = f"more than {MOST_DEVIATIONS:g} robust deviations from the median of their count"
_IQR = 1.349  # interquartile range of a standard normal value
_NEIGHBOURS = 8  # counts on each side, because the quartiles of 20 reads may be half as far apart as those of all
_LEAST = 0.45
"""Least robust deviation, in codes: levels at whole codes hide smaller noise."""
_FEWEST = 8  # reads above code 0 (or below the largest code) that tell level and deviation

Array = NDArray[np.float64]


def are_wild(count: NDArray[np.int64], value: Array, shape: tuple[int, int], are_codes: bool) -> NDArray[np.bool_]:
    """Whether each read is wild.

    The robust deviation of a count is its interquartile range over 1.349, less that of rounding: that of its neighbours
    (the median of up to 17 counts), or the geometric mean of both if this is larger. If an end of the ADC's range hides
    a quartile, median and deviation are those of the normal values whose codes have the number of reads at this end,
    and the middle of the other reads.

    Args:
        count: Place of each read in a table of converters and counts; each place has a read. # (reads,)
        value: Code or voltage. # (reads,)
        shape: Numbers of converters and counts.
        are_codes: Whether the values are codes, which end at 0 and at a largest code.
    """
    order = np.lexsort((value, count))
    at, sorted_value = count[order], value[order]
    gaps = np.diff(sorted_value)[(np.diff(at) == 0) & (np.diff(sorted_value) > 0)]
    if not len(gaps):
        return np.zeros(len(value), np.bool_)
    reads = _Sorted(at, sorted_value, shape, 1.0 if are_codes else float(gaps.min()))
    median, deviation = reads.quantile(0.5), reads.deviation()
    if are_codes:
        for end, side in ((0.0, 1), (float(value.max()), -1)):
            reads.behind_end(end, side, median, deviation)
    most = MOST_DEVIATIONS * _with_neighbours(deviation.reshape(shape)) + reads.step / 2
    wild: NDArray[np.bool_] = np.abs(value - median[count]) > most[count]
    return wild


class _Sorted:
    """Reads sorted by count and value; equal values are spread evenly over a step, so that quantiles lie between."""

    def __init__(self, at: NDArray[np.int64], value: Array, shape: tuple[int, int], step: float) -> None:
        self.at, self.value, self.step = at, value, step
        self.number = np.bincount(at, minlength=shape[0] * shape[1])
        self._first = np.cumsum(self.number) - self.number
        new = np.concatenate([[True], (np.diff(value) != 0) | (np.diff(at) != 0)])
        group = np.cumsum(new) - 1
        rank = np.arange(len(value)) - np.flatnonzero(new)[group]
        self._spread = value + step * ((rank + 0.5) / np.bincount(group)[group] - 0.5)

    def quantile(self, share: Array | float) -> Array:
        """A quantile of each count, linear between reads."""
        at = share * (self.number - 1)
        low = np.floor(at).astype(np.int64)
        below, above = (self._spread[self._first + each] for each in (low, np.minimum(low + 1, self.number - 1)))
        between: Array = below + (at - low) * (above - below)
        return between

    def deviation(self) -> Array:
        """Standard deviation of each count by its quartiles, without those of rounding and of spreading values."""
        wide = (self.quantile(0.75) - self.quantile(0.25)) / _IQR
        found: Array = np.sqrt(np.maximum(wide**2 - self.step**2 / 6, (_LEAST * self.step) ** 2))
        return found

    def behind_end(self, end: float, side: int, median: Array, deviation: Array) -> None:
        """Correct the counts with more than a quarter of their reads at an end of the range; `side` is 1 for the lower
        end. A deviation that too few other reads tell becomes NaN."""
        share = np.bincount(self.at, self.value == end, minlength=len(self.number)) / self.number
        hidden = share > 0.25
        few = hidden & ((1 - share) * self.number < _FEWEST)
        share = np.where(hidden & ~few, share, 0.5)
        half = (1 + share) / 2
        middle = self.quantile(half if side > 0 else 1 - half)
        sigma = np.abs(middle - (end + side * 0.5)) / (ndtri(half) - ndtri(share))
        median[hidden] = (end + side * (0.5 - ndtri(share) * sigma))[hidden]
        deviation[hidden] = np.where(few, np.nan, sigma)[hidden]
        median[few] = end


def _with_neighbours(deviation: Array) -> Array:
    """The median of each count's neighbours, or its geometric mean with the count's own deviation if this is larger; of
    an unknown deviation the largest of these, because noise falls with the count. # (converters, counts) to (places,)
    """
    padded = np.pad(deviation, ((0, 0), (_NEIGHBOURS, _NEIGHBOURS)), constant_values=np.nan)
    windows = np.ma.masked_invalid(sliding_window_view(padded, 2 * _NEIGHBOURS + 1, axis=1))
    around = np.where(np.isnan(deviation), windows.max(-1).filled(np.inf), np.ma.median(windows, -1).filled(np.inf))
    larger: Array = np.fmax(np.sqrt(deviation * around), around).ravel()
    return larger
