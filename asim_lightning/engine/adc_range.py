"""How well an ADC converts the counts that it meets, and the range with the least error."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from asim_lightning.circuit import Column, Cycle, Transfer, build_column
from asim_lightning.circuit.adapters import in_range
from asim_lightning.circuit.voltage import with_adc_range
from asim_lightning.engine.moments import moments_at

_MOST_STEPS, _MOST_LOWS = 32, 256
"""Most values in a first search, and most between the best value and its neighbours."""
_ALIKE = 0.01
"""Ranges count as equal if their error is larger than the least error by at most this share."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often each count of a cycle occurs.

    Attributes:
        counts: Counts that occur, ascending, float64. # (counts,)
        numbers: How often each count occurs, float64. # (counts,)
    """

    counts: Tensor
    numbers: Tensor

    @property
    def shares(self) -> Tensor:
        """Share of each count. # (counts,)"""
        return self.numbers / self.numbers.sum()

    @property
    def variance(self) -> float:
        """Variance of the counts."""
        mean = (self.shares * self.counts).sum()
        return float((self.shares * (self.counts - mean).square()).sum())


def together(*histograms: Histogram) -> Histogram:
    """One histogram of the counts of several."""
    counts, places = torch.cat([each.counts for each in histograms]).unique(return_inverse=True)
    numbers = torch.cat([each.numbers for each in histograms])
    return Histogram(counts, torch.zeros_like(counts).index_add_(0, places, numbers))


@dataclass(frozen=True)
class Quality:
    """How well the counts of one or several cycles survive their conversion.

    Attributes:
        variance: Variance of the counts: the signal.
        mse: Mean square of (result of a conversion - count): bias, rounding, clipping and noise.
        clipped: Share of counts whose level is more than half an LSB outside the ADC's codes.
        wrong: Probability that noise changes the code of a conversion, without votes.
    """

    variance: float
    mse: float
    clipped: float
    wrong: float

    @property
    def csnr(self) -> float:
        """Compute signal-to-noise ratio, dB: ``10 log10(variance / mse)``; infinite if nothing is lost."""
        if self.mse <= 0.0:
            return math.inf
        return 10.0 * math.log10(self.variance / self.mse) if self.variance > 0.0 else -math.inf


def qualities(circuit: Transfer, histograms: Sequence[Histogram]) -> list[Quality]:
    """Quality of each cycle of a schedule for its counts."""
    return [_quality(circuit.column, c, h) for c, h in zip(circuit.cycles, histograms, strict=True)]


def overall(circuit: Transfer, found: Sequence[Quality]) -> Quality:
    """Quality of all cycles together: squares weighted with ``4^shift``, as cycles add to an output; shares averaged
    over the converted cycles."""
    weights = [4.0**cycle.shift for cycle in circuit.cycles]
    converted = [each for each, cycle in zip(found, circuit.cycles, strict=True) if cycle.converted]
    return Quality(
        sum(w * each.variance for w, each in zip(weights, found, strict=True)),
        sum(w * each.mse for w, each in zip(weights, found, strict=True)),
        sum(each.clipped for each in converted) / max(1, len(converted)),
        sum(each.wrong for each in converted) / max(1, len(converted)),
    )


def _quality(column: Column, cycle: Cycle, histogram: Histogram) -> Quality:
    if not cycle.converted:
        return Quality(histogram.variance, 0.0, 0.0, 0.0)
    mean, variance = moments_at(column, cycle, histogram.counts)
    mse = float((histogram.shares * (mean.square() + variance)).sum())
    if cycle.top_code is None:
        return Quality(histogram.variance, mse, 0.0, 0.0)
    top, low = cycle.top_code, -cycle.top_code if cycle.signed else 0
    level = column.level(histogram.counts.float(), cycle).double()
    code = level.round()
    clipped = float((histogram.shares * ((code < low) | (code > top))).sum())
    wrong = 0.0
    if cycle.analog:
        sigma = column.sigma(histogram.counts.float(), cycle).double().expand_as(level).clamp_min(1e-30)
        code, root = code.clamp(low, top), math.sqrt(2.0)
        up = torch.erfc((code + 0.5 - level) / (sigma * root)) / 2 * (code < top)
        down = torch.erfc((level - code + 0.5) / (sigma * root)) / 2 * (code > low)
        wrong = float((histogram.shares * (up + down)).sum())
    return Quality(histogram.variance, mse, clipped, wrong)


def fit_range(circuit: Transfer, histograms: Sequence[Histogram]) -> tuple[int, int]:
    """The range of an ADC, the same for all cycles, with the least ``sum of 4^shift * mean square error``.

    All ranges have the same noise in volts.

    Args:
        circuit: A macro with an ADC, whose range may be set already.
        histograms: Counts that each cycle meets.

    Returns:
        Counts an LSB, and the count of code 0. The count of code 0 is 0 if this raises the error by less than 1 %
        (0.04 dB), because only then can conversions be exact and their simulation fast.

    Raises:
        ValueError: The macro has no ADC with a settable range, or no cycle is converted.
    """
    macro = circuit.macro
    top_code = macro.with_fields(adc_step=1, adc_low=0).top_code or 1  # raises if the macro can have no range
    kinds = _kinds(circuit, histograms)
    if not kinds:
        raise ValueError("all cycles are digital, so there is no ADC range to fit")
    largest = max(int(histogram.counts.abs().max()) for _, histogram in kinds)
    search = _Search(circuit, kinds, 0 if macro.weight_parallel else largest)
    widest = max(1, -(-largest // top_code))
    steps = _spread(1, widest, _MOST_STEPS)
    for step in steps:
        search.try_lows(step)
    place = steps.index(search.best[0])
    for step in _spread(steps[max(0, place - 1)], steps[min(len(steps) - 1, place + 1)], _MOST_STEPS):
        search.try_lows(step)
    return search.best


def _kinds(circuit: Transfer, histograms: Sequence[Histogram]) -> list[tuple[Cycle, Histogram]]:
    """Kinds of cycles that convert alike, and their counts together, weighted with ``4^shift`` of each conversion."""
    found: dict[Cycle, list[Histogram]] = {}
    for cycle, histogram in zip(circuit.cycles, histograms, strict=True):
        if cycle.converted:
            kind = replace(cycle, weight_bits=(), input_bits=(), sign=1, shift=0)
            found.setdefault(kind, []).append(Histogram(histogram.counts, histogram.shares * 4.0**cycle.shift))
    return [(kind, together(*parts)) for kind, parts in found.items()]


def _spread(low: int, high: int, most: int) -> list[int]:
    """All whole numbers from low to high, or at most `most` of them, evenly spread by their ratio."""
    if high - low < most:
        return list(range(low, high + 1))
    return sorted({round(low * (high / low) ** (k / (most - 1))) for k in range(most)})


class _Search:
    """Errors of ranges (step, low) that were tried."""

    def __init__(self, circuit: Transfer, kinds: list[tuple[Cycle, Histogram]], largest_low: int) -> None:
        self.circuit, self.kinds, self.largest_low = circuit, kinds, largest_low
        self.tried: dict[tuple[int, int], float] = {}

    @property
    def best(self) -> tuple[int, int]:
        least = min(self.tried.values())
        near = [pair for pair, error in self.tried.items() if error <= least * (1.0 + _ALIKE)]
        return min(near, key=lambda pair: (pair[1] > 0, self.tried[pair]))

    def try_lows(self, step: int) -> None:
        stride = max(1, self.largest_low // _MOST_LOWS)
        found = self._try(step, range(0, self.largest_low + 1, stride))
        if stride > 1:
            self._try(step, range(max(0, found - stride), min(self.largest_low, found + stride) + 1))

    def _try(self, step: int, lows: range) -> int:
        least, found = math.inf, 0
        for low in lows:
            # the error below the range is at least this, and grows with low
            if self._lost_below(low) > min(self.tried.values(), default=math.inf):
                break
            if (step, low) not in self.tried:
                self.tried[step, low] = self._error(step, low)
            if self.tried[step, low] < least:
                least, found = self.tried[step, low], low
        return found

    def _lost_below(self, low: int) -> float:
        lost = ((h.numbers * (low - h.counts).clamp_min(0.0).square()).sum() for _, h in self.kinds)
        return float(sum(lost)) if low else 0.0

    def _error(self, step: int, low: int) -> float:
        column = in_range(build_column(with_adc_range(self.circuit.macro, self.circuit.signed_input, step, low)))
        total = 0.0
        for cycle, histogram in self.kinds:
            mean, variance = moments_at(column, replace(cycle, adc_step=step, adc_low=low), histogram.counts)
            total += float((histogram.numbers * (mean.square() + variance)).sum())
        return total
