"""Mean and standard deviation of the error that a macro's conversions add to each output.

The count of a conversion is the overlap of a weight digit and an input digit over the rows of a tile. The sums of both
digits do not fix the count, but they fix its distribution. The column's error moments, averaged over this distribution,
are a table of the two sums. Such tables are smooth, so a few terms ``sum_k f_k(input) g_k(weight)`` approximate them,
and the sum over all cycles of a layer becomes one small matrix product.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, Transfer
from asim_lightning.engine.digit_sums import Bits, Table, input_digit_sums, table_sums, weight_digit_sums
from asim_lightning.engine.moments import error_moments
from asim_lightning.engine.overlap import Overlap
from asim_lightning.engine.product import Product
from asim_lightning.engine.torch_modes import exact_float32

_MOST_TERMS = 6
_TOLERANCE = 1e-2
"""Terms below this share of the largest variance, or half of this share of the largest deviation, are left out."""


def expected_error(product: Product, transfer: Transfer, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over reads of ``run(product, transfer, x, w, noise) - product(x, w)``, in counts.

    The errors of conversions are independent: ``mean = sum sign 2^shift m``, ``deviation^2 = sum 4^shift v``, with m
    and v the column's expected error moments. Cells differ from chip to chip, but add no error from read to read.

    Args:
        x: Integers, float32. # (batch, *inputs)
        w: Integers, float32. # (*weight), or (batch, *weight) if the product says so

    Returns:
        float32; height and width of a convolution are one dimension. # (batch, *outputs) each
    """
    found = product.geometry(x, w)
    tiles = found.tiles(transfer.macro.rows)
    by_rows: dict[int, list[int]] = {}
    for number, tile in enumerate(tiles):
        by_rows.setdefault(found.rows_of(tile), []).append(number)
    # terms of the input side and the weight side, for the mean and for the variance: in the end one product each
    sides: tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]] = ([], [])
    with exact_float32(x.device.type):
        for block in _blocks(transfer):
            inputs = input_digit_sums(product, tiles, x, w, block.inputs)
            weights = weight_digit_sums(product, tiles, w, block.weights)
            for rows, chosen in by_rows.items():
                for moment, tables in enumerate(_tables(transfer, block.cycle, rows)):
                    if tables is not None:
                        sides[moment].append(_terms(product, block, moment, tables, inputs, weights, chosen))
        mean, variance = (_summed(product, terms, x) for terms in sides)
    return mean, variance.clamp_min_(0.0).sqrt_()


@dataclass(frozen=True)
class _Block:
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
def _blocks(transfer: Transfer) -> tuple[_Block, ...]:
    found: list[_Block] = []
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
            block = _Block(
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


@lru_cache(maxsize=256)
def _tables(transfer: Transfer, cycle: Cycle, rows: int) -> tuple[tuple[Table, Table] | None, ...]:
    """Tables of the error's mean and variance over input and weight sums; None if it is 0."""
    counts, mean, variance = error_moments(transfer, cycle)
    overlap = Overlap(
        rows,
        2 ** (len(cycle.input_bits) - cycle.input_signed) - 1,
        2 ** (len(cycle.weight_bits) - cycle.weight_signed) - 1,
        cycle.input_signed,
        cycle.weight_signed,
    )
    means, variances = overlap.average(counts, torch.stack([mean, variance]))
    deviation = float(torch.linalg.matrix_norm(variances.sqrt(), 2))
    # a mean that noise hides needs no term
    least = 0.5 * _TOLERANCE * deviation, _TOLERANCE * float(torch.linalg.matrix_norm(variances, 2))
    return _split(overlap, means, least[0]), _split(overlap, variances, least[1])


def _split(overlap: Overlap, surface: Tensor, least: float) -> tuple[Table, Table] | None:
    """A surface over (input sum, weight sum) as a sum of products ``f(input sum) g(weight sum)``, without products
    below `least`."""
    if float(surface.abs().max()) < 1e-6:
        return None
    left, values, right = torch.linalg.svd(surface)
    terms = min(_MOST_TERMS, int((values > least).sum()))
    if terms == 0:
        return None
    root = values[:terms].sqrt()
    return (
        Table.interpolated(overlap.input_nodes(), left[:, :terms] * root),
        Table.interpolated(overlap.weight_nodes(), right[:terms].T * root),
    )


def _terms(
    product: Product,
    block: _Block,
    moment: int,
    tables: tuple[Table, Table],
    inputs: Tensor,
    weights: Tensor,
    tiles: list[int],
) -> tuple[Tensor, Tensor]:
    """Functions of the input sums and of the weight sums; their products, summed over tiles and terms, are a moment.

    Returns:
        # (batch, groups, positions, terms) and (groups, outputs of a group, terms), or (batch, ..., m, terms) and
        # (..., n, terms)
    """
    of_inputs, of_weights = block.factors(moment)
    b = _leading(weights[..., tiles, :], tables[1], of_weights)
    if product.is_image:
        batch, groups = inputs.shape[:2]
        chosen = inputs[:, :, tiles].flatten(0, 1)  # (batch * groups, tiles, digits, positions)
        a = table_sums(chosen, tables[0], of_inputs).flatten(2)  # (.., positions, tiles * terms)
        return a.view(batch, groups, *a.shape[1:]), b.view(groups, -1, b.shape[-1])
    return _leading(inputs[..., tiles, :], tables[0], of_inputs), b


def _summed(product: Product, terms: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    """Sum over all terms. # (batch, *outputs); without terms a single 0"""
    if not terms:
        return torch.zeros((), dtype=torch.float32, device=x.device)
    a, b = (torch.cat(side, -1) if len(side) > 1 else side[0] for side in zip(*terms, strict=True))
    if product.is_image:
        return (b @ a.transpose(-1, -2)).flatten(1, 2)  # (batch, groups * outputs of a group, positions)
    if product.batched_weight or x.device.type == "mps":
        return a @ b.transpose(-1, -2)
    # the rows of all samples are one product, and in float32 its last bit depends on the number of rows
    return (a.double() @ b.double().transpose(-1, -2)).float()


def _leading(sums: Tensor, table: Table, factors: list[float]) -> Tensor:
    """Table sums of (..., tiles, digits). # (..., tiles * terms)"""
    flat = table_sums(sums.flatten(0, -3).unsqueeze(-1), table, factors)
    return flat.view(*sums.shape[:-2], -1)
