"""Planes of one side of a product: how whole numbers become them, and where the words of every lane are found."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.packed.layout import Rows, Side
from asim_lightning.engine.scratch import Scratch

_KEPT = 2**15
"""Lanes of a side whose places are kept: 256 kB, of which there may be as many as plans."""


@dataclass(frozen=True)
class Planes:
    """How whole numbers become planes, of which a word holds several channels.

    Attributes:
        width: Bits of a word that a channel has: 1, 2 or 8.
        digits: Lowest bit and number of bits of each plane.
    """

    width: int
    digits: tuple[tuple[int, int], ...]

    def whole(self, words: int) -> int:
        """Words of a tile, as they are arranged: lines of 64 bytes where digits are bytes."""
        return words if self.width < 8 else -(-words // 16) * 16


def bit_planes(bits: int, width: int = 1) -> Planes:
    """A plane for each bit."""
    return Planes(width, tuple((bit, 1) for bit in range(bits)))


@dataclass(frozen=True, eq=False)
class PackedLayout:
    """Where words of packed planes stand, and in which order lanes take them. A unit is 16 lanes of one problem.

    Attributes:
        side: The side of the product.
        rows: Its rows, those of the planes' width.
        planes: What the planes are.
    """

    side: Side
    rows: Rows
    planes: Planes

    @cached_property
    def digits(self) -> np.ndarray:
        """Lowest bit and number of bits of each plane, int64. # (planes, 2)"""
        return np.array(self.planes.digits, np.int64)

    @cached_property
    def size(self) -> np.ndarray:
        """Height, width and padding of a source, as kernels that pack take them, int64. # (4,)"""
        return np.array([*self.side.size, *self.side.padding])

    @cached_property
    def problem_step(self) -> int:
        """Words from one problem's source to the next."""
        return len(self.rows.chunks) * len(self.digits) * self.side.padded_pixels

    @property
    def base(self) -> np.ndarray:
        """See `arranging.arrange_unit`, int64. # (groups of lanes * 16,)"""
        return self._base if self.side.lanes <= _KEPT else self.side.places(self.problem_step)

    @cached_property
    def _base(self) -> np.ndarray:
        return self.side.places(self.problem_step)

    @cached_property
    def parts(self) -> np.ndarray:
        """See `arranging.arrange_unit`, int64. # (parts * 4,)"""
        side, rows, parts = self.side, self.rows.parts, np.empty((len(self.rows.parts), 4), np.int64)
        parts[:, 0], parts[:, 1] = rows[:, 0] * len(self.digits) * side.padded_pixels, side.padded_pixels
        parts[:, 2], parts[:, 3] = side.elements[rows[:, 1]], rows[:, 2]
        return parts.ravel()

    @cached_property
    def shifts(self) -> np.ndarray:
        """See `arranging.arrange_unit`, uint32. # (parts * 4,)"""
        left, right = self.rows.parts[:, 3:].astype(np.uint32).T
        return np.stack([left, right, left - right & 31, np.uint32(2**32 - 1) << left >> right], 1).ravel()

    @cached_property
    def length(self) -> int:
        """Most words of a tile, whole lines of 64 bytes where digits are bytes."""
        return self.planes.whole(int(self.rows.words.max()))

    @cached_property
    def most_channels(self) -> int:
        """Most channels of a word."""
        return int(self.rows.chunks[:, 1].max())

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return len(self.rows.words)

    @cached_property
    def groups(self) -> int:
        """Units of a problem."""
        return -(-self.side.lanes // LANES)

    @property
    def units(self) -> int:
        """Units of all problems."""
        return self.side.problems * self.groups

    @cached_property
    def unit_rooms(self) -> tuple[Scratch, Scratch]:
        """Each thread's room for a unit in the order of lanes, and for whether planes are filled."""
        flags = (1, self.tiles, len(self.digits))
        return Scratch((*flags, self.length, LANES)), Scratch(flags, np.uint8)

    @property
    def unit_bytes(self) -> int:
        """Bytes of a unit in the order of lanes."""
        return 4 * LANES * self.tiles * len(self.digits) * self.length
