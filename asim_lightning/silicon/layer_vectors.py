"""The conversions of a layer on a macro for some images: bits that go in, codes that come out, and their sums."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, Transfer
from asim_lightning.circuit.columns import vote
from asim_lightning.engine import Tile
from asim_lightning.evaluation.chip_layer import ChipLayer


@dataclass(frozen=True, eq=False)
class Array:
    """A tile of a layer: the weights of one array, and its conversions.

    Attributes:
        name: Name in files, such as tile0, tile0_group1 or image17_tile0_group3.
        tile: Number of the tile.
        group: Number of the group of a convolution, or of the head.
        images: Places in `LayerVectors.images` of the images that it converts: all, or one if weights come with each
            image.
        weights: Integers as the cells hold them, int32. # (outputs, rows)
        inputs: Integers on the rows, int32. # (vectors, rows)
        counts: Counts of the columns; whole numbers unless cells differ, float64. # (vectors, cycles, outputs)
        cells: Contents of 1-cells in nominal cells; None if cells are equal. # (weight bits, outputs, rows), float32
        gains: Factor of the counts of each column in analog cycles; None if cells are equal. # (weight bits, outputs)
        codes: Codes of the ADC, read by read (see `LayerVectors.reads`), or counts of cycles without ADC, float64.
            # (vectors, reads, outputs)
    """

    name: str
    tile: int
    group: int
    images: range
    weights: Tensor
    inputs: Tensor
    counts: Tensor
    codes: Tensor
    cells: Tensor | None = None
    gains: Tensor | None = None


@dataclass(frozen=True, eq=False)
class LayerVectors:
    """The conversions of a layer, image by image and position by position.

    A vector is what the rows get in all cycles of one position of one image. A position is a window of a convolution
    (row after row), which is a pixel of its output unless it is transposed, a token, or a row of the left matrix.

    Attributes:
        layer: Full name of the layer.
        transfer: Schedule and column.
        tiles: Tiles of the summed dimension.
        images: Place of each image in the data.
        positions: Positions of each image.
        position_count: Positions that an image has in the layer.
        read: Number of the read.
        chip: Number of the chip, or name of its file.
        ideal: Whether noise and static effects are left out.
        arrays: Arrays, tile by tile and group by group.
        step: Value of one count in the output, float32. # () or (groups * outputs,)
        bias: Bias of the outputs, float32; None: there is none. # (groups * outputs,)
        factor: Range of the rows behind each output, for input range "token"; None: 1. # (vectors, groups, outputs)
        converters: Offsets, gains and INL of the converters on the chip.
        digests: Digests of the whole layer's integer weights and inputs, see `digest_of`, by these names.
    """

    layer: str
    transfer: Transfer
    tiles: tuple[Tile, ...]
    images: tuple[int, ...]
    positions: tuple[int, ...]
    position_count: int
    read: int
    chip: int | str
    ideal: bool
    arrays: tuple[Array, ...]
    step: Tensor
    bias: Tensor | None
    factor: Tensor | None
    converters: ChipLayer
    digests: Mapping[str, str]

    @property
    def reads(self) -> list[tuple[int, int]]:
        """Number of the cycle and of the vote, for each read of a column."""
        return reads_of(self.transfer)

    @property
    def groups(self) -> int:
        """Groups of a convolution, or heads."""
        return 1 + max(array.group for array in self.arrays)

    @property
    def vectors(self) -> int:
        """Vectors of all images."""
        return len(self.images) * len(self.positions)

    def sums(self) -> tuple[Tensor, Tensor]:
        """Sums over tiles and cycles of the weighted codes, and of the weighted counts of cycles without ADC.

        An output in counts is ``sum of codes * scale / divisor + sum of counts + offset * tiles`` (`Transfer.scale`).
        float64, whole numbers unless the ADC is ideal. # (vectors, groups, outputs) each
        """
        outputs = self.arrays[0].weights.shape[0]
        coded, counted = (torch.zeros(self.vectors, self.groups, outputs, dtype=torch.float64) for _ in range(2))
        rule, at = self.transfer.macro.vote, [number for number, _ in self.reads]
        for array in self.arrays:
            lines = slice(array.images.start * len(self.positions), array.images.stop * len(self.positions))
            for number, cycle in enumerate(self.transfer.cycles):
                first, votes = at.index(number), at.count(number)
                found = array.codes[:, first : first + votes].transpose(0, 1)  # (votes, vectors, outputs)
                code = found[0] if votes == 1 else vote(found, rule).double()
                if cycle.converted:
                    coded[lines, array.group] += code * self.transfer.code_weight(cycle)
                else:
                    counted[lines, array.group] += code * cycle.sign * 2**cycle.shift
        return coded, counted

    def outputs(self) -> Tensor:
        """Outputs of the macro in counts, float64. # (vectors, groups, outputs)"""
        coded, counted = self.sums()
        return coded * self.transfer.scale / self.transfer.divisor + counted + self.transfer.offset * len(self.tiles)


def digest_of(integers: Tensor) -> str:
    """SHA-256 of integers as little-endian 32-bit words, in the order of the tensor, in hexadecimal."""
    return hashlib.sha256(integers.detach().cpu().contiguous().numpy().astype("<i4").tobytes()).hexdigest()


def reads_of(transfer: Transfer) -> list[tuple[int, int]]:
    """Number of the cycle and of the vote, for each read of a column, in the order of the schedule."""
    return [(number, read) for number, cycle in enumerate(transfer.cycles) for read in range(_votes(cycle))]


def _votes(cycle: Cycle) -> int:
    return cycle.votes if cycle.converted else 1
