"""Tables of the errors of a macro's conversions over the sums of an input digit and a weight digit."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from asim_lightning.circuit import Conversion, Cycle, Transfer
from asim_lightning.engine.digit_sums import Bits, Table
from asim_lightning.engine.moments import error_moments
from asim_lightning.engine.overlap import Overlap, nearest, sample_sums
from asim_lightning.engine.static_moments import ErrorsOfKind, errors_of_kinds, is_static

_MOST_TERMS = 6
_TOLERANCE = 1e-2
"""Terms below this share of the largest variance, or half of this share of the largest deviation, are left out."""
_ALIKE_TOLERANCE = 1e-3
"""The same for errors that a converter repeats: the rest counts as independent."""
_NOTHING = 1e-6
"""Moments below this are 0, in counts."""
_MOST_PAIRS = 2**20
"""Most pairs of a count and a number of driven rows whose errors are all computed."""
_OUTPUTS = 64
"""Outputs of the layer whose converters are a sample, unless a column has a pattern of its own."""


@dataclass(frozen=True)
class Block:
    """Cycles that convert alike: each of some input digits meets each of some weight digits."""

    cycle: Cycle
    """One of the cycles, at bit 0 on both sides."""
    inputs: tuple[tuple[Bits, bool], ...]
    weights: tuple[tuple[Bits, bool], ...]
    input_signs: tuple[int, ...]
    weight_signs: tuple[int, ...]

    def factors(self, moment: int) -> tuple[list[float], list[float]]:
        """Factor of each input digit and weight digit in the mean (moment 0) or the variance (1) of the output."""
        sides = ((self.inputs, self.input_signs), (self.weights, self.weight_signs))
        inputs, weights = (
            [(sign if moment == 0 else 2.0 ** bits[0]) * 2.0 ** bits[0] for (bits, _), sign in zip(*side, strict=True)]
            for side in sides
        )
        return inputs, weights


@lru_cache(maxsize=256)
def blocks(transfer: Transfer) -> tuple[Block, ...]:
    """The cycles of a schedule, in blocks."""
    found: list[Block] = []
    by_input: dict[Bits, list[Cycle]] = {}
    for cycle in transfer.cycles:
        by_input.setdefault(cycle.input_bits, []).append(cycle)
    alike: dict[tuple[Cycle, ...], list[Bits]] = {}
    for bits, cycles in by_input.items():
        alike.setdefault(tuple(_kind(cycle) for cycle in cycles), []).append(bits)
    for kinds, groups in alike.items():
        column = by_input[groups[0]]
        for kind in dict.fromkeys(kinds):
            chosen = [cycle for cycle, its in zip(column, kinds, strict=True) if its == kind]
            block = Block(
                kind,
                tuple((bits, kind.input_signed) for bits in groups),
                tuple((cycle.weight_bits, kind.weight_signed) for cycle in chosen),
                # the sign of a cycle is the product of the signs of its two digits
                tuple(by_input[bits][0].sign for bits in groups),
                tuple(cycle.sign * column[0].sign for cycle in chosen),
            )
            found.append(block)
    return tuple(found)


def _kind(cycle: Cycle) -> Cycle:
    """The cycle without bits and sign, which do not change how a count is converted."""
    weight, inputs = (tuple(range(len(bits))) for bits in (cycle.weight_bits, cycle.input_bits))
    return replace(cycle, weight_bits=weight, input_bits=inputs, sign=1, shift=0)


Tables = tuple[Table, Table]
"""A function ``sum_k f_k(input sum) g_k(weight sum)``: tables of all f_k, and of all g_k."""


@dataclass(frozen=True, eq=False)
class ErrorTables:
    """Tables of a block's conversions; None is 0.

    Attributes:
        mean: Mean of the error.
        variance: Variance of the errors that are independent from conversion to conversion.
        errors: Mean error at a count, if its differences from `mean` are not part of the variance.
        driven: Numbers of driven rows, if the column depends on them; `errors` has a column for each.
        alike: Errors that a converter makes in all its cycles: for each r ``sum_k f_k(input) g_kr(weight)``, times a
            number of the converter, of mean 0 and variance 1. The table of the weights has columns (k, r).
        count_by_cells: Variance of the count over cells that differ.
        by_cells: Part of the error's variance that is proportional to it.
        count: Mean of the count, if cells differ.
    """

    mean: Tables | None = None
    variance: Tables | None = None
    errors: Table | None = None
    driven: Tensor | None = None
    alike: Tables | None = None
    count_by_cells: Tables | None = None
    by_cells: Tables | None = None
    count: Tables | None = None


@lru_cache(maxsize=256)
def error_tables(transfer: Transfer, cycle: Cycle, rows: int, outputs: int, together: bool) -> ErrorTables:
    """Tables of a block with a cycle, on tiles of so many rows, in a layer with so many outputs in a group.

    Args:
        together: Whether errors of several weight bits are averaged over counts together: see `ErrorTables.errors`.
    """
    if not cycle.converted:
        return ErrorTables()
    overlap = _overlap(cycle, rows)
    how_kept = zip(transfer.equal_conversions, transfer.cycles, strict=True)
    is_plain = not is_static(transfer) and not transfer.column.depends_on_driven
    if is_plain and all(how is Conversion.EXACT for how, each in how_kept if _kind(each) == cycle):
        counts, mean, variance = error_moments(transfer, cycle)
        means, variances = overlap.average(counts, torch.stack([mean, variance]))
        return ErrorTables(_mean_tables(overlap, means, variances), _variance_tables(overlap, variances))
    own_pattern = transfer.column.converters_differ or transfer.column.curves > 1
    its_rows = rows if transfer.column.depends_on_driven else None
    return _lossy_tables(overlap, _errors(transfer, outputs if own_pattern else _OUTPUTS, its_rows)[cycle], together)


def _overlap(cycle: Cycle, rows: int) -> Overlap:
    return Overlap(
        rows,
        2 ** (len(cycle.input_bits) - cycle.input_signed) - 1,
        2 ** (len(cycle.weight_bits) - cycle.weight_signed) - 1,
        cycle.input_signed,
        cycle.weight_signed,
    )


def _lossy_tables(overlap: Overlap, errors: ErrorsOfKind, together: bool) -> ErrorTables:
    """Tables of conversions whose mean error depends on the count, the converter or the cells. The variance has the
    part of the mean square that no other table has."""
    parts = [1, 1, len(errors.cells), len(errors.alike)]
    if errors.driven is None:
        averages = overlap.average(errors.counts, _functions(errors, together), jagged=True)
    else:
        places = nearest(errors.driven, overlap.driven(overlap.input_nodes())).tolist()
        by_input = torch.stack([_functions(errors.at(place), together) for place in places], 1)
        averages = overlap.average_by_input(errors.counts, by_input, jagged=True)
    (means,), (rest,), cells, alike = averages.split(parts)
    found = ErrorTables(driven=errors.driven)
    if len(cells):
        rest = rest - cells[1]
        count = _in_tables(overlap, overlap.input_nodes()[:, None], overlap.weight_nodes()[:, None] / overlap.rows)
        of_counts, of_errors = (_variance_tables(overlap, each) for each in cells)
        found = replace(found, count_by_cells=of_counts, by_cells=of_errors, count=count)
    if len(alike):
        stacked = alike.transpose(0, 1).flatten(1)  # (input nodes, r * weight nodes)
        left, right = _split(stacked, _ALIKE_TOLERANCE * float(torch.linalg.matrix_norm(stacked, 2)))
        rest = rest - (left @ right.T).unflatten(1, (len(alike), -1)).square().sum(1)
        of_weights = right.unflatten(0, (len(alike), -1)).permute(1, 2, 0).flatten(1)  # (weight nodes, k * r)
        found = replace(found, alike=_in_tables(overlap, left, of_weights))
    mean = _mean_tables(overlap, means, (rest if together else rest - means.square()).clamp_min(0.0))
    if together:
        by_number = errors.mean.unflatten(-1, (-1, len(errors.counts))).T
        found = replace(found, errors=Table.interpolated(errors.counts, by_number))
    elif mean is not None:
        rest = rest - _at_nodes(overlap, mean).square()
    return replace(found, mean=mean, variance=_variance_tables(overlap, rest.clamp_min(0.0)))


def _functions(errors: ErrorsOfKind, together: bool) -> Tensor:
    """Functions of the count that tables have averages of. # (functions, counts)"""
    square = errors.square - errors.mean.square() if together else errors.square
    return torch.cat([torch.stack([errors.mean, square]), errors.cells, errors.alike])


@lru_cache(maxsize=64)
def _errors(transfer: Transfer, outputs: int, rows: int | None) -> dict[Cycle, ErrorsOfKind]:
    """Errors of all kinds of cycles that are converted, with driven rows of tiles of so many rows if they matter."""
    kinds = tuple(dict.fromkeys(block.cycle for block in blocks(transfer) if block.cycle.converted))
    driven = () if rows is None else [_driven(transfer, cycle, rows) for cycle in kinds]
    return dict(zip(kinds, errors_of_kinds(transfer, kinds, outputs, driven), strict=True))


def _driven(transfer: Transfer, cycle: Cycle, rows: int) -> Tensor:
    """Numbers of driven rows at which errors are computed: all, or those of the sums at which averages are."""
    if (rows + 1) * (cycle.largest_count + 1) <= _MOST_PAIRS and not is_static(transfer):
        return torch.arange(rows + 1, dtype=torch.float64, device="cpu")
    overlap = _overlap(cycle, rows)
    sums = overlap.input_nodes() if cycle.input_signed else sample_sums(rows, overlap.input_top, True)
    return overlap.driven(torch.cat((overlap.input_nodes(), sums))).unique()


def _mean_tables(overlap: Overlap, means: Tensor, variances: Tensor) -> Tables | None:
    """Tables of a mean; a mean that noise hides needs no term."""
    least = 0.5 * _TOLERANCE * float(torch.linalg.matrix_norm(variances.sqrt(), 2))
    return None if float(means.abs().max()) < _NOTHING else _in_tables(overlap, *_split(means, least))


def _variance_tables(overlap: Overlap, variances: Tensor) -> Tables | None:
    least = _TOLERANCE * float(torch.linalg.matrix_norm(variances, 2))
    return None if float(variances.abs().max()) < _NOTHING else _in_tables(overlap, *_split(variances, least))


def _split(surface: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """A surface over (input sum, weight sum) as a sum of products ``f(input sum) g(weight sum)``, without products
    below `least`. # (input nodes, terms) and (weight nodes, terms)"""
    left, values, right = torch.linalg.svd(surface)
    terms = min(_MOST_TERMS, int((values > least).sum()))
    root = values[:terms].sqrt()
    return left[:, :terms] * root, right[:terms].T * root


def _in_tables(overlap: Overlap, of_inputs: Tensor, of_weights: Tensor) -> Tables | None:
    """Tables of functions at the nodes; None if there is no function."""
    if not of_inputs.shape[1]:
        return None
    return (
        Table.interpolated(overlap.input_nodes(), of_inputs),
        Table.interpolated(overlap.weight_nodes(), of_weights),
    )


def _at_nodes(overlap: Overlap, tables: Tables) -> Tensor:
    """Values of tables at the nodes, float64. # (input nodes, weight nodes)"""
    sides = zip(tables, (overlap.input_nodes(), overlap.weight_nodes()), strict=True)
    left, right = (table.values[nodes.long() - table.low].double() for table, nodes in sides)
    return left @ right.T
