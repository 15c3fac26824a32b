"""What bounds the codes of a macro's cycles: kinds of cycles that convert alike, and their levels and sigmas."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer

TAIL_STEPS, LARGEST_MARGIN = 128, 6
"""Margins are rounded down to so many steps a sigma; larger ones than 6 sigmas (1e-9) count as that."""
_ROOT_ERROR = 1e-5
"""Share by which a sigma of the kernels may be larger than the column's."""
_ROUNDING = 2.0**-21
"""Share of the full scale by which float32 rounds a value that is converted, at most."""


@dataclass(frozen=True)
class Kind:
    """Cycles that convert alike. A count c has the level ``codes * c + d`` with ``low <= d <= high``."""

    sigma: float
    """Largest sigma of any count, in codes; 0: none is noisy."""
    low: float
    high: float
    codes: float
    """Codes a count."""


@dataclass(frozen=True)
class Group:
    """Cycles of a kind that a weight bit meets."""

    kind: int
    weight_bit: int
    cycles: tuple[int, ...]
    """Their numbers in the schedule."""


@dataclass(frozen=True, eq=False)
class TailCycles:
    """The converted cycles of a macro."""

    transfer: Transfer
    kinds: tuple[Kind, ...]
    groups: tuple[Group, ...]
    """Kind by kind, in each by weight bit."""
    top: int
    """Largest code."""

    @property
    def slack(self) -> float:
        """What rounding takes from each margin, in codes."""
        return (self.top + 1) * _ROUNDING


@lru_cache(maxsize=256)
def tail_cycles(transfer: Transfer) -> TailCycles:
    """The converted cycles of a macro whose codes are counts but for noise and its converters."""
    numbers: dict[tuple[int, bool, bool], dict[int, list[int]]] = {}
    for number, (cycle, noisy) in enumerate(zip(transfer.cycles, transfer.noisy, strict=True)):
        if cycle.converted:
            of_bit = numbers.setdefault((cycle.full_scale, cycle.analog, noisy), {})
            of_bit.setdefault(cycle.weight_bits[0], []).append(number)
    kinds, groups = [], []
    for number, ((_, _, noisy), of_bit) in enumerate(numbers.items()):
        kinds.append(_kind(transfer, next(iter(of_bit.values()))[0], noisy))
        groups += [Group(number, bit, tuple(found)) for bit, found in of_bit.items()]
    return TailCycles(transfer, tuple(kinds), tuple(groups), transfer.macro.top_code or 1)


def _kind(transfer: Transfer, number: int, noisy: bool) -> Kind:
    cycle, column = transfer.cycles[number], transfer.column
    counts = torch.arange(cycle.largest_count + 1, dtype=torch.float32, device="cpu")
    off = column.level(counts, cycle).double() - counts.double() / cycle.counts_a_code
    sigma = float(column.sigma(counts, cycle).max()) * (1 + _ROOT_ERROR) if noisy else 0.0
    return Kind(sigma, float(off.min()), float(off.max()), 1 / cycle.counts_a_code)


@lru_cache(maxsize=1)
def tails() -> Tensor:
    """Probability that a normal exceeds each multiple of 1 / `TAIL_STEPS`, float64. # (multiples,)"""
    margins = torch.arange(LARGEST_MARGIN * TAIL_STEPS + 1, dtype=torch.float64, device="cpu") / TAIL_STEPS
    return torch.erfc(margins / math.sqrt(2.0)) / 2
