"""Mean and standard deviation of the error that a macro's conversions add to each output.

The count of a conversion is the overlap of a weight digit and an input digit over the rows of a tile. The sums of both
digits do not fix the count, but they fix its distribution. The column's error moments, averaged over this distribution,
are a table of the two sums. Such tables are smooth, so a few terms ``sum_k f_k(input) g_k(weight)`` approximate them,
and the sum over all cycles of a layer becomes one small matrix product.

Three kinds of errors are not independent from cycle to cycle:

* Rounding and clipping: the bits of a weight are alike, and so are their counts. `count_sample` adds the errors of all
  bits of a weight for random inputs, and of all bits of signed inputs.
* Converters: a converter errs alike in all its cycles. `static_moments` splits its errors into functions of the count,
  whose averages add over cycles before they are squared.
* Cells: they are the same in all cycles. `weight_errors` has the variance of the exact sums, and the tables have the
  share of it that conversions pass on.

Of a column that depends on driven rows, the errors are those at the driven rows of each sum of an input digit. If a
digit is one bit, its sum is their number, and this is exact. Otherwise it is their expected number: the shares of the
digit's values are taken to fall geometrically. A signed digit (weight-parallel) counts as driven in all rows.

With weight-parallel conversion, sums of signed digits hardly fix the count: if the level is not the count, such as with
a droop or a gain, the deviation is up to nine times too small.

Left out: bits of the weights of products of two activations that are alike, bits of signed inputs that are alike in
static errors, tiles of an output that share converters or cells (placement reuse), a chip in a file (its macro's
spreads count), and that static errors stay from image to image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.places import Places
from asim_lightning.engine.count_sample import (
    magnitude_bits,
    random_inputs,
    random_values,
    variance_of_outputs,
    variance_of_signed,
)
from asim_lightning.engine.digit_sums import Table, input_digit_sums, table_sums, weight_digit_sums
from asim_lightning.engine.error_tables import Block, ErrorTables, Tables, blocks, error_tables
from asim_lightning.engine.product import Product, Tile
from asim_lightning.engine.static_moments import shared_charge
from asim_lightning.engine.stored_weights import StoredBits, Weights
from asim_lightning.engine.torch_modes import exact_float32
from asim_lightning.engine.weight_errors import by_cells, by_stuck_cells

Terms = tuple[Tensor, Tensor]
"""Functions of the inputs and of the weights; their products, summed over the last dimension, are a moment.

# (batch, groups, positions, terms) and (groups, outputs of a group, terms), or (batch, ..., m, terms) and (..., n,
terms)
"""


def expected_error(product: Product, transfer: Transfer, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of ``run(product, transfer, x, w, noise) - product(x, w)``, in counts: over reads,
    over chips, and over the counts that operands with these sums of digits may have.

    The errors of conversions that lose nothing are independent: ``mean = sum sign 2^shift m``, ``deviation^2 = sum
    4^shift v``, with m and v the column's expected error moments. Macros of such conversions have no other terms.

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
    stored = Weights(w).stored(product, transfer.macro)
    held = stored.weights.integers
    # terms by moment: in the end one product each
    sides: dict[str, list[Terms]] = {}
    # errors that converters repeat, and counts that share a charge, in all blocks of the same tiles
    repeated: dict[tuple[str, int], list[Terms]] = {}
    # blocks of signed inputs whose errors are averaged together
    signed: dict[int, list[tuple[Block, ErrorTables]]] = {}
    with exact_float32(x.device.type):
        for block in blocks(transfer):
            inputs = input_digit_sums(product, tiles, x, w, block.inputs)
            weights = weight_digit_sums(product, tiles, held, block.weights)
            for rows, chosen in by_rows.items():
                at = _Tiles(product, transfer, block, inputs, weights, chosen, stored)
                together = len(block.weights) > 1 and not product.batched_weight
                its = error_tables(transfer, block.cycle, rows, found.outputs, together)
                for moment, tables in (
                    ("mean", its.mean), ("variance", its.variance), ("counts", its.count_by_cells),
                    ("errors", its.by_cells),
                ):  # fmt: skip
                    if tables is not None:
                        sides.setdefault(moment, []).append(at.terms(tables, moment == "mean"))
                if its.errors is not None:
                    if transfer.signed_input:
                        signed.setdefault(rows, []).append((block, its))
                    else:
                        its_tiles = [tiles[number] for number in chosen]
                        of_outputs = variance_of_outputs(product, its_tiles, stored.of_tiles(chosen), block, rows, its)
                        top, by_driven = 2 ** len(block.cycle.input_bits) - 1, its.driven is not None
                        at_nodes = random_inputs(rows, top, by_driven).table
                        sides.setdefault("variance", []).append(at.with_weights(at_nodes, of_outputs))
                for moment, tables in (("alike", its.alike), ("charge", its.count)):
                    if tables is not None:
                        repeated.setdefault((moment, rows), []).append(at.repeated(tables))
        for rows, of_blocks in signed.items():
            sides.setdefault("variance", []).append(
                _of_signed(product, transfer, x, stored, tiles, by_rows[rows], of_blocks)
            )
        shared = _shared_converters(product, transfer, w)
        for (moment, _), parts in repeated.items():
            if moment == "alike":
                sides.setdefault("variance", []).append(_squared(product, parts, shared))
            else:
                sides.setdefault("charge", []).append(_squared(product, parts, None))
        mean, variance, *cells = (
            _summed(product, sides.get(moment, []), x) for moment in ("mean", "variance", "counts", "errors", "charge")
        )
        if "counts" in sides:
            variance = variance + _of_cells(product, transfer, x, held, *cells)
        if transfer.macro.static.has_stuck_cells:
            of_mean, of_variance = by_stuck_cells(product, transfer, x, stored)
            mean, variance = mean + _flat(product, of_mean), variance + _flat(product, of_variance)
    return mean, variance.clamp_min_(0.0).sqrt_()


def _of_signed(
    product: Product,
    transfer: Transfer,
    x: Tensor,
    stored: StoredBits,
    tiles: list[Tile],
    chosen: list[int],
    blocks: list[tuple[Block, ErrorTables]],
) -> Terms:
    """Terms of the variance of all errors of signed inputs on chosen tiles, which have the same number of rows."""
    bits, held, w = transfer.macro.input_bits, [tiles[number] for number in chosen], stored.weights.integers
    rows = product.geometry(None, w).rows_of(held[0])
    sizes = input_digit_sums(product, tiles, x.abs(), w, ((magnitude_bits(bits), False),))
    a = _of_inputs(product, sizes, chosen, random_values(rows, bits).table, [1.0])
    b = variance_of_signed(product, held, stored.of_tiles(chosen), blocks, rows, bits)
    return a.flatten(-2), _of_weights(product, b, a)


def _of_cells(
    product: Product, transfer: Transfer, x: Tensor, w: Tensor, of_counts: Tensor, of_errors: Tensor, charge: Tensor
) -> Tensor:
    """Variance by cells that differ: the variance of the exact sums, times the share that conversions pass on."""
    exact = _flat(product, by_cells(product, transfer, x, w))
    exact = (exact - shared_charge(transfer) * charge) * (transfer.column.cell_sigma / 100.0) ** 2
    return exact.clamp_min(0.0) * (of_errors / of_counts.clamp_min(1e-6)).clamp_min(0.0)


def _flat(product: Product, y: Tensor) -> Tensor:
    """Outputs with height and width of a convolution as one dimension."""
    return y.flatten(2) if product.is_image else y


@dataclass(frozen=True, eq=False)
class _Tiles:
    """Digit sums of a block's cycles on tiles with the same number of rows."""

    product: Product
    transfer: Transfer
    block: Block
    inputs: Tensor
    weights: Tensor
    chosen: list[int]
    stored: StoredBits

    def terms(self, tables: Tables, signed: bool) -> Terms:
        """Terms of a moment, summed over tiles; a moment of signed errors has signs, else weights are squared."""
        of_inputs, of_weights = self.block.factors(0 if signed else 1)
        a = _of_inputs(self.product, self.inputs, self.chosen, tables[0], of_inputs)
        sums = self.weights[..., self.chosen, :]
        if signed and self.stored.flips is not None:
            factors = self._signs * torch.tensor(of_weights, device=sums.device)  # (..., tiles, digits)
            b = (tables[1].values.to(sums.device)[sums.long() - tables[1].low] * factors[..., None]).sum(-2)
        else:
            b = _table_sums(sums, tables[1], of_weights)
        return a.flatten(-2), _of_weights(self.product, b, a)

    @property
    def _signs(self) -> Tensor:
        """Factor of the errors of each weight digit. # () or (..., tiles, digits)"""
        return self.stored.of_tiles(self.chosen).signs([bits[0] for bits, _ in self.block.weights])

    def with_weights(self, table: Table, of_weights: Tensor) -> Terms:
        """Terms of a variance with a function of the weights for each function of the inputs.

        # (outputs, tiles, functions)
        """
        a = _of_inputs(self.product, self.inputs, self.chosen, table, self.block.factors(1)[0])
        return a.flatten(-2), _of_weights(self.product, of_weights, a)

    def repeated(self, tables: Tables) -> Terms:
        """Functions of the inputs, and of each weight bit.

        # (..., tiles, functions) and (..., tiles, bits, numbers of a converter, functions)
        """
        of_inputs, of_weights = self.block.factors(0)
        macro, table, functions = self.transfer.macro, tables[1], tables[0].values.shape[1]
        sums = self.weights[..., self.chosen, :]
        values = table.values.to(sums.device)[sums.long() - table.low].unflatten(-1, (functions, -1)).transpose(-1, -2)
        bits = 1 if macro.weight_parallel else macro.weight_bits
        values = values * self._signs[..., None, None]
        placed = values.new_zeros(*sums.shape[:-1], bits, *values.shape[-2:])
        for place, ((lowest, *_), _) in enumerate(self.block.weights):
            placed[..., lowest, :, :] = values[..., place, :, :] * of_weights[place]
        return _of_inputs(self.product, self.inputs, self.chosen, tables[0], of_inputs), placed


def _of_weights(product: Product, functions: Tensor, of_inputs: Tensor) -> Tensor:
    """Functions of the weights of all tiles, in the shape of `Terms`. # (..., tiles, functions)"""
    b = functions.flatten(-2)
    return b.view(of_inputs.shape[1], -1, b.shape[-1]) if product.is_image else b


def _of_inputs(product: Product, inputs: Tensor, chosen: list[int], table: Table, factors: list[float]) -> Tensor:
    """Functions of the inputs on chosen tiles. # (batch, groups, positions, tiles, functions), or (batch, ..., m,
    tiles, functions)"""
    if not product.is_image:
        return _table_sums(inputs[..., chosen, :], table, factors)
    batch, groups = inputs.shape[:2]
    of_tiles = inputs[:, :, chosen].flatten(0, 1)  # (batch * groups, tiles, digits, positions)
    return table_sums(of_tiles, table, factors).unflatten(0, (batch, groups))


def _squared(product: Product, parts: list[Terms], shared: Tensor | None) -> Terms:
    """Terms of the squares of repeated errors: they are added over cycles, and over bits of a shared converter, before
    they are squared; squares are added over converters and tiles."""
    a, b = (torch.cat(side, -1) for side in zip(*parts, strict=True))
    if shared is not None:
        b = torch.einsum(
            "ocb,...otbrf->...otcrf", shared.repeat(len(b) // len(shared) if product.is_image else 1, 1, 1), b
        )
    b = b.flatten(-3, -2)
    pairs = b.transpose(-1, -2) @ b
    i, j = torch.triu_indices(a.shape[-1], a.shape[-1], device=a.device)
    b = (pairs[..., i, j] * (2.0 - (i == j).to(pairs))).flatten(-2)
    return (a[..., i] * a[..., j]).flatten(-2), b.view(a.shape[1], -1, b.shape[-1]) if product.is_image else b


def _shared_converters(product: Product, transfer: Transfer, w: Tensor) -> Tensor | None:
    """Whether converter c of an output converts its weight bit b; None if each bit has its own. # (outputs, c, b)"""
    if transfer.macro.static.columns_per_adc == 1:
        return None
    index = Places(Chip(), product, transfer, product.weight_shape(w)).index[0, 0]
    first = (index[:, :, None] == index[:, None, :]).int().argmax(2)
    return torch.nn.functional.one_hot(first, index.shape[1]).transpose(1, 2).float().to(w.device)


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


def _table_sums(sums: Tensor, table: Table, factors: list[float]) -> Tensor:
    """Table sums of (..., tiles, digits). # (..., tiles, functions)"""
    flat = table_sums(sums.flatten(0, -3).unsqueeze(-1), table, factors)
    return flat.view(*sums.shape[:-1], -1)
