"""The algorithm that computes a macro. Noise and conversions decide it, never batch, threads or device."""

import math
from enum import Enum
from functools import lru_cache

import torch

from asim_lightning.circuit.columns import Column
from asim_lightning.circuit.schedule import Cycle
from asim_lightning.circuit.transfer import (
    Conversion,
    Transfer,
    error_probabilities,
    possible_counts,
    transfer,
    without_pattern,
)

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
    """The algorithm for a macro.

    Events need cycles that are exact without noise, equal cells, an ADC, at most 31 votes, at most 2^17 counts times
    votes in a cycle, and no conversion that is wrong with a probability above 1.5 %. If converters differ, see
    `why_no_events`.
    """
    return decision(circuit)[0]


@lru_cache(maxsize=1024)
def decision(circuit: Transfer) -> tuple[Algorithm, str]:
    """The algorithm for a macro, and the reason for it."""
    inexact = sum(kind is not Conversion.EXACT for kind in circuit.conversions)
    if circuit.exact:
        return Algorithm.EXACT, "every cycle returns its count, without noise: one integer product"
    if circuit.converters_differ:
        if (why := why_no_events(circuit)) is not None:
            return Algorithm.CONVERSIONS, f"converters differ, and {why}: every conversion is made"
        share = f"{expected_error(circuit):.1e} of the codes are wrong by the spreads and the noise"
        made = "only conversions that may be wrong are drawn and made"
        return Algorithm.EVENTS, f"every cycle returns its count except for noise and converters, and {share}: {made}"
    if inexact and circuit.column.cell_sigma:
        return Algorithm.CONVERSIONS, "cells differ, so that counts are real numbers, which a float product makes"
    if inexact:
        cycles = plural(len(circuit.cycles), "cycle")
        return Algorithm.CONVERSIONS, f"{inexact} of {cycles} do not return their count even without noise"
    if circuit.macro.adc_bits is None:
        return Algorithm.CONVERSIONS, "conversions are noisy"
    largest = largest_error_probability(circuit)
    wrong = f"P(wrong) is up to {largest:.1e}"
    if largest > LARGEST_ERROR_PROBABILITY:
        return Algorithm.CONVERSIONS, f"conversions are noisy, {wrong}"
    if not has_rare_errors(circuit):
        return Algorithm.CONVERSIONS, f"conversions are noisy, {wrong}, but codes are too many to tabulate"
    made = "only wrong conversions are drawn"
    return Algorithm.EVENTS, f"every cycle returns its count except for noise, and {wrong}: {made}"


def plural(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def has_rare_errors(transfer: Transfer) -> bool:
    """Whether outputs are the integer product except for noise errors, and these errors can be tabulated."""
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


@lru_cache(maxsize=1024)
def why_no_events(circuit: Transfer) -> str | None:
    """Why events cannot compute a macro with converters that differ; None if they can. Spreads decide, not the draw.

    Events need equal cells, cycles that are exact except for noise and converters, noisy conversions without votes, at
    most 2^17 counts in a cycle, and at most 3 % wrong codes, expected over the spreads (`expected_error`).
    """
    macro = circuit.macro
    if circuit.column.converters_differ:
        return "the column gives them a pattern of its own"
    if macro.weight_parallel:
        return "several weight bits are converted at once"
    if circuit.column.cell_sigma:
        return "cells differ"
    cycles = [(cycle, noisy) for cycle, noisy in zip(circuit.cycles, circuit.noisy, strict=True) if cycle.converted]
    if any(noisy and cycle.votes > 1 for cycle, noisy in cycles):
        return "noisy conversions are voted"
    if any(cycle.full_scale >= _MOST_COUNTS for cycle, _ in cycles):
        return "there are too many counts to tabulate"
    if any(kind is not Conversion.EXACT for kind in with_equal_converters(circuit).conversions):
        return "some cycles would not return their count with ideal converters either"
    share = expected_error(circuit)
    if share > LARGEST_EXPECTED_ERROR:
        return f"{share:.2g} of the codes are wrong by the spreads, more than {LARGEST_EXPECTED_ERROR:g}"
    return None


def with_equal_converters(circuit: Transfer) -> Transfer:
    """The same circuit with equal converters: without static effects, and without a pattern by the column."""
    alike = circuit.macro.with_fields(**{f"static.{name}": 0.0 for name in circuit.macro.converter_deviations(0.0)})
    return without_pattern(transfer(alike, circuit.signed_input, circuit.rows_in_use))


def expected_error(circuit: Transfer) -> float:
    """Expected share of wrong codes at a quarter of the full scale, by noise and the spreads of converters; the largest
    of all cycles.

    Static effects (see `converter_deviations`) and noise are one normal around a level at distance d from its code,
    averaged over counts: ``(erfc((1/2 - d) / (sqrt 2 sigma)) + erfc((1/2 + d) / (sqrt 2 sigma))) / 2``.
    """
    cycles = zip(circuit.cycles, circuit.noisy, strict=True)
    kinds = {(cycle.full_scale, cycle.analog, noisy): cycle for cycle, noisy in cycles if cycle.converted}
    sigmas = ((cycle, _total_sigma(circuit, cycle, noisy)) for (_, _, noisy), cycle in kinds.items())
    return max((_share_wrong(circuit.column, cycle, sigma) for cycle, sigma in sigmas if sigma), default=0.0)


def _share_wrong(column: Column, cycle: Cycle, sigma: float) -> float:
    top = cycle.top_code or 1
    level = column.level(possible_counts(cycle).float(), cycle).double().clamp(-top if cycle.signed else 0, top)
    beside = (level - level.round()).abs()
    beside = torch.where(beside < 1e-4, 0.0, beside)  # roundings of float32
    root = math.sqrt(2) * sigma
    return float((torch.erfc((0.5 - beside) / root) + torch.erfc((0.5 + beside) / root)).mean() / 2)


def _total_sigma(circuit: Transfer, cycle: Cycle, noisy: bool) -> float:
    code = cycle.full_scale / 4 / cycle.counts_a_code
    noise = float(circuit.column.sigma(possible_counts(cycle).float(), cycle).max()) if noisy else 0.0
    return math.hypot(*circuit.macro.converter_deviations(code).values(), noise)
