"""What the packed engine looks up to count: sums of four rows, at places that are their four weight bits."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from asim_lightning.circuit import Cycle, Transfer

STEP = 3
"""Numbers of a step."""
_MOST_BITS = 4
"""Bits of a digit of which sums of 16 stay below 256."""
_LARGEST_COUNT = 2**16 - 1


@dataclass(frozen=True)
class LookUps:
    """Digits of inputs, and what each cycle looks up.

    Attributes:
        digits: Lowest bit and number of bits, at most 4, of each digit of an input.
        first_step: First step of each cycle, four by four, and one more, int64. # (fours * 4 + 1,)
        steps: Digit, weight bit, and shift of the sums, int64. # (steps * 3,)
    """

    digits: tuple[tuple[int, int], ...]
    first_step: np.ndarray
    steps: np.ndarray


@lru_cache(maxsize=64)
def look_ups(transfer: Transfer) -> LookUps | None:
    """The look-ups of a schedule, or none where sums of a digit do not fit 16 bits."""
    if transfer.macro.rows * (2**_MOST_BITS - 1) > _LARGEST_COUNT:
        return None
    digits: dict[tuple[int, int], int] = {}
    steps, first = [], [0]
    for cycle in transfer.cycles:
        for digit, shift in _digits(cycle):
            steps.append((digits.setdefault(digit, len(digits)), cycle.weight_bits[0], shift))
        first.append(len(steps))
    first += first[-1:] * (-len(transfer.cycles) % 4)  # the last four are filled up with cycles of nothing
    return LookUps(tuple(digits), np.array(first, np.int64), np.array(steps, np.int64).ravel())


def _digits(cycle: Cycle) -> list[tuple[tuple[int, int], int]]:
    """A cycle's input bits, at most four together, and their shifts."""
    first, number = cycle.input_bits[0], len(cycle.input_bits)
    return [((first + low, min(_MOST_BITS, number - low)), low) for low in range(0, number, _MOST_BITS)]
