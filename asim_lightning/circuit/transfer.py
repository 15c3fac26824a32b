"""The conversions of a macro: whether each is noisy, and whether it keeps counts exact, distinct or neither."""

import math
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from asim_lightning.circuit.adapters import possible_pairs
from asim_lightning.circuit.column_models import checked_column, column_class, with_resolved_arguments
from asim_lightning.circuit.columns import Column, possible_counts
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.schedule import Cycle, schedule


class Conversion(str, Enum):
    """How much of a count the noise-free conversion keeps."""

    EXACT = "exact"
    """Every count comes back as it was."""
    DISTINCT = "distinct"
    """Different counts get different codes, but a code's level is not the count."""
    LOSSY = "lossy"
    """Some counts share a code."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, eq=False)
class Transfer:
    """A macro's schedule with its column model: everything that an engine needs to know about the circuit.

    `transfer` returns the same object for the same macro; engines keep tables by this object.
    """

    macro: MacroConfig
    signed_input: bool
    cycles: tuple[Cycle, ...]
    column: Column
    noisy: tuple[bool, ...]
    """Whether a cycle is converted with noise, cycle by cycle."""
    equal_conversions: tuple[Conversion, ...]
    """Exact, distinct or lossy, cycle by cycle, if all converters were equal."""
    rows_in_use: int | None = None
    """Most rows of a tile that hold weights, if the macro has `adc_step`; None: all."""

    @cached_property
    def conversions(self) -> tuple[Conversion, ...]:
        """Exact, distinct or lossy, cycle by cycle: lossy if converters differ."""
        if not self.converters_differ:
            return self.equal_conversions
        return tuple(Conversion.LOSSY if cycle.converted else Conversion.EXACT for cycle in self.cycles)

    @cached_property
    def exact(self) -> bool:
        """Whether the whole schedule returns the integer product itself: no noise, and every cycle exact."""
        return not any(self.noisy) and all(kind is Conversion.EXACT for kind in self.conversions)

    @cached_property
    def converters_differ(self) -> bool:
        """Whether converters have static effects, or a pattern by the column."""
        return self.macro.converters_differ or self.column.converters_differ

    @cached_property
    def differs_by_chip(self) -> bool:
        """Whether cells or converters differ from chip to chip."""
        macro = self.macro
        return bool(self.column.cell_sigma) or macro.converters_differ_by_chip or macro.static.has_stuck_cells

    @property
    def bit_positions(self) -> int:
        """Number of bit positions of a result: anti-diagonals of (weight bit, input group); 1 if weight-parallel."""
        weights, inputs = {each.weight_bits for each in self.cycles}, {each.input_bits for each in self.cycles}
        return len(weights) + len(inputs) - 1

    @property
    def most_votes(self) -> int:
        """Largest number of votes whose codes are summed (mean); 1 for other rules."""
        return max(c.votes for c in self.cycles) if self.macro.vote == "mean" else 1

    @property
    def scale(self) -> int:
        """An output in counts is ``sum of weighted codes * scale / divisor + offset * tiles``."""
        macro = self.macro
        return 1 if macro.top_code is None else macro.rows if macro.adc_step is None else macro.adc_step

    @property
    def divisor(self) -> int:
        """See `scale`."""
        return (1 if self.macro.adc_step is not None else self.macro.top_code or 1) * self.most_votes

    @property
    def offset(self) -> int:
        """Counts that codes of 0 add to an output per tile: ``adc_low * sum of sign * 2^shift`` of converted cycles."""
        return sum(map(self.offset_of, range(self.macro.weight_bits)))

    def offset_of(self, bit: int) -> int:
        """The part of `offset` by the cycles whose lowest weight bit this is."""
        cycles = (c for c in self.cycles if c.converted and c.weight_bits[0] == bit)
        return self.macro.adc_low * sum(c.sign * 2**c.shift for c in cycles)

    def code_weight(self, cycle: Cycle, votes: int | None = None) -> int:
        """Weight of a code in the integer sum of codes, in units of ``scale / divisor`` of an output: sign, binary
        weight and span, times ``most_votes / votes`` if votes are summed."""
        # with `adc_step` a code is worth the same at every full scale
        is_span = cycle.top_code is not None and self.macro.adc_step is None
        span = cycle.full_scale // self.macro.rows if is_span else 1
        return cycle.sign * 2**cycle.shift * span * max(1, self.most_votes // (votes or cycle.votes))

    @property
    def largest_sum(self) -> int:
        """Largest magnitude of a tile's sum of weighted codes, and of its weighted counts."""
        top = self.macro.top_code or 1
        codes = sum(abs(self.code_weight(c, 1)) for c in self.cycles) * top
        return max(codes, sum(2**c.shift * max(c.full_scale, c.largest_count) for c in self.cycles))


def transfer(macro: MacroConfig, signed_input: bool, rows_in_use: int | None = None) -> Transfer:
    """The schedule and column of a macro; each cycle with its noise and its effect on counts.

    Args:
        macro: The macro.
        signed_input: Whether inputs are two's complement.
        rows_in_use: Most rows of a tile that hold weights; None: all. With `adc_step`, a cycle is exact, distinct or
            lossy for the counts of these rows; without it, for all counts of the schedule.

    Raises:
        ValueError: The macro cannot take a signed input (see `schedule`), or its column's level or sigma is not finite
            or depends on more than the count.
    """
    macro = with_resolved_arguments(macro)
    kind, rows = column_class(macro), None if macro.adc_step is None else rows_in_use
    return _transfer(macro, signed_input, kind, rows)  # type: ignore[arg-type]


@lru_cache(maxsize=1024)
def _transfer(macro: MacroConfig, signed_input: bool, kind: type[Column], rows_in_use: int | None) -> Transfer:
    # the class is part of the key: a notebook may define another one under the same import path
    cycles = schedule(macro, signed_input, rows_in_use)
    if rows_in_use is None:
        column = checked_column(macro, cycles)
    else:  # fewer rows give no other counts
        column = _transfer(macro, signed_input, kind, None).column  # type: ignore[arg-type]
    kinds = {cycle.kind: cycle for cycle in cycles}
    noisy = {key: is_noisy(column, cycle) for key, cycle in kinds.items()}
    kept = {key: classify(column, cycle) for key, cycle in kinds.items()}
    of_cycles = tuple(noisy[cycle.kind] for cycle in cycles), tuple(kept[cycle.kind] for cycle in cycles)
    return Transfer(macro, signed_input, cycles, column, *of_cycles, rows_in_use)


def is_noisy(column: Column, cycle: Cycle) -> bool:
    """Whether any count of the cycle is converted with noise."""
    if not cycle.analog:
        return False
    if column.depends_on_driven:
        driven, counts, _ = possible_pairs(cycle, column.macro.rows)
        return bool((column.of_driven(driven, counts, cycle)[1] > 0).any())
    return bool((column.sigma(possible_counts(cycle).float(), cycle) > 0).any())


def classify(column: Column, cycle: Cycle) -> Conversion:
    """Exact, distinct or lossy, by converting every possible count without noise, with equal converters.

    A cycle is exact if ``code * full_scale == count * top_code``, or ``code * adc_step + adc_low == count``, for
    every count. If the column depends on driven rows, this must hold for every number of
    them; otherwise the cycle is lossy.
    """
    if not cycle.converted:
        return Conversion.EXACT
    cells_differ = cycle.analog and column.cell_sigma > 0  # so that counts are no whole numbers
    too_few_codes = cycle.top_code is not None and cycle.largest_count > cycle.top_code
    if cells_differ or column.curves > 1 or too_few_codes:
        return Conversion.LOSSY
    counts = possible_counts(cycle)
    # counts of an ideal converter may exceed the exact range of float32
    given = counts if cycle.full_scale >= 2**24 else counts.float()
    if column.depends_on_driven:
        driven, given, are_all = possible_pairs(cycle, column.macro.rows)
        if not are_all:
            return Conversion.LOSSY
        counts, codes = given.double(), column.of_driven(driven, given, cycle)[0].double()
    else:
        codes = column.level(given, cycle).double()
    if cycle.top_code is None:
        is_exact = torch.equal(codes, counts)
    else:
        codes = codes.round().clamp(-cycle.top_code if cycle.signed else 0, cycle.top_code)
        step, low = (cycle.full_scale, 0) if cycle.adc_step is None else (cycle.adc_step, cycle.adc_low)
        is_exact = torch.equal(codes * step + low, counts * (cycle.top_code if cycle.adc_step is None else 1))
    if is_exact:
        return Conversion.EXACT
    is_shared = column.depends_on_driven or len(codes.unique()) < len(codes)
    return Conversion.LOSSY if is_shared else Conversion.DISTINCT


def error_probability(column: Column, cycle: Cycle) -> float:
    """Probability that a conversion in mid-range gets another code than without noise.

    A level is d below the upper and 1 - d above the lower decision threshold, with noise of sigma LSB:
    ``P = (erfc(d / (sigma sqrt 2)) + erfc((1 - d) / (sigma sqrt 2))) / 2``, averaged over the counts of the middle
    half of the range (with `adc_step`: of the ADC's range). On a code centre ``P = erfc(0.5 / (sigma sqrt 2))``. Votes
    do not count.
    """
    if not cycle.analog or cycle.top_code is None or not is_noisy(column, cycle):
        return 0.0
    counts = possible_counts(cycle)
    if cycle.adc_step is not None:
        level = column.level(counts.float(), cycle)
        within = counts[(level >= (-cycle.top_code if cycle.signed else 0)) & (level <= cycle.top_code)]
        if not len(within):
            return 0.0  # all counts are clipped
        counts = within
    middle = counts[len(counts) // 4 : len(counts) - len(counts) // 4].float()
    return float(error_probabilities(column, cycle, middle).mean())


def error_probabilities(column: Column, cycle: Cycle, counts: Tensor) -> Tensor:
    """`error_probability` count by count, without clamping, float64; the mean over all curves. # (counts,)"""
    curves = torch.arange(column.curves, device=counts.device)[:, None]
    level, sigma = (each.double() for each in column.of_curves(curves, counts, cycle))
    return share_of_other_codes(level, sigma.clamp_min(1e-30)).expand(column.curves, len(counts)).mean(0)


def share_of_other_codes(level: Tensor, sigma: Tensor | float) -> Tensor:
    """Probability that noise of sigma codes makes another code of a level, without clamping."""
    root, above = math.sqrt(2.0) * sigma, level.round() + 0.5 - level  # distance to the upper threshold, in codes
    return (torch.erfc(above / root) + torch.erfc((1.0 - above) / root)) / 2
