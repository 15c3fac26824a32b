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
    size = 2.0 ** torch.arange(last - first + 1).view(-1, *[1] * len(shape))
    if transfer.macro.static.cell_percent:
        cells = 1.0 + (transfer.column.cell_sigma / 100.0) * normal / size.sqrt()
    else:
        cells = 1.0 + (transfer.column.cell_sigma / 100.0) * normal
    return torch.round(cells / GRID) * GRID * size


def charge_gains(
    product: Product, tile: Tile, number: int, cycle: Cycle, transfer: Transfer, chip: Chip, shape: torch.Size
) -> Tensor | None:
    """What a tile's counts are multiplied by, as a column's charge is shared among all its cells: ``N / sum(c)`` for a
    ratiometric reference, ``N (1 + rho) / (sum(c) + N rho)`` for an absolute one; None where it is 1.

    N counts physical rows (weight-parallel: units of all bits), so that cells of rows that the tile leaves unused
    share, too: their sum is ``n + s sqrt(n) z``.

    Args:
        product: The linear map.
        tile: The tile.
        number: Its number.
        cycle: The cycle.
        transfer: The macro's schedule and column.
        chip: The chip.
        shape: Shape of the weights of a sample. # (*weight)

    Returns:
        float32; broadcasts against counts. # (*outputs), of one sample
    """
    static = transfer.macro.static
    if static.reference == "summing" or not (static.cell_percent and cycle.analog):
        return None
    cells = _cells(shape, cycle, transfer, chip).double().sum(0)  # (*weight)
    if isinstance(product, Conv2dProduct):
        held = cells.flatten(2)[:, tile.channels.start : tile.channels.stop]
        held = held if tile.kernel is None else held[..., tile.kernel]
        used, total = held[0].numel(), held.flatten(1).sum(1)  # (outputs,)
    else:
        held = cells[..., tile.channels.start : tile.channels.stop]
        used, total = held.shape[-1], held.sum(-1)  # (..., outputs)
    units = float(2 ** len(cycle.weight_bits) - 1)
    rows, idle = transfer.macro.rows, transfer.macro.rows - used
    line = number * transfer.macro.weight_bits + cycle.weight_bits[0]
    rest = chip.normals("idle cells", total.numel(), range(line, line + 1))[0].view(total.shape).double()
    spread = transfer.column.cell_sigma / 100.0
    total = total + idle * units + spread * math.sqrt(idle * units) * rest
    n = rows * units
    gain = (n * (1 + static.parasitics) / (total + n * static.parasitics)).float()
    if isinstance(product, Conv2dProduct):
        return gain[:, None, None]
    return gain[..., None, :] if product.batched_weight else gain
