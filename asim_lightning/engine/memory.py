"""Where arrays lie in memory."""

import ctypes
from math import prod
from typing import Any

import numpy as np

_LINE = 64
"""Bytes of a line of the cache."""


def address(array: Any) -> int:
    """Address of an array's first element; in half of NumPy's own time, where it can be written to."""
    is_buffer = array.flags.writeable and array.size
    return ctypes.addressof(ctypes.c_char.from_buffer(array)) if is_buffer else int(array.ctypes.data)


def whole_lines(size: int) -> int:
    """So many bytes, filled up to a multiple of 64."""
    return -(-size // _LINE) * _LINE


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of uint32 that begin at a multiple of 64 bytes."""
    size = 4 * prod(shape)
    room = np.zeros(size + _LINE, np.uint8)
    first = -address(room) % _LINE
    return room[first : first + size].view(np.uint32).reshape(shape)
