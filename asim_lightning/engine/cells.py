"""The cells of a chip: on-currents that differ from cell to cell and stay the same for every read."""

from dataclasses import dataclass

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle
from asim_lightning.engine.integer import digits
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise, fill

GRID = 2.0**-12
"""Step to which cell currents are rounded, so that their sums stay exact in float32."""


@dataclass(frozen=True)
class Chip:
    """A layer's part of a chip; its cells are a function of these fields alone.

    Attributes:
        seed: Seed of all chips.
        number: Number of the chip.
        layer: Full name of the layer, whose cells stay the same however often it is called.
    """

    seed: int = 0
    number: int = 0
    layer: str = ""

    @classmethod
    def of(cls, noise: Noise) -> "Chip":
        """The chip that a read simulates."""
        return cls(noise.seed, noise.chip, noise.name)

    def cells(self, count: int, bits: range) -> Tensor:
        """Standard normals of cells, drawn on the CPU for every device. # (bits, cells)"""
        zero = torch.zeros(1, dtype=torch.int64, device="cpu")
        key = (self.seed, layer_key(self.layer + "/cells"))
        return fill(key, zero, zero, count, bits, 0, self.number)[:, 0]


def weight_digits(w: Tensor, cycle: Cycle, cell_sigma: float, chip: Chip, batched: bool) -> Tensor:
    """Digits of a cycle's weight bits, float32: integers, or what an analog cycle's cells hold where they differ.

    Args:
        w: Integers of the weights. # (*weight), or (batch, *weight)
        cycle: The cycle.
        cell_sigma: Standard deviation of the on-current, percent of nominal.
        chip: The chip.
        batched: Whether w has a batch.

    Returns:
        # of the shape of w
    """
    if cell_sigma and cycle.analog:
        return cell_digits(w, cycle, cell_sigma, chip, batched)
    return digits(w, cycle.weight_bits, cycle.weight_signed)


def cell_digits(integers: Tensor, cycle: Cycle, cell_sigma: float, chip: Chip, batched: bool) -> Tensor:
    """Weight digits as the chip's cells hold them: a 1-cell carries ``1 + cell_sigma / 100 * z``, a 0-cell nothing.

    z belongs to (seed, layer, chip, cell); it does not depend on sample or trial.

    Args:
        integers: Weights, int32. # (*weight), or (batch, *weight) where `batched`
        cycle: The cycle, whose weight bits are used.
        cell_sigma: Standard deviation of the on-current, percent of nominal.
        chip: The chip.
        batched: Whether the first dimension is the batch, whose samples are written into the same cells in turn.

    Returns:
        Multiples of 2^-12 in float32, of the same shape.
    """
    cells = integers.shape[1:] if batched else integers.shape
    normal = chip.cells(cells.numel(), range(cycle.weight_bits[0], cycle.weight_bits[-1] + 1)).to(integers.device)
    total = torch.zeros(integers.shape, dtype=torch.float32, device=integers.device)
    for plane, bit in enumerate(cycle.weight_bits):
        current = 1.0 + (cell_sigma / 100.0) * normal[plane].view(cells)
        current = torch.round(current / GRID) * (GRID * 2 ** (bit - cycle.weight_bits[0]))
        negative = cycle.weight_signed and bit == cycle.weight_bits[-1]
        total += digits(integers, (bit,), False) * (-current if negative else current)
    return total
