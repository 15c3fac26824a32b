"""Errors of converters in the order in which the kernel reads them."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from asim_lightning.engine.chips.converters import Converters, most_moves
from asim_lightning.engine.fused.digit_layout import Operands


class ErrorsInMemory(NamedTuple):
    """Errors of converters, each None where all are ideal. # (tiles, groups or heads, weight bits, output columns)"""

    gain: Tensor | None = None
    """float32."""
    offset: Tensor | None = None
    """In codes, float32."""
    curve: Tensor | None = None
    """Number of a converter's table of INL, int32."""
    tables: Tensor | None = None
    """See `Converters`, float32."""


NO_ERRORS = ErrorsInMemory()


@dataclass(frozen=True, eq=False)
class PlacedErrors:
    """Errors of converters, place by place.

    Attributes:
        memory: What the kernel reads.
        places: Tiles, groups or heads, output columns, weight bits; None: no converter has errors.
        nibbles: Of a code, each of which has its table; 0: tables are measured curves.
        table_length: Entries of a measured curve.
        most_moves: Codes by which INL moves a code at most.
    """

    memory: ErrorsInMemory = NO_ERRORS
    places: tuple[int, ...] | None = None
    nibbles: int = 0
    table_length: int = 0
    most_moves: int = 0

    def check(self, operands: Operands, weight_bits: int, top_code: int) -> None:
        """Refuse to read past the end of memory.

        Raises:
            ValueError: The places are not those of a product, or measured curves end before the last code.
        """
        if self.places is None:
            return
        wanted = (operands.tiles, operands.inner_groups, operands.outputs, weight_bits)
        if self.places != wanted:
            raise ValueError(
                f"Converters have places (tiles, groups or heads, output columns, weight bits) of {wanted} in this "
                f"product, got {self.places}"
            )
        if self.table_length and self.table_length <= top_code:
            raise ValueError(
                f"A measured curve of INL has an entry for each of {top_code + 1} codes, got {self.table_length}"
            )


def placed(converters: Converters, device: torch.device) -> PlacedErrors:
    """Errors place by place, on a device."""
    index = converters.index.transpose(2, 3)
    has_inl = converters.curve is not None and converters.tables is not None
    curve, tables = (converters.curve, converters.tables) if has_inl else (None, None)
    if converters.gain is None and converters.offset is None and tables is None:
        return PlacedErrors()
    of_each = [None if each is None else each.float()[index] for each in (converters.gain, converters.offset)]
    of_each += [None if curve is None else curve[index].int(), None if tables is None else tables.float()]
    memory = ErrorsInMemory(*(None if each is None else each.contiguous().to(device) for each in of_each))
    places = tuple(converters.index.shape)
    if tables is None:
        return PlacedErrors(memory, places)
    is_measured = tables.dim() == 2
    return PlacedErrors(
        memory,
        places,
        nibbles=0 if is_measured else tables.shape[1],
        table_length=tables.shape[1] if is_measured else 0,
        most_moves=most_moves(tables),
    )
