"""A chip: its number or its file, and the normals of its places."""

from dataclasses import dataclass

import torch
from torch import Tensor

from asim_lightning.engine.chips.saved_chip import SavedChip
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise, fill


@dataclass(frozen=True)
class Chip:
    """A layer's part of a chip, which is a function of these fields only.

    Attributes:
        number: Number of the chip.
        layer: Full name of the layer, whose place stays the same however often it is called; or of the macros that it
            shares.
        spread: What the spreads of its static effects are multiplied by, and the shares of stuck cells (of a chip in a
            file its deviations from an ideal one; stuck cells stay).
        saved: A chip from a file, instead of a draw.
        first_tile: How many tiles were given before the layer's to the macros that it shares.
    """

    number: int = 0
    layer: str = ""
    spread: float = 1.0
    saved: SavedChip | None = None
    first_tile: int = 0

    @classmethod
    def of(cls, noise: Noise) -> "Chip":
        """The chip that a read simulates."""
        return cls.at(noise.chip, noise.name)

    @classmethod
    def at(cls, chip: int | SavedChip, layer: str) -> "Chip":
        """The part of a chip, by number or from a file, that a layer has."""
        if isinstance(chip, SavedChip):
            return cls(0, layer, saved=chip)
        return cls(chip, layer)

    def normals(self, effect: str, count: int, lines: range = range(1)) -> Tensor:
        """Standard normals of places, drawn on the CPU for every device. # (lines, count)"""
        zero = torch.zeros(1, dtype=torch.int64, device="cpu")
        key = (0, layer_key(f"{self.layer}/{effect}"))
        return fill(key, zero, zero, count, lines, 0, self.number)[:, 0]

    def spreads(self, effect: str, count: int, lines: range = range(1)) -> Tensor:
        """The normals times the chip's spread. # (lines, count)"""
        return self.scaled(self.normals(effect, count, lines))

    def scaled(self, values: Tensor, ideal: float = 0.0) -> Tensor:
        """Values whose deviations from the ideal one are multiplied by the chip's spread; stuck bits stay."""
        if self.spread == 1.0 or not values.is_floating_point():
            return values
        return ideal + self.spread * (values - ideal)
