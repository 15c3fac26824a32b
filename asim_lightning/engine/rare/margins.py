"""Converters that differ: bounds of the codes of a macro's cycles, and how often each converter's may be wrong.

If every cycle is exact except for noise and its converters, a code is wrong only if the noise passes the converter's
margin. With gain g, offset o and counts of at most C, the margin is ``1/2 - o - max(g - 1, 0) C`` upward and
``1/2 + o + min(g - 1, 0) C`` downward, minus the largest INL. The ones among the column's weights limit C.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.chips.converters import INL_PARTS, Converters, PlacedConverters, inl_bounds

ALWAYS = 0.5
"""All conversions of a converter are made from this rate on."""
_ALWAYS_HAZARD = 40.0
"""More than ``-log(u)`` of any uniform."""
_ROOT_ERROR = 1e-5
"""Share by which a sigma of the kernels may exceed the column's."""
_PARTS = 8, 4, 2
"""The bounds of counts are the largest count divided by these; rare_job.h has their number as BOUNDS."""
_ROUNDING = 2.0**-21
"""Largest share of the full scale by which float32 rounds a converted value."""


@dataclass(frozen=True)
class Margins:
    """Bounds of the codes of cycles that convert alike: a count c has level ``codes * c + d``, low <= d <= high."""

    sigma: float
    """Largest sigma of any count, in codes; 0 if no cycle is noisy."""
    low: float
    high: float
    codes: float
    """Codes a count."""
    digit: int
    """Largest digit of an input."""
    largest: int
    """Largest count that can occur."""
    of_bits: tuple[int, ...]
    """Cycles that meet each weight bit."""


def margins(transfer: Transfer) -> list[tuple[tuple[int, ...], Margins]]:
    """Numbers of the converted cycles that convert alike, sorted by weight bit, and the bounds of their codes."""
    kinds: dict[tuple[int, bool, bool], list[int]] = {}
    for number, (cycle, noisy) in enumerate(zip(transfer.cycles, transfer.noisy, strict=True)):
        if cycle.converted:
            kinds.setdefault((cycle.full_scale, cycle.analog, noisy), []).append(number)
    found = []
    for (_, _, noisy), numbers in kinds.items():
        cycle, column = transfer.cycles[numbers[0]], transfer.column
        counts = torch.arange(cycle.largest_count + 1, dtype=torch.float32, device="cpu")
        off = column.level(counts, cycle).double() - counts.double() / cycle.counts_a_code
        sigma = float(column.sigma(counts, cycle).max()) * (1 + _ROOT_ERROR) if noisy else 0.0
        digit = max(2 ** len(transfer.cycles[number].input_bits) - 1 for number in numbers)
        bits = [transfer.cycles[number].weight_bits[0] for number in numbers]
        of_bits = tuple(bits.count(bit) for bit in range(transfer.macro.weight_bits))
        ends, codes = (float(off.min()), float(off.max())), 1 / cycle.counts_a_code
        alike = Margins(sigma, *ends, codes, digit, cycle.largest_count, of_bits)
        found.append((tuple(sorted(numbers, key=lambda n: transfer.cycles[n].weight_bits[0])), alike))
    return found


@dataclass(frozen=True, eq=False)
class ConverterRates:
    """How often each converter's conversions are candidates; columns are the columns of all groups or heads.

    Attributes:
        rates: The rate, its part above the upper margin, and for counts up to each bound, bounds of the parts above and
            below (1: every conversion may be wrong); float32. # (kinds, columns, converters, 2 + 2 * bounds)
        hazards: Running sums of ``-log(1 - rate)`` over the conversions of an output, float64.
            # (kinds, columns, converters: tiles * weight bits)
        bounds: Bounds of counts, int64. # (kinds, bounds)
    """

    rates: Tensor
    hazards: Tensor
    bounds: Tensor

    @property
    def rate(self) -> Tensor:
        """The rate. # (kinds, columns, converters)"""
        return self.rates[..., 0]


@dataclass(frozen=True, eq=False)
class Apart:
    """Converters that differ: their errors, by number and by place, and their rates."""

    converters: Converters
    placed: PlacedConverters
    rates: ConverterRates


def converter_rates(kinds: list[Margins], top: int, converters: Converters, ones: Tensor) -> ConverterRates:
    """Rates of converters; `ones` comes from `layout.most_ones`.

    # (tiles, groups or heads, output columns, weight bits)
    """
    inl = None
    if converters.tables is not None and converters.curve is not None:
        inl = inl_bounds(converters.tables, top), converters.curve[converters.index]
    gain, offset = (
        torch.full((), value, dtype=torch.float64, device="cpu") if each is None else each.double()[converters.index]
        for each, value in ((converters.gain, 1.0), (converters.offset, 0.0))
    )

    def tails(kind: Margins, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Rates above and below for counts up to these, float64. # (columns, tiles * weight bits) each"""
        slack, count = (top + 1) * _ROUNDING, counts * kind.codes  # in codes
        slope, a, b = (gain - 1.0) * count, gain * kind.low, gain * kind.high
        above = 0.5 - slack - (slope.clamp_min(0.0) + torch.maximum(a, b) + offset)
        below = 0.5 - slack + (slope.clamp_max(0.0) + torch.minimum(a, b) + offset)
        if inl is not None:
            part = (count * (INL_PARTS / (top + 1))).long().clamp_max(INL_PARTS - 1)
            above, below = above + inl[0][0][part, inl[1]], below - inl[0][1][part, inl[1]]
        # from (tiles, groups, columns, bits)
        placed = (each.expand(converters.index.shape).permute(1, 2, 0, 3) for each in (above, below))
        above, below = (each.flatten(2).flatten(0, 1) for each in placed)
        if not kind.sigma:
            return (above < 0).double(), (below < 0).double()
        up, down = (torch.erfc(each.clamp_min(0.0) / (kind.sigma * math.sqrt(2.0))) / 2 for each in (above, below))
        return up, down

    found = []
    for kind in kinds:
        counts, bounds = ones * kind.digit, [kind.largest // part for part in _PARTS]
        up, down = tails(kind, counts)
        rate = (up + down).float().double()
        always = rate >= ALWAYS
        rate, up = rate.masked_fill(always, 1.0), up.masked_fill(always, 0.5)
        hazard = torch.where(always, _ALWAYS_HAZARD, -torch.log1p(-rate.clamp_max(ALWAYS)))
        of_output = hazard * torch.tensor(kind.of_bits, device="cpu").repeat(len(converters.index))
        bounded = torch.stack([torch.stack(tails(kind, counts.clamp_max(bound)), -1) for bound in bounds], 2)
        bounded = bounded.masked_fill(bounded.amax(-1, keepdim=True) >= ALWAYS, 1.0) * (1 + _ROUNDING)
        own = torch.cat([torch.stack([rate, up], -1), bounded.flatten(-2)], -1)
        found.append((own.float(), of_output.cumsum(1), torch.tensor(bounds)))
    return ConverterRates(*(torch.stack(each).contiguous() for each in zip(*found, strict=True)))
