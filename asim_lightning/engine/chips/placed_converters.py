"""Errors of a chip's converters in the order in which kernels read them."""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.chips.converters import Converters, most_moves


@dataclass(frozen=True, eq=False)
class PlacedConverters:
    """Errors of converters. # (tiles, groups or heads, weight bits, output columns)

    Attributes:
        weight_bits: Weight bits.
        outputs: Output columns, up to a multiple of a kernel's.
        gain: float32, or None: all are 1.
        offset: In codes, float32, or None: all are 0.
        curve: Number of a converter's table of INL, int32, or None: none has INL.
        tables: See `Converters`, float32.
    """

    weight_bits: int
    outputs: int
    gain: Tensor | None
    offset: Tensor | None
    curve: Tensor | None
    tables: Tensor | None

    @property
    def nibbles(self) -> int:
        """Nibbles of a code, each of which has its table; 0: tables are curves by code."""
        return self.tables.shape[1] if self.tables is not None and self.tables.dim() == 3 else 0

    @property
    def length(self) -> int:
        """Entries of a table."""
        return 0 if self.tables is None else self.tables.shape[-1]

    @cached_property
    def moves(self) -> int:
        """Codes by which INL moves a code at most."""
        return 0 if self.tables is None else most_moves(self.tables)


def placed(converters: Converters, group: int, device: torch.device | str = "cpu") -> PlacedConverters:
    """Errors place by place.

    Args:
        converters: The converters.
        group: Output columns are filled up to a multiple of it.
        device: Where the kernel reads them.
    """
    # what is looked up by an index has its memory order, and a pad of 0 leaves that of the transposed one
    index = F.pad(converters.index.transpose(2, 3), (0, -converters.index.shape[2] % group)).contiguous()
    each = converters.gain, converters.offset
    gain, offset = (None if values is None else values.float()[index].to(device) for values in each)
    curve = None if converters.curve is None else converters.curve[index].int().to(device)
    tables = None if converters.tables is None else converters.tables.float().contiguous().to(device)
    return PlacedConverters(index.shape[2], index.shape[3], gain, offset, curve, tables)
