"""Errors of a chip's converters, which stay the same for its life, in the order in which kernels read them."""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.native.structures import ConvertersOfJob

_GROUP = 16


@dataclass(frozen=True, eq=False)
class Converters:
    """Gain, offset and INL of converters: ``v = level * gain + offset + sigma * z``, and the threshold between codes
    c - 1 and c stands at ``c - 1/2 + inl[c]``.

    Attributes:
        index: Converter of each place, int64. # (tiles, groups or heads, output columns, weight bits)
        gain: # (converters,)
        offset: In codes. # (converters,)
        curve: Number of each converter's table of INL, int64. # (converters,)
        tables: Of INL, in codes: a table for each nibble of c, lowest first, whose entries are added (a C-DAC), or a
            measured curve. # (tables, nibbles, 16) or (tables, codes)
    """

    index: Tensor
    gain: Tensor | None = None
    offset: Tensor | None = None
    curve: Tensor | None = None
    tables: Tensor | None = None

    def placed(self) -> "PlacedConverters":
        """The same, place by place."""
        index = F.pad(self.index.transpose(2, 3), (0, -self.index.shape[2] % _GROUP))
        gain, offset = (None if each is None else each.float()[index] for each in (self.gain, self.offset))
        curve = None if self.curve is None else self.curve[index].int()
        tables = None if self.tables is None else self.tables.float().contiguous()
        return PlacedConverters(index.shape[2], index.shape[3], gain, offset, curve, tables)


@dataclass(frozen=True, eq=False)
class PlacedConverters:
    """Errors of converters. # (tiles, groups or heads, weight bits, output columns up to a multiple of 16)

    Attributes:
        weight_bits: Weight bits.
        outputs: Output columns, up to a multiple of 16.
        gain: float32, or None: all are 1.
        offset: float32, or None: all are 0.
        curve: int32, or None: none has INL.
        tables: See `Converters`, float32.
    """

    weight_bits: int
    outputs: int
    gain: Tensor | None
    offset: Tensor | None
    curve: Tensor | None
    tables: Tensor | None

    def of_job(self) -> ConvertersOfJob:
        """What kernels read; it holds addresses of these tensors."""
        found = ConvertersOfJob(weight_bits=self.weight_bits)
        found.gain, found.offset, found.curve, found.tables = (
            None if each is None else each.data_ptr() for each in (self.gain, self.offset, self.curve, self.tables)
        )
        if self.tables is not None:
            found.nibbles = self.tables.shape[1] if self.tables.dim() == 3 else 0
            found.length = self.tables.shape[-1]
            off = self.tables.abs()
            largest = float(off.max() if off.dim() == 2 else off.amax(2).sum(1).max())
            found.passes = 1 + math.floor(
                largest
            )  # a threshold that is off by x codes moves a level by at most so many
        return found
