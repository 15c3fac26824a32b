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
        units: Contents in steps of `cells.GRID`, int16; int32, which no kernel computes, if a cell has more than 8
            nominal ones. # (tiles, groups or heads, outputs, weight bits, rows of the tile)
        gain: Gains of counts, float32; None if all are 1. # (tiles, groups or heads, weight bits, output columns)
        bytes: Bytes of the largest sum of four rows.
    """

    units: Tensor
    gain: Tensor | None
    bytes: int


def laid_out(cells: Cells) -> LaidOutCells:
    """The cells of a layer for the kernels."""
    found = cells.places.geometry
    every = cells.units.view(-1, found.groups, found.outputs, found.channels, found.elements)
    parts, largest = [], 0
    for tile in cells.places.tiles:
        held = every[..., tile.channels, tile.kernel]  # (bits, groups, outputs, channels, elements)
        rows = held.permute(1, 2, 0, 4, 3)
        rows = F.pad(rows, (0, -rows.shape[-1] % 4)).flatten(-2)
        fours = F.pad(rows, (0, -rows.shape[-1] % _ROWS)).contiguous()
        sums = fours.abs().view(-1, 4).sum(1, dtype=torch.int32)
        largest = max(largest, int(sums.max()) if sums.numel() else 0)
        parts.append(fours.flatten())
    return LaidOutCells(torch.cat(parts), _gains(cells), 2 if largest < 2**15 else 3)


def _gains(cells: Cells) -> Tensor | None:
    """Gains by place, with output columns filled up to a multiple of the kernels' group."""
    if cells.gains is None:
        return None
    found = cells.places.geometry
    gains = cells.gains.view(*cells.gains.shape[:2], found.groups, found.outputs).transpose(1, 2)
    return F.pad(gains, (0, -found.outputs % GROUP), value=1.0).contiguous()
