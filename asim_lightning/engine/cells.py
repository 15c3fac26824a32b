"""The cells of a chip: capacitors or currents that differ, and what a column's charge is measured against."""

import math

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, Transfer
from asim_lightning.engine.chip import Chip
from asim_lightning.engine.integer import digits
from asim_lightning.engine.product import Conv2dProduct, Product, Tile

GRID = 2.0**-12
"""Step to which cells are rounded, so that their sums stay exact in float32."""


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
    normal = chip.normals("cells", shape.numel(), range(first, last + 1)).view(-1, *shape)
    size = 2.0 ** torch.arange(last - first + 1, dtype=torch.float32, device="cpu").view(-1, *[1] * len(shape))
    if transfer.macro.static.cell_percent:
        cells = 1.0 + (transfer.column.cell_sigma / 100.0) * normal / size.sqrt()
    else:
        cells = 1.0 + (transfer.column.cell_sigma / 100.0) * normal
    return torch.round(cells / GRID) * GRID * size


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

    def _gains(self, number: int, tile: Tile, cycle: Cycle) -> Tensor:
        macro, static = self.transfer.macro, self.transfer.macro.static
        cells = _cells(self.shape, cycle, self.transfer, self.chip).double().sum(0)  # (*weight)
        if isinstance(self.product, Conv2dProduct):
            held = cells.flatten(2)[:, tile.channels.start : tile.channels.stop]
            held = held if tile.kernel is None else held[..., tile.kernel]
            used, total = held[0].numel(), held.flatten(1).sum(1)  # (outputs,)
        else:
            held = cells[..., tile.channels.start : tile.channels.stop]
            used, total = held.shape[-1], held.sum(-1)  # (..., outputs)
        units = float(2 ** len(cycle.weight_bits) - 1)
        idle = (macro.rows - used) * units
        line = number * macro.weight_bits + cycle.weight_bits[0]
        rest = self.chip.normals("idle cells", total.numel(), range(line, line + 1))[0].view(total.shape).double()
        total = total + idle + self.transfer.column.cell_sigma / 100.0 * math.sqrt(idle) * rest
        n = macro.rows * units
        gain = (n * (1 + static.parasitics) / (total + n * static.parasitics)).float()
        if isinstance(self.product, Conv2dProduct):
            return gain[:, None, None]
        return gain[..., None, :] if self.product.batched_weight else gain
