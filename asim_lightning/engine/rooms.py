"""Room of its own for each thread that runs a kernel."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from asim_lightning.engine.memory import whole_block, whole_lines


@dataclass(frozen=True)
class Room:
    """An argument of a kernel: an array of each thread's own for the time of a call, at a multiple of 64 bytes.

    Anything may stand in it at first.

    Attributes:
        shape: Shape of the array.
        kind: Type of its elements.
    """

    shape: tuple[int, ...]
    kind: Any = np.uint32

    @cached_property
    def size(self) -> int:
        """Bytes, in whole lines of the cache: one that two threads write to would go from one to the other."""
        return whole_lines(prod(self.shape) * np.dtype(self.kind).itemsize)


def furnished(arguments: tuple[Any, ...], threads: int) -> tuple[tuple[Any, ...], int, int]:
    """The arguments of the first thread, with arrays for rooms.

    Args:
        arguments: NumPy arrays, numbers, and rooms.
        threads: How many threads there are rooms for.

    Returns:
        The arguments.
        A bit for each of them that is a room's; the first is the lowest.
        Bytes from a thread's rooms to those of the next.
    """
    rooms, step, bits = [], 0, 0
    for at, room in enumerate(arguments):
        if isinstance(room, Room):
            rooms.append((at, room, step))
            step, bits = step + room.size, bits | 1 << at
    if not rooms:
        return arguments, 0, 0
    block, own = whole_block(threads * step), list(arguments)
    for at, room, offset in rooms:
        own[at] = np.ndarray(room.shape, room.kind, block, offset)
    return tuple(own), bits, step
