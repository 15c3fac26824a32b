"""The packed engine's kernel of nibbles: places of look-ups, which are weight bits of four rows in a byte."""

from functools import lru_cache
from typing import Any

import numpy as np

from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.memory import aligned
from asim_lightning.engine.numba_bytes import store_low_bytes
from asim_lightning.engine.numba_lanes import load
from asim_lightning.engine.numba_words import and_u, compiled, or_u, shift_right_u
from asim_lightning.engine.packed.arranging import lane_kernel
from asim_lightning.engine.packed.operand import PackedOperand, few
from asim_lightning.engine.threads import spread

u32 = np.uint32
_NANOSECONDS_A_LINE = 10.0
"""About what it takes to arrange a word of each of 16 lanes, and to make its nibbles."""
_BYTES = 2**20
"""Bytes arranged at a time."""


def _put(bits: Any, out: Any, low: int, high: int) -> None:
    """Bits of four rows beside each other.

    Args:
        bits: Bits of four rows, in a byte each. # (words, 16)
        out: Bits of four rows, lowest first, in a byte; lanes 0, 8, 1, 9, ... # (words, 4)
        low: First word.
        high: The one after the last.
    """
    bits_f, out_f = bits.reshape(-1), out.reshape(-1)
    for word in range(low, high):
        four = load(bits_f, word * 16)
        four = or_u(four, shift_right_u(four, u32(7)))
        four = and_u(or_u(four, shift_right_u(four, u32(14))), u32(15))
        store_low_bytes(out_f, word * 4, four)


@lru_cache(maxsize=1)
def _kernel() -> Any:
    return compiled("void(u4[:,::1], u4[:,::1], i8, i8)", _put, allocates=False)


def nibbles(operand: PackedOperand) -> tuple[np.ndarray, np.ndarray]:
    """Places of look-ups.

    Args:
        operand: Weights, with a plane for each bit and words of four rows.

    Returns:
        Bits of four rows, lowest first, in a byte of each lane; lanes 0, 8, 1, 9, ..., uint32.
        # (units, tiles, planes, words, 4)
        Whether any lane of a plane has a 1, uint8. # (units, tiles, planes)
    """
    lane_kernel()  # compiled here, and not by all threads that arrange pieces
    layout, kernel = operand.layout, _kernel()
    shape = (layout.units, layout.tiles, len(layout.digits))
    out, ones = aligned((*shape, layout.length, 4)), np.empty(shape, np.uint8)
    step = max(1, _BYTES // layout.unit_bytes)  # bits in bytes take four times the room of nibbles

    def work(low: int, high: int) -> None:
        room = operand.room(min(step, high - low))
        for first in range(low, high, step):
            after = min(first + step, high)
            bits, ones[first:after] = operand.in_lanes(first, after, room)
            kernel(bits.reshape(-1, LANES), out[first:after].reshape(-1, 4), 0, bits.size // LANES)

    spread(work, layout.units, few(layout.unit_bytes / (4 * LANES) * _NANOSECONDS_A_LINE))
    return out, ones
