"""Scratch memory for each thread that runs a kernel."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from asim_lightning.engine.memory import whole_block, whole_lines


@dataclass(frozen=True)
class Scratch:
    """An argument of a kernel: an array that each thread has for itself during a call, uninitialised and aligned to 64
    bytes.

    Attributes:
        shape: Shape of the array.
        kind: Type of its elements.
    """

    shape: tuple[int, ...]
    kind: Any = np.uint32

    @cached_property
    def size(self) -> int:
        """Bytes, in whole cache lines, so that no two threads write to one line."""
        return whole_lines(prod(self.shape) * np.dtype(self.kind).itemsize)


def with_scratch(arguments: tuple[Any, ...], threads: int) -> tuple[tuple[Any, ...], int, int]:
    """The arguments of the first thread, with arrays in place of scratch.

    Args:
        arguments: NumPy arrays, numbers, and scratch.
        threads: How many threads get scratch.

    Returns:
        The arguments.
        Which arguments are scratch, a bit each; the first is the lowest.
        Bytes from a thread's scratch to that of the next.
    """
    scratch, step, bits = [], 0, 0
    for at, argument in enumerate(arguments):
        if isinstance(argument, Scratch):
            scratch.append((at, argument, step))
            step, bits = step + argument.size, bits | 1 << at
    if not scratch:
        return arguments, 0, 0
    block, own = whole_block(threads * step), list(arguments)
    for at, array, offset in scratch:
        own[at] = np.ndarray(array.shape, array.kind, block, offset)
    return tuple(own), bits, step
