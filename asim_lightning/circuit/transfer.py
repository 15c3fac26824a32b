"""The conversions of a macro: whether each is noisy, and whether it keeps counts exact, distinct or neither."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from asim_lightning.circuit.column_check import check_functions, check_noise_is_used
from asim_lightning.circuit.column_models import build_column, column_class, with_resolved_arguments
from asim_lightning.circuit.columns import Charge, Column, Current, full_range, in_range
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.schedule import Cycle, schedule
from asim_lightning.circuit.units import is_in_lsb

_LONGEST_TABLE = 2**16


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
    conversions: tuple[Conversion, ...]
    """Exact, distinct or lossy, cycle by cycle."""
    rows_in_use: int | None = None
    """Most rows of a tile that hold weights, if the macro has `adc_step`; None: all."""

    @property
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
        return self.macro.adc_low * sum(c.sign * 2**c.shift for c in self.cycles if c.converted)

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
    # cycles that differ only in sign and shift convert alike
    keys = [(c.full_scale, c.top_code, c.analog, c.converted, c.signed) for c in cycles]
    first = dict(zip(keys, cycles, strict=True))
    if rows_in_use is None:
        column = _checked_column(macro, [full_range(cycle) for cycle in cycles], keys)
    else:  # checked already: fewer rows give no other counts
        column = _transfer(macro, signed_input, kind, None).column  # type: ignore[arg-type]
    noisy = {key: is_noisy(column, cycle) for key, cycle in first.items()}
    kinds = {
        key: Conversion.LOSSY
        if (macro.converters_differ or column.converters_differ or column.curves > 1) and cycle.converted
        else classify(column, cycle)
        for key, cycle in first.items()
    }
    per_cycle = tuple(noisy[k] for k in keys), tuple(kinds[k] for k in keys)
    return Transfer(macro, signed_input, cycles, column, *per_cycle, rows_in_use)


def without_pattern(circuit: Transfer) -> Transfer:
    """The same circuit with its cycles classified as if the column gave all converters one gain and one offset."""
    if not circuit.column.converters_differ or circuit.macro.converters_differ or circuit.column.curves > 1:
        return circuit
    return replace(circuit, conversions=tuple(classify(circuit.column, cycle) for cycle in circuit.cycles))


def _checked_column(macro: MacroConfig, cycles: list[Cycle], keys: Sequence[tuple[object, ...]]) -> Column:
    """The column of a macro, checked over the full range of its cycles; cycles with equal keys convert alike."""
    column = build_column(macro)
    column.check_cycles(cycles)
    if column.converters_differ and macro.top_code is None:
        raise ValueError(f"`macro.adc_bits` must be 1..16 with column {macro.column}, which gives converters an offset")
    for key, cycle in dict(zip(keys, cycles, strict=True)).items():
        counts = possible_counts(cycle).float()
        check_functions(column, [each for each, its in zip(cycles, keys, strict=True) if its == key], counts)
    if macro.adc_step is not None and isinstance(column, Charge) and type(column) not in (Charge, Current):
        for name, value in (("gain", 1.0), ("offset", 0.0)):
            if (given := getattr(column, name)) != value:
                raise ValueError(
                    f"`macro.column_args.{name}` must be {value:g} with `macro.adc_step` and a column derived from "
                    f"another one, got {given!r}"
                )
    own_sigma = type(column).sigma not in (Column.sigma, Current.sigma)
    if own_sigma:
        check_noise_is_used(column, dict(zip(keys, cycles, strict=True)).values())
    if macro.adc_step is not None and own_sigma and any(cycle.full_scale != macro.rows for cycle in cycles):
        for name in ("random_noise", "nonlinear_noise"):
            if is_in_lsb(getattr(macro, name)):
                raise ValueError(
                    f"`macro.{name}` must be in % or mV with `macro.adc_step`, several input bits a cycle and a column "
                    f"with a sigma of its own, got {getattr(macro, name)!r}"
                )
    return in_range(column)


def possible_counts(cycle: Cycle) -> Tensor:
    """Counts that a cycle can meet, float64: all integers, or 65537 evenly spaced integers if there are more."""
    most = cycle.largest_count
    low = -most if cycle.signed else 0
    number = min(most - low, _LONGEST_TABLE) + 1
    return torch.linspace(low, most, number, dtype=torch.float64, device="cpu").round()


def is_noisy(column: Column, cycle: Cycle) -> bool:
    """Whether any count of the cycle is converted with noise."""
    return cycle.analog and bool((column.sigma(possible_counts(cycle).float(), cycle) > 0).any())


def classify(column: Column, cycle: Cycle) -> Conversion:
    """Exact, distinct or lossy, by converting every possible count without noise.

    A cycle is exact if ``code * full_scale == count * top_code``, or ``code * adc_step + adc_low == count``, for
    every count.
    """
    if not cycle.converted:
        return Conversion.EXACT
    span = cycle.largest_count * (2 if cycle.signed else 1)
    levels = None if cycle.top_code is None else cycle.top_code * (2 if cycle.signed else 1)
    cells_differ = cycle.analog and column.cell_sigma > 0  # so that counts are no whole numbers
    if cells_differ or (levels is not None and span > levels):
        return Conversion.LOSSY
    counts = possible_counts(cycle)
    # counts of an ideal converter may exceed the exact range of float32
    levels_out = column.level(counts if cycle.full_scale >= 2**24 else counts.float(), cycle).double()
    if cycle.top_code is None:
        if torch.equal(levels_out, counts):
            return Conversion.EXACT
        return Conversion.DISTINCT if len(levels_out.unique()) == len(counts) else Conversion.LOSSY
    codes = levels_out.round().long().clamp(-cycle.top_code if cycle.signed else 0, cycle.top_code)
    if cycle.adc_step is not None:
        if torch.equal(codes * cycle.adc_step + cycle.adc_low, counts.long()):
            return Conversion.EXACT
    elif torch.equal(codes * cycle.full_scale, counts.long() * cycle.top_code):
        return Conversion.EXACT
    return Conversion.DISTINCT if len(codes.unique()) == len(codes) else Conversion.LOSSY


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
    """`error_probability` count by count, without clamping, float64. # (counts,)"""
    level = column.level(counts, cycle).double().expand_as(counts)
    sigma = column.sigma(counts, cycle).double().expand_as(counts).clamp_min(1e-30)
    above = level.round() + 0.5 - level  # distance to the upper decision threshold, in codes
    root = math.sqrt(2.0)
    return (torch.erfc(above / (sigma * root)) + torch.erfc((1.0 - above) / (sigma * root))) / 2
