"""One side of a product as words of bit planes: packed once, and put in the order of lanes where it is needed."""

from dataclasses import dataclass

import numpy as np

from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.packed import layout
from asim_lightning.engine.threads import spread


@dataclass(frozen=True)
class PackedOperand:
    """Packed bit planes of one side, and where the words of every lane are found in them.

    A unit is 16 lanes of one problem.

    Attributes:
        words: Packed planes, uint32. # (sources * chunks * planes * pixels,)
        problem_step: Words from one problem's source to the next.
        base: Place of each lane's source pixel, int64. # (groups of lanes * 16,)
        parts: See `planes._arrange`. # (parts * 6,)
        first_part: First part of each tile, and one more, int64. # (tiles + 1,)
        length: Most words of a tile.
        planes: Number of bits.
        problems: Number of independent products.
        lanes: Lanes of a problem.
    """

    words: np.ndarray
    problem_step: int
    base: np.ndarray
    parts: np.ndarray
    first_part: np.ndarray
    length: int
    planes: int
    problems: int
    lanes: int

    @property
    def groups(self) -> int:
        """Units of a problem."""
        return len(self.base) // LANES

    @property
    def units(self) -> int:
        """Units of all problems."""
        return self.problems * self.groups

    @property
    def unit_bytes(self) -> int:
        """Bytes of a unit in the order of lanes."""
        return 4 * LANES * (len(self.first_part) - 1) * self.planes * self.length

    def in_lanes(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """Words of units low..high-1, and whether any lane of a plane has a 1.

        Returns:
            Words, of which those that a tile does not use are undefined. # (units, tiles, planes, words, 16)
            Whether a plane has a 1. # (units, tiles, planes)
        """
        out, filled = self._empty(high - low)
        self._arrange(out, filled, low, low, high)
        return out, filled

    def all_in_lanes(self) -> tuple[np.ndarray, np.ndarray]:
        """The same of all units, by as many threads as torch uses."""
        out, filled = self._empty(self.units)
        work = len(self.parts) // 6 * self.planes
        spread(lambda low, high: self._arrange(out, filled, 0, low, high), self.units, few(work))
        return out, filled

    def one_by_one(self) -> np.ndarray:
        """Words of each lane, and a plane of zeros after its planes. # (problems, tiles, lanes, planes + 1, words)"""
        out = self.all_in_lanes()[0].reshape(self.problems, self.groups, -1, self.planes, self.length, LANES)
        shape = (self.problems, out.shape[2], self.groups * LANES)
        single = np.zeros((*shape, self.planes + 1, self.length), np.uint32)
        single[..., : self.planes, :] = out.transpose(0, 2, 1, 5, 3, 4).reshape(*shape, self.planes, self.length)
        return np.ascontiguousarray(single[:, :, : self.lanes])

    def _empty(self, units: int) -> tuple[np.ndarray, np.ndarray]:
        shape = (units, len(self.first_part) - 1, self.planes)
        return np.empty((*shape, self.length, LANES), np.uint32), np.empty(shape, np.uint8)

    def _arrange(self, out: np.ndarray, filled: np.ndarray, first: int, low: int, high: int) -> None:
        from asim_lightning.engine.packed.planes import kernels  # Numba takes half a second to import

        kernels()[1](
            self.words, self.problem_step, self.base, self.parts, self.first_part, self.groups, out, filled, first, low,
            high,
        )  # fmt: skip


def packed(operand: layout.Operand, rows: layout.Rows, planes: int) -> PackedOperand:
    """Bit planes of an operand's whole numbers."""
    from asim_lightning.engine.packed.planes import kernels  # Numba takes half a second to import

    integers, chunks = operand.integers.numpy(), len(rows.chunks)
    sources, _, pixels = integers.shape
    words = np.empty((sources, chunks, planes, pixels), np.uint32)

    def work(low: int, high: int) -> None:
        kernels()[0](integers, rows.chunks, planes, np.empty(8 * LANES, np.uint32), words, low, high)

    spread(work, sources * chunks, few(pixels))
    words = operand.padded(words)
    step = planes * words.shape[3]
    base = operand.sources * (chunks * step) + operand.pixels
    parts = np.empty((len(rows.parts), 6), np.int64)
    parts[:, 0], parts[:, 1] = rows.parts[:, 0] * step, words.shape[3]
    parts[:, 2], parts[:, 3:] = operand.elements[rows.parts[:, 1]], rows.parts[:, 2:]
    return PackedOperand(
        words.ravel(), chunks * step, np.concatenate([base, np.full(-len(base) % LANES, base[-1])]), parts.ravel(),
        rows.first_part, int(rows.words.max()), planes, operand.problems, operand.lanes,
    )  # fmt: skip


def few(work: int) -> int:
    """Fewest units worth a thread, where a unit is so much work."""
    return max(1, 4096 // max(work, 1))
