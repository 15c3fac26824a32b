"""The algorithm that computes a macro. Noise and conversions decide it, never batch, threads or device."""

import math
from enum import Enum
from functools import lru_cache

import torch

from asim_lightning.circuit.columns import Column, possible_counts
from asim_lightning.circuit.schedule import Cycle
from asim_lightning.circuit.transfer import Conversion, Transfer, error_probabilities, share_of_other_codes

LARGEST_ERROR_PROBABILITY = 0.015
"""Up to this probability of a wrong code, drawing the wrong conversions is faster than making all of them."""
LARGEST_EXPECTED_ERROR = 0.03
"""Up to this expected share of wrong codes, finding the conversions that may be wrong is faster than making all."""
MOST_VOTES = 31
"""Most votes for which the distribution of a voted code is enumerated."""
_MOST_COUNTS = 2**17


class Algorithm(str, Enum):
    """How the outputs of a macro are computed; none is an approximation."""

    EXACT = "exact"
    """One integer product: no noise, and every cycle exact."""
    EVENTS = "exact + events"
    """The integer product and only the conversions that may be wrong: every cycle is exact except for noise and
    converters, and codes are rarely wrong."""
    CONVERSIONS = "every conversion"

    def __str__(self) -> str:
        return self.value


def algorithm(circuit: Transfer) -> Algorithm:
    """The algorithm for a macro."""
    return decision(circuit)[0]


@lru_cache(maxsize=1024)
def decision(circuit: Transfer) -> tuple[Algorithm, str]:
    """The algorithm for a macro, and the reason for it."""
    if circuit.exact:
        return Algorithm.EXACT, "every cycle returns its count, without noise: one integer product"
    if (why := why_no_events(circuit)) is not None:
        differ = f"converters differ, and {why}: every conversion is made"
        return Algorithm.CONVERSIONS, differ if circuit.converters_differ else why
    if circuit.converters_differ:
        causes, made = "noise and converters", "only conversions that may be wrong are drawn and made"
        wrong = f"{expected_error(circuit):.1e} of the codes are wrong by the spreads and the noise"
    else:
        causes, made = "noise", "only wrong conversions are drawn"
        wrong = f"P(wrong) is up to {largest_error_probability(circuit):.1e}"
    return Algorithm.EVENTS, f"every cycle returns its count except for {causes}, and {wrong}: {made}"


def plural(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def largest_error_probability(transfer: Transfer) -> float:
    """Largest probability over cycles and counts that noise changes the code of a conversion (see
    `error_probabilities`), without clamping and votes; 0 for an ideal converter, which has no codes."""
    if transfer.macro.adc_bits is None:
        return 0.0
    column = transfer.column
    kinds = {c.full_scale: c for c, noisy in zip(transfer.cycles, transfer.noisy, strict=True) if noisy}
    errors = (error_probabilities(column, c, possible_counts(c).float()) for c in kinds.values())
    return max((float(each.max()) for each in errors), default=0.0)


@lru_cache(maxsize=1024)
def why_no_events(circuit: Transfer) -> str | None:
    """Why events cannot compute a macro; None if they can. Noise and spreads decide, not the draw.

    Events need an ADC, equal cells, noise or converters that differ, cycles that are exact except for both, at most 31
    votes, at most 2^17 counts times votes in a cycle, and no conversion that is wrong with a probability above 1.5 %.
    If converters differ, noisy conversions must have no votes, and at most 3 % of the codes may be wrong, expected over
    the spreads (`expected_error`).
    """
    macro, column, differ = circuit.macro, circuit.column, circuit.converters_differ
    if column.converters_differ:
        return "the column gives them a pattern of its own"
    if column.cell_sigma:
        return "cells differ, so that counts are real numbers, which a float product makes"
    if inexact := sum(kind is not Conversion.EXACT for kind in circuit.equal_conversions):
        return f"{inexact} of {plural(len(circuit.cycles), 'cycle')} do not return their count even without noise"
    if not differ and not any(circuit.noisy):
        return "conversions have no noise"
    if macro.adc_bits is None:
        return "conversions are noisy, and an ideal converter has no codes"
    if macro.weight_parallel:
        return "several weight bits are converted at once"
    if differ and any(noisy and cycle.votes > 1 for cycle, noisy in zip(circuit.cycles, circuit.noisy, strict=True)):
        return "noisy conversions are voted"
    for cycle in circuit.cycles:
        votes, tabulated = (1, cycle.converted) if differ else (cycle.votes, cycle.analog)
        if tabulated and (votes > MOST_VOTES or cycle.full_scale * votes >= _MOST_COUNTS):
            return "there are too many counts or votes to tabulate"
    if differ and (share := expected_error(circuit)) > LARGEST_EXPECTED_ERROR:
        return f"{share:.2g} of the codes are wrong by the spreads, more than {LARGEST_EXPECTED_ERROR:g}"
    if not differ and (share := largest_error_probability(circuit)) > LARGEST_ERROR_PROBABILITY:
        return f"up to {share:.2g} of the codes are wrong by noise, more than {LARGEST_ERROR_PROBABILITY:g}"
    return None


def expected_error(circuit: Transfer) -> float:
    """Expected share of wrong codes at a quarter of the full scale, by noise and the spreads of converters; the largest
    of all cycles.

    Static effects (see `converter_deviations`) and noise are one normal around a level at distance d from its code,
    averaged over counts: ``(erfc((1/2 - d) / (sqrt 2 sigma)) + erfc((1/2 + d) / (sqrt 2 sigma))) / 2``.
    """
    cycles = zip(circuit.cycles, circuit.noisy, strict=True)
    kinds = {cycle.kind: (cycle, noisy) for cycle, noisy in cycles if cycle.converted}
    sigmas = ((cycle, _total_sigma(circuit, cycle, noisy)) for cycle, noisy in kinds.values())
    return max((_share_wrong(circuit.column, cycle, sigma) for cycle, sigma in sigmas if sigma), default=0.0)


def _share_wrong(column: Column, cycle: Cycle, sigma: float) -> float:
    top = cycle.top_code or 1
    level = column.level(possible_counts(cycle).float(), cycle).double().clamp(-top if cycle.signed else 0, top)
    code = level.round()
    level = torch.where((level - code).abs() < 1e-4, code, level)  # roundings of float32
    return float(share_of_other_codes(level, sigma).mean())


def _total_sigma(circuit: Transfer, cycle: Cycle, noisy: bool) -> float:
    code = cycle.full_scale / 4 / cycle.counts_a_code
    noise = float(circuit.column.sigma(possible_counts(cycle).float(), cycle).max()) if noisy else 0.0
    return math.hypot(*circuit.macro.converter_deviations(code).values(), noise)
