"""Which algorithm computes a macro: its noise and its conversions decide, never batch, threads or device."""

from enum import Enum
from functools import lru_cache

import torch

from asim_lightning.circuit.schedule import Cycle
from asim_lightning.circuit.transfer import Conversion, Transfer, possible_counts

LARGEST_ERROR_PROBABILITY = 0.015
"""Up to this probability of a wrong code, drawing the wrong conversions is faster than making all of them."""
MOST_VOTES = 31
"""Votes of a cycle whose codes' distribution is still enumerated."""
_MOST_COUNTS = 2**17


class Algorithm(str, Enum):
    """How the outputs of a macro are computed; none is an approximation."""

    EXACT = "exact"
    """One integer product: no noise, and every cycle exact."""
    EVENTS = "exact + events"
    """The integer product and the wrong conversions alone: every cycle exact, and codes rarely wrong."""
    CONVERSIONS = "every conversion"
    """Every conversion is made."""

    def __str__(self) -> str:
        return self.value


@lru_cache(maxsize=1024)
def algorithm(transfer: Transfer) -> Algorithm:
    """The algorithm for a macro.

    Events serve where all cycles are exact noise aside, all cells are equal, there is an ADC, at most 31 votes, at most
    2^17 counts times votes in a cycle, and no conversion is wrong with a probability above 1.5 %.
    """
    if transfer.exact:
        return Algorithm.EXACT
    macro = transfer.macro
    analog = [c for c in transfer.cycles if c.analog]
    enumerable = all(c.votes <= MOST_VOTES and c.full_scale * c.votes < _MOST_COUNTS for c in analog)
    plain = macro.adc_bits is not None and not macro.weight_parallel and not transfer.column.cell_sigma
    exact = all(kind is Conversion.EXACT for kind in transfer.conversions)
    if plain and enumerable and exact and largest_error_probability(transfer) <= LARGEST_ERROR_PROBABILITY:
        return Algorithm.EVENTS
    return Algorithm.CONVERSIONS


def largest_error_probability(transfer: Transfer) -> float:
    """Largest probability over cycles and counts that one conversion gives another code than without noise.

    ``(erfc(u / (sigma sqrt 2)) + erfc((1 - u) / (sigma sqrt 2))) / 2`` with sigma in LSB, for a level that lies u LSB
    below the upper decision threshold; clamps and votes aside. 0 for an ideal converter, which has no codes.
    """
    if transfer.macro.adc_bits is None:
        return 0.0
    kinds = {c.full_scale: c for c, noisy in zip(transfer.cycles, transfer.noisy, strict=True) if noisy}
    return max((_error_probability(transfer, cycle) for cycle in kinds.values()), default=0.0)


def _error_probability(transfer: Transfer, cycle: Cycle) -> float:
    counts = possible_counts(cycle).float()
    level = transfer.column.level(counts, cycle).double().expand_as(counts)
    scale = transfer.column.sigma(counts, cycle).double().expand_as(counts).clamp_min(1e-30) * 2.0**0.5
    above = level.round() + 0.5 - level
    return float((torch.erfc(above / scale) + torch.erfc((1.0 - above) / scale)).max() / 2)
