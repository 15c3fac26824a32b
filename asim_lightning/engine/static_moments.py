"""Errors of a macro's conversions over a sample of its converters and over its cells.

A converter errs alike in all cycles: its errors add before they are squared. `ErrorsOfKind.alike` therefore splits the
errors of all converters at all counts into a few functions of the count, each times a number of the converter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, Transfer
from asim_lightning.circuit.columns import possible_counts
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.converters import OutputConverters, inl_at
from asim_lightning.engine.chips.effects import converters_of
from asim_lightning.engine.chips.places import Places
from asim_lightning.engine.moments import converted, passed
from asim_lightning.engine.product import MatmulProduct

_MOST_VALUES = 2**20
"""Converters times counts of a sample."""
_MOST_CONVERTERS, _FEWEST_CONVERTERS = 1024, 256
_MOST_COMPONENTS = 16
_REST = 1e-6
"""Share of the variance over converters that components may leave out."""


@dataclass(frozen=True, eq=False)
class ErrorsOfKind:
    """Errors of the conversions of a kind of cycles, in counts, float64.

    Attributes:
        counts: Counts. # (counts,)
        mean: Mean over reads, converters and cells. # (counts,)
        square: Mean square. # (counts,)
        alike: Errors that a converter makes in all its cycles: an error is ``mean + sum_k r_k alike_k``, with
            independent numbers r_k of the converter, of mean 0 and variance 1. # (components, counts)
        cells: Variance of the count over the cells, and the part of the error's variance that is proportional to it.
            # (2, counts), or (0, counts) if cells are equal
        driven: Numbers of driven rows, ascending, if the column depends on them. The last dimension of all other fields
            but `counts` then has all counts for the first number, all for the second one, and so on; see `at`.
            # (numbers,)
    """

    counts: Tensor
    mean: Tensor
    square: Tensor
    alike: Tensor
    cells: Tensor
    driven: Tensor | None = None

    def at(self, place: int) -> "ErrorsOfKind":
        """The errors for one of the numbers of driven rows, by its place."""
        mean, square, alike, cells = (
            each.unflatten(-1, (-1, len(self.counts)))[..., place, :]
            for each in (self.mean, self.square, self.alike, self.cells)
        )
        return ErrorsOfKind(self.counts, mean, square, alike, cells)


def is_static(transfer: Transfer) -> bool:
    """Whether converters or cells of a macro differ."""
    return transfer.converters_differ or transfer.column.curves > 1 or transfer.column.cell_sigma > 0


def errors_of_kinds(
    transfer: Transfer, kinds: Sequence[Cycle], outputs: int, driven: Sequence[Tensor] = ()
) -> list[ErrorsOfKind]:
    """Errors of kinds of cycles, over the same converters.

    Args:
        kinds: Cycles that are converted.
        outputs: Outputs of a layer; a column's own pattern is taken over their converters.
        driven: Numbers of driven rows for each kind, if the column depends on them.
    """
    counts, numbers = [possible_counts(cycle) for cycle in kinds], [len(each) for each in driven] or [1] * len(kinds)
    pairs = [len(each) * number for each, number in zip(counts, numbers, strict=True)]
    most = max(_FEWEST_CONVERTERS, min(_MOST_CONVERTERS, _MOST_VALUES // max(pairs)))
    sample = _Sample.of(transfer, outputs, most)
    # evenly spaced counts if there are too many
    counts = [
        each[:: -(-number * len(sample.curves) // _MOST_VALUES)].contiguous()
        for each, number in zip(counts, pairs, strict=True)
    ]
    every: Sequence[Tensor | None] = driven or [None] * len(kinds)
    parts = [_errors(transfer, sample, *each) for each in zip(kinds, counts, every, strict=True)]
    together = torch.cat([errors - errors.mean(0) for errors, _, _ in parts], 1)
    _, values, functions = torch.linalg.svd(together, full_matrices=False)
    shares = values.square() / values.square().sum().clamp_min(1e-30)
    needed = 0 if float(values[0]) < 1e-9 else int((shares.cumsum(0) < 1.0 - _REST).sum()) + 1
    alike = (functions * values[:, None] / len(together) ** 0.5)[: min(needed, _MOST_COMPONENTS)]
    found = []
    of_kinds = alike.split([len(variance) for _, variance, _ in parts], 1)
    for each, (errors, variance, cells), its, rows in zip(counts, parts, of_kinds, every, strict=True):
        found.append(ErrorsOfKind(each, errors.mean(0), errors.square().mean(0) + variance, its, cells, rows))
    return found


@dataclass(frozen=True, eq=False)
class _Sample:
    """Converters of a macro: their errors, and the numbers of their curves. # (converters, 1)"""

    converters: OutputConverters
    curves: Tensor

    @classmethod
    def of(cls, transfer: Transfer, outputs: int, most: int) -> "_Sample":
        """At most so many converters of the outputs, of as many tiles as are needed; one if all are equal."""
        macro, column = transfer.macro, transfer.column
        if not transfer.converters_differ and column.curves == 1:
            return cls(OutputConverters(), torch.zeros(1, 1, dtype=torch.int64, device="cpu"))
        bits = 1 if macro.weight_parallel else macro.weight_bits
        tiles = -(-most * macro.static.columns_per_adc // (outputs * bits))
        shape, product = torch.Size((outputs, tiles * macro.rows)), MatmulProduct()
        places = Places(Chip(layer="estimated"), product, transfer, shape)
        own = converters_of(places.chip, product, transfer, shape)
        numbers, first = places.index.flatten().unique(return_inverse=True)
        chosen = torch.linspace(
            0, len(numbers) - 1, min(most // 2, len(numbers)), dtype=torch.float64, device="cpu"
        ).long()
        curve = torch.zeros_like(numbers).scatter_(
            0, first, torch.arange(first.numel(), device="cpu") % (outputs * bits)
        )
        found = OutputConverters() if own is None else own.at(numbers[chosen][:, None])
        if macro.converters_differ_by_chip and not column.converters_differ:
            # each draw and its mirror image, so that their mean is that of all chips
            found, curve = _with_mirrored(found, drawn_inl=macro.static.inl_table is None), curve.repeat(2)
            chosen = torch.cat((chosen, chosen + len(numbers)))
        return cls(found, curve[chosen][:, None] % column.curves)

    def inl(self, codes: int) -> Tensor | None:
        """INL by code, counted from the lowest, float64. # (converters, codes)"""
        if self.converters.inl is None:
            return None
        number, tables = self.converters.inl
        return inl_at(number, tables, torch.arange(codes, device="cpu")).double()


def _with_mirrored(given: OutputConverters, drawn_inl: bool) -> OutputConverters:
    """Converters, and further ones with the opposite errors; an INL that is not drawn stays. # (2 * converters, 1)"""
    gain, offset, inl = given.gain, given.offset, given.inl
    gain = None if gain is None else torch.cat((gain, 2.0 - gain))
    offset = None if offset is None else torch.cat((offset, -offset))
    if inl is not None:
        number, tables = inl
        second = number + len(tables) if drawn_inl else number
        inl = torch.cat((number, second)), torch.cat((tables, -tables)) if drawn_inl else tables
    return OutputConverters(gain, offset, inl)


def _errors(
    transfer: Transfer, sample: _Sample, cycle: Cycle, counts: Tensor, driven: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean error of each converter at each count (and number of driven rows, if they matter), its variance over reads
    and cells averaged over converters, and `ErrorsOfKind.cells`. # (converters, counts), (counts,) and (2, counts)
    """
    column, rule, inl = transfer.column, transfer.macro.vote, sample.inl(transfer.macro.signed_codes)
    rows = None if driven is None else driven.float().repeat_interleave(len(counts))
    counts = counts if driven is None else counts.repeat(len(driven))

    def codes_of(counts: Tensor) -> tuple[Tensor, Tensor]:
        if rows is None:
            return column.of_curves(sample.curves, counts.float(), cycle)
        level, sigma = column.of_driven(rows, counts.float(), cycle)
        return level.nan_to_num(), sigma.nan_to_num()  # some counts are not possible with so few rows

    def level_of(counts: Tensor) -> Tensor:
        level = sample.converters.level(codes_of(counts)[0])
        return level.double().expand(len(sample.curves), len(counts)).contiguous()

    level, sigma = level_of(counts), counts.new_zeros(len(sample.curves), len(counts))
    if cycle.analog:
        sigma = codes_of(counts)[1].double().clamp_min(0.0).expand_as(level).contiguous()
    if not (column.cell_sigma and cycle.analog):
        mean, variance = converted(level, sigma, cycle, rule, inl)
        return mean - counts, variance.mean(0), counts.new_zeros(0, len(counts))
    by_cells = _cell_variance(transfer, cycle, counts)
    moved = (level_of(counts + by_cells.sqrt()) - level_of(counts - by_cells.sqrt())) / 2.0
    smeared = torch.hypot(sigma, moved)
    mean, variance = converted(level, smeared, cycle, rule, inl)
    share = passed(level, smeared, cycle, inl).square()
    alike = (share * moved.square()).mean(0) * cycle.counts_a_code**2
    return mean - counts, variance.mean(0), torch.stack([by_cells, alike.minimum(variance.mean(0))])


def cell_variance_of_bit(transfer: Transfer, bit: int) -> float:
    """Variance of the content of a weight bit's cell, for cells that differ by 100 %, in nominal cells of the cycle's
    lowest bit."""
    if not transfer.macro.weight_parallel:
        return 1.0
    return 2.0**bit if transfer.macro.static.cell_percent else 4.0**bit


def shared_charge(transfer: Transfer) -> float:
    """Part of a column's squared count, divided by this number, by which the variance over cells is smaller because
    the column's charge is shared; 0 if it is not."""
    static, macro = transfer.macro.static, transfer.macro
    if static.reference == "summing" or not static.cell_percent:
        return 0.0
    units = macro.rows * (2.0**macro.weight_bits - 1.0 if macro.weight_parallel else 1.0)
    rest = 1.0 + static.parasitics
    return (2.0 / rest - 1.0 / rest**2) / units


def _cell_variance(transfer: Transfer, cycle: Cycle, counts: Tensor) -> Tensor:
    """Variance of a count over the cells, for input digits that are evenly distributed over their values."""
    top = 2 ** (len(cycle.input_bits) - cycle.input_signed) - 1
    squares = counts.abs() * (2 * top + 1) / 3.0
    if transfer.macro.weight_parallel:  # a signed count does not tell its squares: those of random weights
        variance = sum(cell_variance_of_bit(transfer, bit) for bit in cycle.weight_bits) / 2.0
        squares = torch.full_like(counts, cycle.largest_count / cycle.full_scale * transfer.macro.rows * variance)
        squares = squares * top * (2 * top + 1) / 6.0
    shared = counts.square() * shared_charge(transfer)
    return (transfer.column.cell_sigma / 100.0) ** 2 * (squares - shared).clamp_min(0.0)
