"""One side of a product as words of planes: packed once, and put in the order of lanes where it is needed."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from torch import Tensor

from asim_lightning.engine.lanes import LANES, WINDOW
from asim_lightning.engine.memory import aligned
from asim_lightning.engine.packed.planes import PackedLayout
from asim_lightning.engine.scratch import Scratch
from asim_lightning.engine.threads import spread_kernel

_NANOSECONDS_A_NUMBER, _NANOSECONDS_A_WORD = 0.1, 0.7
"""About what it takes to pack a number into a plane, and to arrange a word of a lane."""
_NO_WORDS, _NOTHING = np.zeros(0, np.uint32), np.zeros(0, np.int64)
_NANOSECONDS_WORTH_A_THREAD = 2e4
"""Work that occupies a thread as long as it takes to wake it."""


@dataclass(frozen=True)
class PackedOperand:
    """Packed planes of one side, whose words are put in the order of lanes where that is needed.

    Attributes:
        layout: Where words stand, and in which order lanes take them.
        words: Packed planes, uint32. # (sources * chunks * planes * pixels,)
    """

    layout: PackedLayout
    words: np.ndarray

    def room(self, units: int) -> tuple[np.ndarray, np.ndarray]:
        """Room for so many units in the order of lanes, at a multiple of 64 bytes, as `in_lanes` fills it."""
        shape = (units, self.layout.tiles, len(self.layout.digits))
        return aligned((*shape, self.layout.length, LANES)), np.empty(shape, np.uint8)

    def in_lanes(self, low: int, high: int, room: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Words of units low..high-1, and whether any lane of a plane is not 0; called by several threads at once.

        Returns:
            Words; those that a tile does not use are what they were. # (units, tiles, planes, words, 16)
            Whether a plane is not 0 everywhere. # (units, tiles, planes)
        """
        from asim_lightning.engine.packed.arranging import lane_kernel  # Numba takes half a second to import

        out, filled = (part[: high - low] for part in room)
        lane_kernel()(*self._sources, self.layout.groups, out, filled, low, low, high)
        return out, filled

    def all_in_lanes(self) -> tuple[Any, ...]:
        """All units in the order of lanes, arranged by as many threads as torch uses, and nothing to arrange from: as
        kernels of conversions take them, see `conversion._convert`. Words that a tile does not use are 0."""
        from asim_lightning.engine.packed.arranging import lane_kernel  # Numba takes half a second to import

        units = self.layout.units
        out, filled = self.room(units)
        arguments = (*self._sources, self.layout.groups, out, filled, 0)
        spread_kernel(lane_kernel(), arguments, units, few(LANES * self._nanoseconds_a_lane))
        return out, filled, _NO_WORDS, 0, _NOTHING, _NOTHING, _NO_WORDS, _NOTHING

    def lanes_in_turn(self) -> tuple[Any, ...]:
        """Room for units that kernels of conversions arrange themselves, each thread one at a time, which stays in its
        cache, and what they arrange from."""
        return *self.layout.unit_rooms, *self._sources

    def one_by_one(self) -> np.ndarray:
        """Words of each lane; bits have a plane of zeros after them. # (problems, tiles, lanes, planes + 1, words)

        Digits have none, and lanes of zeros up to a multiple of 16. # (problems, tiles, groups * 16, planes, words)
        """
        from asim_lightning.engine.packed.arranging import single_kernel  # Numba takes half a second to import

        layout, side = self.layout, self.layout.side
        has_bits, planes = layout.planes.width == 1, len(layout.digits)
        lanes = side.lanes if has_bits else layout.groups * LANES
        single = aligned((side.problems, layout.tiles, lanes, planes + has_bits, layout.length))
        arguments = (*self._sources, side.lanes, planes, single)
        spread_kernel(single_kernel(), arguments, side.problems * side.lanes, few(self._nanoseconds_a_lane))
        return single

    @property
    def _sources(self) -> tuple[Any, ...]:
        """What kernels arrange from."""
        layout = self.layout
        return self.words, layout.problem_step, layout.base, layout.parts, layout.shifts, layout.rows.first_part

    @property
    def _nanoseconds_a_lane(self) -> float:
        return len(self.layout.rows.parts) * len(self.layout.digits) * _NANOSECONDS_A_WORD


def packed(integers: Tensor, layout: PackedLayout) -> PackedOperand:
    """Planes of the whole numbers of a side.

    Args:
        integers: float32. # (sources, channels, width of the side)
        layout: What is made of them.
    """
    kernel, arguments, shape, fewest = _packing(layout)
    size = len(integers) * prod(shape)
    words = np.empty(size + WINDOW, np.uint32)  # of which kernels that arrange read as many more than they take
    out = words[:size].reshape(len(integers), *shape)
    spread_kernel(kernel, (integers.numpy(), *arguments, out), out.shape[0] * out.shape[1], fewest)
    return PackedOperand(layout, words)


@lru_cache(maxsize=1024)
def _packing(layout: PackedLayout) -> tuple[Any, tuple[Any, ...], tuple[int, ...], int]:
    """The kernel that packs, its arguments between integers and words, shape of a source's words, and how many units
    of work are worth a thread."""
    # Numba takes half a second to import
    from asim_lightning.engine.packed.packing import bit_kernel, digit_kernel

    side, chunks, planes, width = layout.side, layout.rows.chunks, len(layout.digits), layout.planes.width
    kernel, taken = (bit_kernel(), (planes,)) if width == 1 else (digit_kernel(), (layout.digits, width))
    room = Scratch((planes * side.width * any(side.padding),))
    fewest = few(side.width * layout.most_channels * planes * _NANOSECONDS_A_NUMBER)
    return kernel, (chunks, *taken, layout.size, room), (len(chunks), planes, side.padded_pixels), fewest


def unpacked(single: np.ndarray, digits: int) -> np.ndarray:
    """Bytes in the order in which words with so many digits a byte are unpacked: a digit of each of four bytes first.

    Args:
        single: Bytes of each lane. # (problems, tiles, lanes, planes, words)
        digits: Digits that a byte of the other side holds: 1, and nothing changes, 4 or 8.
    """
    if digits == 1:
        return single
    out = aligned(single.shape)
    out.view(np.uint8).reshape(-1, digits, 4)[:] = single.view(np.uint8).reshape(-1, 4, digits).swapaxes(1, 2)
    return out


def few(nanoseconds: float) -> int:
    """Fewest units worth a thread, where a unit takes so long."""
    return max(1, int(_NANOSECONDS_WORTH_A_THREAD / nanoseconds))
