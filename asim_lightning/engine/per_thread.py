"""Room of its own for each thread that runs a kernel."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class PerThread:
    """An argument of a kernel of which each thread takes its own part.

    Attributes:
        array: # (threads, ...)
    """

    array: np.ndarray


def of_one_thread(arguments: tuple[Any, ...], alone: bool) -> tuple[Any, ...]:
    """The arguments of one thread: the first part where it is alone, else a copy of it."""

    def part(array: np.ndarray) -> np.ndarray:
        return array[0] if alone else array[0].copy()

    return tuple([part(a.array) if isinstance(a, PerThread) else a for a in arguments])
