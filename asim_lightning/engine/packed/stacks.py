"""Rows of AMX's registers where outputs are few: each has one for each of four cycles that share the inputs' digit."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from asim_lightning.circuit import Transfer
from asim_lightning.engine.memory import aligned
from asim_lightning.engine.packed.schedule import PAIR, packed_schedule

_ROWS, _CYCLES = 16, 4
_FEWEST_OUTPUTS, _MOST_OUTPUTS = 2, 8
"""Outputs for which this is worth it, up to those whose rows of four cycles fill two registers."""


@dataclass(frozen=True)
class Stacks:
    """What stands in the rows of registers.

    Attributes:
        planes: Planes of the weights of the four cycles of each stack.
        of_fours: Which stack each four cycles take.
        registers: Registers of a stack, 1 or 2, of which each holds the rows of as many cycles.
        outputs: Outputs.
    """

    planes: tuple[tuple[int, ...], ...]
    of_fours: tuple[int, ...]
    registers: int
    outputs: int

    @property
    def rows(self) -> int:
        """Rows of a register in use."""
        return self.outputs * _CYCLES // self.registers

    def pairs(self, transfer: Transfer) -> np.ndarray:
        """`PackedSchedule.input_pairs`, with the stack of each four cycles in place of their planes of the weights."""
        pairs = packed_schedule(transfer).input_pairs.reshape(-1, PAIR).copy()
        pairs[:, :_CYCLES] = np.array(self.of_fours)[:, None]
        return pairs.ravel()

    def stacked(self, single: np.ndarray) -> np.ndarray:
        """Rows of registers.

        Args:
            single: Bytes of each output. # (problems, tiles, outputs or more, planes, words)

        Returns:
            Rows, cycle by cycle, those that are not in use zeros. # (problems, tiles, 16 * registers, stacks, words)
        """
        problems, tiles, _, _, words = single.shape
        out = aligned((problems, tiles, _ROWS * self.registers, len(self.planes), words))
        each = _CYCLES // self.registers
        for stack, planes in enumerate(self.planes):
            for cycle, plane in enumerate(planes):
                first = cycle // each * _ROWS + cycle % each * self.outputs
                out[:, :, first : first + self.outputs, stack] = single[:, :, : self.outputs, plane]
        return out


@lru_cache(maxsize=512)
def stacks(transfer: Transfer, outputs: int) -> Stacks | None:
    """The rows of so many outputs; None where these are too few or many, or where four cycles meet several digits."""
    pairs = packed_schedule(transfer).input_pairs.reshape(-1, PAIR)
    if not _FEWEST_OUTPUTS <= outputs <= _MOST_OUTPUTS or (pairs[:, -1] != 1).any():
        return None
    numbers: dict[tuple[int, ...], int] = {}
    of_fours = tuple(numbers.setdefault(tuple(map(int, pair[:_CYCLES])), len(numbers)) for pair in pairs)
    return Stacks(tuple(numbers), of_fours, -(-outputs * _CYCLES // _ROWS), outputs)
