"""One side of a product as words of planes: packed once, and put in the order of lanes where it is needed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.packed import layout
from asim_lightning.engine.per_thread import PerThread
from asim_lightning.engine.threads import spread_kernel

_NANOSECONDS_A_NUMBER, _NANOSECONDS_A_WORD = 0.1, 0.7
"""About what it takes to pack a number into a plane, and to arrange a word of a lane."""
_NO_WORDS, _NOTHING = np.zeros(0, np.uint32), np.zeros(0, np.int64)
_NANOSECONDS_WORTH_A_THREAD = 5e4
"""Work that occupies a thread as long as it takes to wake it."""


@dataclass(frozen=True)
class Planes:
    """How whole numbers become planes, of which a word holds several channels.

    Attributes:
        width: Bits of a word that a channel has: 1, and planes are bits, or 8, and they are digits.
        digits: Lowest bit and number of bits of each plane.
    """

    width: int
    digits: tuple[tuple[int, int], ...]

    def whole(self, words: int) -> int:
        """Words of a tile, as they are arranged: lines of 64 bytes where planes are digits."""
        return words if self.width == 1 else -(-words // 16) * 16


def bit_planes(bits: int, width: int = 1) -> Planes:
    """A plane for each bit."""
    return Planes(width, tuple((bit, 1) for bit in range(bits)))


@dataclass(frozen=True)
class Lanes:
    """The side of a product that differs from lane to lane, as kernels of conversions take it.

    Attributes:
        units: Units of all problems.
        arguments: Room or words of units in the order of lanes, whether planes are filled, and from which sources the
            kernel arranges a unit; see `conversion._convert`.
    """

    units: int
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class PackedOperand:
    """Packed planes of one side, and where the words of every lane are found in them.

    A unit is 16 lanes of one problem.

    Attributes:
        words: Packed planes, uint32. # (sources * chunks * planes * pixels,)
        problem_step: Words from one problem's source to the next.
        base: Place of each lane's source pixel, int64. # (groups of lanes * 16,)
        parts: See `arranging.arrange_unit`. # (parts * 6,)
        first_part: First part of each tile, and one more, int64. # (tiles + 1,)
        length: Most words of a tile, whole lines of 64 bytes where planes are digits.
        planes: What the planes are.
        problems: Number of independent products.
        lanes: Lanes of a problem.
    """

    words: np.ndarray
    problem_step: int
    base: np.ndarray
    parts: np.ndarray
    first_part: np.ndarray
    length: int
    planes: Planes
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
        return 4 * LANES * (len(self.first_part) - 1) * len(self.planes.digits) * self.length

    def room(self, units: int) -> tuple[np.ndarray, np.ndarray]:
        """Room for so many units in the order of lanes, at a multiple of 64 bytes, as `in_lanes` fills it."""
        shape = (units, len(self.first_part) - 1, len(self.planes.digits))
        return aligned((*shape, self.length, LANES)), np.empty(shape, np.uint8)

    def in_lanes(self, low: int, high: int, room: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Words of units low..high-1, and whether any lane of a plane is not 0; called by several threads at once.

        Returns:
            Words; those that a tile does not use are what they were. # (units, tiles, planes, words, 16)
            Whether a plane is not 0 everywhere. # (units, tiles, planes)
        """
        from asim_lightning.engine.packed.arranging import lane_kernel  # Numba takes half a second to import

        out, filled = (part[: high - low] for part in room)
        lane_kernel()(*self._arranging(out, filled, low), low, high)
        return out, filled

    def all_in_lanes(self) -> Lanes:
        """All units arranged, by as many threads as torch uses; words that a tile does not use are 0."""
        from asim_lightning.engine.packed.arranging import lane_kernel  # Numba takes half a second to import

        out, filled = self.room(self.units)
        work = len(self.parts) // 6 * len(self.planes.digits) * LANES * _NANOSECONDS_A_WORD
        spread_kernel(lane_kernel(), self._arranging(out, filled, 0), self.units, few(work))
        return Lanes(self.units, (out, filled, _NO_WORDS, 0, _NOTHING, _NOTHING, _NOTHING))

    def lanes_in_turn(self) -> Lanes:
        """Units that kernels of conversions arrange themselves, each thread one at a time, which stays in its cache."""
        out, filled = self.room(torch.get_num_threads())
        room = PerThread(out[:, None]), PerThread(filled[:, None])
        return Lanes(self.units, (*room, self.words, self.problem_step, self.base, self.parts, self.first_part))

    def one_by_one(self) -> np.ndarray:
        """Words of each lane; bits have a plane of zeros after them. # (problems, tiles, lanes, planes + 1, words)

        Digits have none, and lanes of zeros up to a multiple of 16. # (problems, tiles, groups * 16, planes, words)
        """
        from asim_lightning.engine.packed.arranging import single_kernel  # Numba takes half a second to import

        has_bits, planes, tiles = self.planes.width == 1, len(self.planes.digits), len(self.first_part) - 1
        lanes = self.lanes if has_bits else self.groups * LANES
        single = aligned((self.problems, tiles, lanes, planes + has_bits, self.length))
        arguments = self.words, self.problem_step, self.base, self.parts, self.first_part, self.lanes, planes, single
        work = len(self.parts) // 6 * planes * _NANOSECONDS_A_WORD
        spread_kernel(single_kernel(), arguments, self.problems * self.lanes, few(work))
        return single

    def _arranging(self, out: np.ndarray, filled: np.ndarray, first: int) -> tuple[Any, ...]:
        """What the kernel takes that writes units of which the given one stands first."""
        return (
            self.words, self.problem_step, self.base, self.parts, self.first_part, self.groups, out, filled, first,
        )  # fmt: skip


def packed(operand: layout.Operand, rows: layout.Rows, planes: Planes) -> PackedOperand:
    """Planes of an operand's whole numbers; rows are those of the planes' width."""
    # Numba takes half a second to import
    from asim_lightning.engine.packed.packing import bit_kernel, digit_kernel

    integers, chunks = operand.integers.numpy(), len(rows.chunks)
    sources, _, pixels = integers.shape
    words = np.empty((sources, chunks, len(planes.digits), operand.padded_pixels), np.uint32)
    digits, size = np.array(planes.digits, np.int64), np.array([*operand.size, *operand.padding])
    room = np.empty((torch.get_num_threads(), len(digits) * pixels * any(operand.padding)), np.uint32)
    kernel = bit_kernel() if planes.width == 1 else digit_kernel()
    taken: Any = len(digits) if planes.width == 1 else digits
    fewest = few(pixels * int(rows.chunks[:, 1].max()) * len(digits) * _NANOSECONDS_A_NUMBER)
    spread_kernel(kernel, (integers, rows.chunks, taken, size, PerThread(room), words), sources * chunks, fewest)
    step = len(digits) * words.shape[3]
    parts = np.empty((len(rows.parts), 6), np.int64)
    parts[:, 0], parts[:, 1] = rows.parts[:, 0] * step, words.shape[3]
    parts[:, 2], parts[:, 3:] = operand.elements[rows.parts[:, 1]], rows.parts[:, 2:]
    return PackedOperand(
        words.ravel(), chunks * step, operand.places(chunks * step), parts.ravel(), rows.first_part,
        planes.whole(int(rows.words.max())), planes, operand.problems, operand.lanes,
    )  # fmt: skip


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of uint32 that begin at a multiple of 64 bytes."""
    size = 4 * int(np.prod(shape))
    room = np.zeros(size + 64, np.uint8)
    first = -room.ctypes.data % 64
    return room[first : first + size].view(np.uint32).reshape(shape)


def few(nanoseconds: float) -> int:
    """Fewest units worth a thread, where a unit takes so long."""
    return max(1, int(_NANOSECONDS_WORTH_A_THREAD / nanoseconds))
