"""The part of a chip in a layer: its converters' errors, its stuck cells and the spread of its cells."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, eq=False)
class ChipLayer:
    """A layer's part of a chip.

    Attributes:
        name: Full name of the layer.
        part: Its name in a file of the chip: the layer's name, or the name of macros that layers share.
        place: Tile, group or head, output and weight bit of the first column of each converter. # (converters, 4)
        offset: Offset of each converter, LSB; None: no converter has one. # (converters,)
        gain: Gain of each converter; None: all are 1. # (converters,)
        inl: INL of each converter by nibbles of the code, or by code, LSB; None: no converter has any.
            # (converters, nibbles, 16) or (converters, codes)
        cells: Number of cells of its weights.
        stuck: Number of cells stuck at 0, and at 1.
        cell_percent: Standard deviation of its cells, percent.
        tensors: All data as in a file, by kind; see `SavedChip`.
    """

    name: str
    part: str
    place: Tensor
    offset: Tensor | None
    gain: Tensor | None
    inl: Tensor | None
    cells: int
    stuck: tuple[int, int]
    cell_percent: float
    tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def converters(self) -> int:
        """Number of converters."""
        return len(self.place)

    @property
    def gain_error(self) -> Tensor | None:
        """Gain of each converter minus 1, percent; None: no converter has an error. # (converters,)"""
        return None if self.gain is None else 100 * (self.gain - 1)

    @property
    def largest_inl(self) -> Tensor | None:
        """Largest magnitude of each converter's INL over all codes, LSB. # (converters,)"""
        if self.inl is None:
            return None
        if self.inl.dim() == 2:
            return self.inl.abs().amax(1)
        codes = self.inl[:, 0]
        if self.inl.shape[1] > 1:
            codes = (self.inl[:, 0, :, None] + self.inl[:, 1, None]).flatten(1)  # each low with each high nibble
        # what lies above two nibbles is added as it is at its largest
        return codes.abs().amax(1) + self.inl[:, 2:].abs().amax(2).sum(1)
