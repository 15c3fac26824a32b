"""Cells that differ, in the form of the C++ kernels."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.chips.cells import Cells
from asim_lightning.engine.native.structures import GROUP

_ROWS = 16
"""Rows that a kernel looks up at a time."""


@dataclass(frozen=True, eq=False)
class LaidOutCells:
    """Cells as src/conversion_job.h describes them: 2 bytes for each weight bit.

    Attributes:
        fits: Whether the kernels compute them; else the tensors are empty. Cells of more than 8 nominal ones and counts
            of 2^31 steps of `cells.GRID` do not fit.
        units: Contents in steps of `cells.GRID`, int16. # (tiles, groups or heads, outputs, weight bits, rows)
        gain: Gains of counts, float32; None if all are 1. # (tiles, groups or heads, weight bits, output columns)
        bytes: Bytes of the largest sum of four rows.
    """

    fits: bool
    units: Tensor
    gain: Tensor | None = None
    bytes: int = 0


def laid_out(cells: Cells) -> LaidOutCells:
    """The cells of a layer for the kernels."""
    found, most_digit = cells.places.geometry, max(2 ** len(c.input_bits) - 1 for c in cells.places.transfer.cycles)
    every = cells.units.view(-1, found.groups, found.outputs, found.channels, found.elements)
    parts, of_four, of_tile = [], 0, 0
    for tile in cells.places.tiles:
        held = every[..., tile.channels, tile.kernel]  # (bits, groups, outputs, channels, elements)
        rows = held.permute(1, 2, 0, 4, 3)
        rows = F.pad(rows, (0, -rows.shape[-1] % 4)).flatten(-2)
        rows = F.pad(rows, (0, -rows.shape[-1] % _ROWS)).contiguous()
        if rows.numel():
            sums = rows.abs().unflatten(-1, (-1, 4)).sum(-1, dtype=torch.int32)
            of_four, of_tile = max(of_four, int(sums.max())), max(of_tile, int(sums.sum(-1, dtype=torch.int64).max()))
        parts.append(rows.flatten())
    if cells.units.dtype != torch.int16 or of_tile * most_digit >= 2**31:
        return LaidOutCells(False, torch.empty(0, dtype=torch.int16, device="cpu"))
    return LaidOutCells(True, torch.cat(parts), _gains(cells), 2 if of_four < 2**15 else 3)


def _gains(cells: Cells) -> Tensor | None:
    """Gains by place, with output columns filled up to a multiple of the kernels' group."""
    if cells.gains is None:
        return None
    found = cells.places.geometry
    gains = cells.gains.view(*cells.gains.shape[:2], found.groups, found.outputs).transpose(1, 2)
    return F.pad(gains, (0, -found.outputs % GROUP), value=1.0).contiguous()
