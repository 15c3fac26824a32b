"""The algorithm that computes a macro: its noise and its conversions decide, never batch, threads or device."""

from enum import Enum
from functools import lru_cache

from asim_lightning.circuit.transfer import Conversion, Transfer, error_probabilities, possible_counts

LARGEST_ERROR_PROBABILITY = 0.015
"""Up to this probability of a wrong code, drawing the wrong conversions is faster than making all of them."""
MOST_VOTES = 31
"""Most votes for which the distribution of a voted code is enumerated."""
_MOST_COUNTS = 2**17


class Algorithm(str, Enum):
    """How the outputs of a macro are computed; none is an approximation."""

    EXACT = "exact"
    """One integer product: no noise, and every cycle exact."""
    EVENTS = "exact + events"
    """The integer product and the wrong conversions alone: every cycle exact, and codes rarely wrong."""
    SPLIT = "exact + every other conversion"
    """The same for the input digits whose cycles are exact, and every conversion of the others."""
    CONVERSIONS = "every conversion"
    """Every conversion is made."""

    def __str__(self) -> str:
        return self.value


@lru_cache(maxsize=1024)
def algorithm(transfer: Transfer) -> Algorithm:
    """The algorithm for a macro.

    Events serve where all cycles are exact noise aside, all cells are equal, there is an ADC, at most 31 votes, at most
    2^17 counts times votes in a cycle, and no conversion is wrong with a probability above 1.5 %. See `split` for where
    that holds for some input digits.
    """
    if transfer.exact:
        return Algorithm.EXACT
    if has_rare_errors(transfer) and largest_error_probability(transfer) <= LARGEST_ERROR_PROBABILITY:
        return Algorithm.EVENTS
    return Algorithm.CONVERSIONS if split(transfer) is None else Algorithm.SPLIT


@lru_cache(maxsize=1024)
def split(transfer: Transfer) -> tuple[Transfer, Transfer] | None:
    """The cycles of the input digits that are exact, and the other cycles: often a sign plane, and digits of several
    bits.

    Returns:
        Both parts; None where one of them is empty or votes are summed, where there is no noise (every conversion is
        fast then), or where events do not suit the exact cycles.
    """
    if not any(transfer.noisy) or transfer.most_votes > 1:
        return None
    inexact = {
        cycle.input_bits
        for cycle, kind in zip(transfer.cycles, transfer.conversions, strict=True)
        if kind is not Conversion.EXACT
    }
    numbers = range(len(transfer.cycles))
    exact = [n for n in numbers if transfer.cycles[n].input_bits not in inexact]
    if not exact or not inexact:
        return None
    part = transfer.part(exact)
    if algorithm(part) not in (Algorithm.EXACT, Algorithm.EVENTS):
        return None
    return part, transfer.part([n for n in numbers if transfer.cycles[n].input_bits in inexact])


def has_rare_errors(transfer: Transfer) -> bool:
    """Whether outputs are the integer product apart from noise errors, whose distribution can be tabulated."""
    macro, analog = transfer.macro, [c for c in transfer.cycles if c.analog]
    tabulated = all(c.votes <= MOST_VOTES and c.full_scale * c.votes < _MOST_COUNTS for c in analog)
    plain = macro.adc_bits is not None and not macro.weight_parallel and not transfer.column.cell_sigma
    exact = all(kind is Conversion.EXACT for kind in transfer.conversions)
    return plain and tabulated and exact and any(transfer.noisy)


def largest_error_probability(transfer: Transfer) -> float:
    """Largest probability over cycles and counts that noise changes the code of a conversion (see
    `error_probabilities`), without clamping and votes; 0 for an ideal converter, which has no codes."""
    if transfer.macro.adc_bits is None:
        return 0.0
    column = transfer.column
    kinds = {c.full_scale: c for c, noisy in zip(transfer.cycles, transfer.noisy, strict=True) if noisy}
    errors = (error_probabilities(column, c, possible_counts(c).float()) for c in kinds.values())
    return max((float(each.max()) for each in errors), default=0.0)
