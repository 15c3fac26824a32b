"""A chip: its number or its file, and the normals of its effects."""

from dataclasses import dataclass

import torch
from torch import Tensor

from asim_lightning.engine.chips.saved_chip import SavedChip
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import fill, tail_bits


@dataclass(frozen=True)
class Chip:
    """A layer's part of a chip: a function of these fields only.

    Attributes:
        layer: Full name of the layer, or of the macros that layers share. Repeated calls of a layer have one place.
        spread: Multiplies the spreads of the static effects and the shares of stuck cells. For a chip from a file it
            multiplies the deviations from an ideal chip, and stuck cells stay.
        saved: A chip from a file, instead of a draw.
        first_tile: Tiles of other layers that come first in the macros that the layer shares.
    """

    number: int = 0
    layer: str = ""
    spread: float = 1.0
    saved: SavedChip | None = None
    first_tile: int = 0

    @classmethod
    def at(cls, chip: int | SavedChip, layer: str) -> "Chip":
        """A layer's part of a chip, which is given by number or read from a file."""
        if isinstance(chip, SavedChip):
            return cls(0, layer, saved=chip)
        return cls(chip, layer)

    def normals(self, effect: str, count: int, lines: range = range(1)) -> Tensor:
        """Standard normals by place, drawn on the CPU for every device. # (lines, count)"""
        zero = torch.zeros(1, dtype=torch.int64, device="cpu")
        return fill(self._key(effect), zero, zero, count, lines, 0, self.number)[:, 0]

    def tail_bits(self, effect: str, count: int, lines: int, limit: float, sign: int) -> Tensor:
        """Whether the normal of each line is in a tail, as `noise_source.tail_bits`. # (count,), int32"""
        return tail_bits(self._key(effect), count, lines, self.number, limit, sign)

    def _key(self, effect: str) -> tuple[int, int]:
        return 0, layer_key(f"{self.layer}/{effect}")

    def spreads(self, effect: str, count: int, lines: range = range(1)) -> Tensor:
        """The normals times the chip's spread. # (lines, count)"""
        return self.scaled(self.normals(effect, count, lines))

    def scaled(self, values: Tensor, ideal: float = 0.0) -> Tensor:
        """Values with deviations from `ideal` multiplied by the chip's spread; stuck bits stay."""
        if self.spread == 1.0 or not values.is_floating_point():
            return values
        return ideal + self.spread * (values - ideal)
