"""Errors of converters in the order in which the kernels read them."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.chips.converters import Converters, most_moves
from asim_lightning.engine.native.structures import ConvertersOfJob

_GROUP = 16


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
            found.passes = most_moves(self.tables)
        return found


def placed(converters: Converters) -> PlacedConverters:
    """Errors place by place."""
    # what is looked up by an index has its memory order, and a pad of 0 leaves that of the transposed one
    index = F.pad(converters.index.transpose(2, 3), (0, -converters.index.shape[2] % _GROUP)).contiguous()
    each = converters.gain, converters.offset
    gain, offset = (None if values is None else values.float()[index] for values in each)
    curve = None if converters.curve is None else converters.curve[index].int()
    tables = None if converters.tables is None else converters.tables.float().contiguous()
    return PlacedConverters(index.shape[2], index.shape[3], gain, offset, curve, tables)
