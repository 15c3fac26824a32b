"""The cells of a chip: capacitors or currents that differ, and what a column's charge is measured against."""

import math

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, Transfer
from asim_lightning.engine.chip import Chip, physical_shape
from asim_lightning.engine.integer import digits
from asim_lightning.engine.placement import arrays_of, macro_numbers, physical_cells, physical_columns
from asim_lightning.engine.product import Conv2dProduct, Product, Tile

GRID = 2.0**-12
"""Step to which cells are rounded, so that their sums stay exact in float32."""
MOST_CELL = 16.0
"""Largest content of a cell in a file, of a nominal one's."""


def weight_digits(w: Tensor, cycle: Cycle, transfer: Transfer, chip: Chip, batched: bool) -> Tensor:
    """Digits of a cycle's weight bits, float32: integers, or what an analog cycle's cells hold where they differ.

    A 1-cell holds ``c = 1 + s z``, a 0-cell nothing; weight-parallel, bit b's cell has 2^b units and holds
    ``2^b + s 2^(b/2) z`` (with `column_args.cell_sigma`, whose sizes are currents: ``2^b (1 + s z)``). z belongs to
    (chip, layer, cell) and depends on neither sample nor trial.

    Args:
        w: Integers of the weights. # (*weight), or (batch, *weight)
        cycle: The cycle.
        transfer: The macro's schedule and column.
        chip: The chip.
        batched: Whether w has a batch, whose samples are written into the same cells in turn.

    Returns:
        Integers, or multiples of 2^-12. # of the shape of w
    """
    if not (transfer.column.cell_sigma and cycle.analog):
        return digits(w, cycle.weight_bits, cycle.weight_signed)
    integers = w.to(torch.int32)
    shape = w.shape[1:] if batched else w.shape
    cells = _cells(shape, cycle, transfer, chip).to(w.device)
    total = torch.zeros(w.shape, dtype=torch.float32, device=w.device)
    for cell, bit in zip(cells, cycle.weight_bits, strict=True):
        negative = cycle.weight_signed and bit == cycle.weight_bits[-1]
        total += digits(integers, (bit,), False) * (-cell if negative else cell)
    return total


def _cells(shape: torch.Size, cycle: Cycle, transfer: Transfer, chip: Chip) -> Tensor:
    """What each cell holds, in units of the cycle's lowest bit. # (weight bits, *weight)"""
    first, last = cycle.weight_bits[0], cycle.weight_bits[-1]
    size = 2.0 ** torch.arange(last - first + 1, dtype=torch.float32, device="cpu").view(-1, *[1] * len(shape))
    macro, bits = transfer.macro, range(first, last + 1)
    if not macro.static.is_reused:
        return cells_of(chip, transfer, shape, bits) * size
    lines, _ = physical_shape(macro)
    held = cells_of(chip, transfer, shape, range(lines)).flatten(1)
    numbers = [physical_cells(chip.required_product, macro, shape, chip.first_tile, bit) for bit in bits]
    return torch.stack([held[bit if lines > 1 else 0][cell] for bit, cell in zip(bits, numbers, strict=True)]) * size


def cells_of(chip: Chip, transfer: Transfer, shape: torch.Size, bits: range) -> Tensor:
    """What each 1-cell of some weight bits holds, nominal 1: multiples of `GRID`, float32; of macros that layers share
    at all places.

    # (weight bits, *weight), or (bits of a place, macros, rows, columns)
    """
    every = transfer.macro.weight_bits
    if transfer.macro.static.is_reused:
        every, shape = physical_shape(transfer.macro)
    if chip.saved is not None:
        held = chip.saved.tensor("cells", (every, *shape), -MOST_CELL, MOST_CELL)
        cells = 1.0 + chip.spread * (held[bits.start : bits.stop] - 1.0)
    else:
        normal = chip.normals("cells", shape.numel(), bits).view(-1, *shape)
        cells = 1.0 + (transfer.column.cell_sigma / 100.0) * normal
        if transfer.macro.weight_parallel and transfer.macro.static.cell_percent:
            size = 2.0 ** torch.arange(bits.start, bits.stop, dtype=torch.float32, device="cpu")
            cells = 1.0 + (transfer.column.cell_sigma / 100.0) * normal / size.sqrt().view(-1, *[1] * len(shape))
    return torch.round(cells / GRID) * GRID


class ChargeGains:
    """What counts are multiplied by, as a column's charge is shared among all its cells: ``N / sum(c)`` for a
    ratiometric reference, ``N (1 + rho) / (sum(c) + N rho)`` for an absolute one; worked out at first use.

    N counts physical rows (weight-parallel: units of all bits), so that cells of rows that a tile leaves unused share,
    too: their sum is ``n + s sqrt(n) z``.

    Args:
        product: The linear map.
        transfer: The macro's schedule and column.
        chip: The chip.
        shape: Shape of the weights of a sample. # (*weight)
    """

    def __init__(self, product: Product, transfer: Transfer, chip: Chip, shape: torch.Size) -> None:
        self.product, self.transfer, self.chip, self.shape = product, transfer, chip, shape
        self._found: dict[tuple[int, tuple[int, ...]], Tensor] = {}

    def of(self, number: int, tile: Tile, cycle: Cycle) -> Tensor | None:
        """The gains of a tile in a cycle, float32; None where they are 1. # broadcasts against (*outputs)"""
        static = self.transfer.macro.static
        if static.reference == "summing" or not (static.cell_percent and cycle.analog):
            return None
        key = number, cycle.weight_bits
        if key not in self._found:
            self._found[key] = self._gains(number, tile, cycle)
        return self._found[key]

    def idle_cells(self, number: int, bit: int, idle: float, shape: torch.Size) -> Tensor:
        """What the cells of a tile's columns that no weight uses hold beside their nominal sum, float64. # (*columns)

        Args:
            number: Number of the tile.
            bit: Weight bit; of several at once the lowest.
            idle: Their nominal sum.
            shape: Shape of a tile's columns of one bit.
        """
        macro, chip, w = self.transfer.macro, self.chip, torch.empty(self.shape, device="meta")
        if chip.saved is not None:
            lines = len(self.product.tiles(w, macro.rows)), 1 if macro.weight_parallel else macro.weight_bits
            most = MOST_CELL * macro.rows * 2**macro.weight_bits
            return chip.spread * chip.saved.tensor("idle_cells", (*lines, *shape), -most, most)[number, bit]
        line = number * macro.weight_bits + bit
        normal = chip.normals("idle cells", shape.numel(), range(line, line + 1))[0].view(shape).double()
        return self.transfer.column.cell_sigma / 100.0 * math.sqrt(idle) * normal

    def all_idle_cells(self) -> Tensor:
        """`idle_cells` of all tiles and weight bits. # (tiles, weight bits; weight-parallel: 1, *columns)"""
        macro, every = self.transfer.macro, torch.empty(self.shape, device="meta")
        bits, units = (1, 2.0**macro.weight_bits - 1) if macro.weight_parallel else (macro.weight_bits, 1.0)
        found = []
        for number, tile in enumerate(self.product.tiles(every, macro.rows)):
            columns = self._held(every, tile)
            idle = (macro.rows - columns.shape[-1]) * units
            found += [self.idle_cells(number, bit, idle, columns.shape[:-1]) for bit in range(bits)]
        return torch.stack(found).unflatten(0, (-1, bits))

    def _of_whole_columns(self, number: int, bit: int) -> Tensor:
        """Sum over all cells of the columns of shared macros that a tile uses. # (*columns)"""
        macro, lines = self.transfer.macro, physical_shape(self.transfer.macro)[0]
        cells = cells_of(self.chip, self.transfer, self.shape, range(lines)).double()
        size = 2.0 ** torch.arange(lines, dtype=torch.float64, device="cpu").view(-1, 1, 1, 1)
        sums = (cells * size).sum((0, 2))  # (macros, columns)
        _, outputs = arrays_of(self.product, self.shape)
        numbers = macro_numbers(self.product, macro, self.shape, self.chip.first_tile)[number]  # (groups or heads,)
        columns = physical_columns(macro, outputs)[:, 0 if macro.weight_parallel else bit]
        found = sums[numbers[:, None], columns]  # (groups or heads, outputs)
        return found.flatten() if isinstance(self.product, Conv2dProduct) else found.view(self.shape[:-1])

    def _held(self, cells: Tensor, tile: Tile) -> Tensor:
        """The cells of a tile that hold weights, column by column. # (*columns, rows)"""
        if not isinstance(self.product, Conv2dProduct):
            return cells[..., tile.channels.start : tile.channels.stop]
        held = cells.flatten(2)[:, tile.channels.start : tile.channels.stop]
        return (held if tile.kernel is None else held[..., tile.kernel]).flatten(1)

    def _gains(self, number: int, tile: Tile, cycle: Cycle) -> Tensor:
        macro, static = self.transfer.macro, self.transfer.macro.static
        units = float(2 ** len(cycle.weight_bits) - 1)
        if static.is_reused:
            total = self._of_whole_columns(number, cycle.weight_bits[0])
        else:
            cells = _cells(self.shape, cycle, self.transfer, self.chip).double().sum(0)  # (*weight)
            held = self._held(cells, tile)
            used, total = held.shape[-1], held.sum(-1)  # (*columns)
            idle = (macro.rows - used) * units
            total = total + idle + self.idle_cells(number, cycle.weight_bits[0], idle, total.shape)
        n = macro.rows * units
        gain = (n * (1 + static.parasitics) / (total + n * static.parasitics)).float()
        if isinstance(self.product, Conv2dProduct):
            return gain[:, None, None]
        return gain[..., None, :] if self.product.batched_weight else gain
