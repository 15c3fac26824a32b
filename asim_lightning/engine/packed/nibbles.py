"""The packed engine's kernel of nibbles: places of look-ups, which are weight bits of four rows in a byte."""

from functools import lru_cache
from typing import Any

import numpy as np

from asim_lightning.engine.numba_bytes import store_low_bytes
from asim_lightning.engine.numba_lanes import load
from asim_lightning.engine.numba_words import and_u, compiled, or_u, shift_right_u
from asim_lightning.engine.packed.operand import aligned, few
from asim_lightning.engine.threads import spread_kernel

u32 = np.uint32
_NANOSECONDS_A_WORD = 2.0
"""About what it takes to make a word's nibbles of 16 lanes."""


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


def nibbles(bits: np.ndarray) -> np.ndarray:
    """Places of look-ups.

    Args:
        bits: Bits of four rows, in a byte each, uint32. # (units, tiles, planes, words, 16)

    Returns:
        Bits of four rows, lowest first, in a byte of each lane; lanes 0, 8, 1, 9, ..., uint32.
        # (units, tiles, planes, words, 4)
    """
    out = aligned((*bits.shape[:-1], 4))
    words = out.size // 4
    spread_kernel(_kernel(), (bits.reshape(words, -1), out.reshape(words, -1)), words, few(_NANOSECONDS_A_WORD))
    return out
