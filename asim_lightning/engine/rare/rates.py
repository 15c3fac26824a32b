"""How often equal converters give a wrong code, and by how much: tables for each kind of cycle and each count.

Let c be a count's noise-free code. The code is at least c + e, e > 0, if ``level + sigma z > c + e - 1/2``. The
probability is ``erfc((c + e - 1/2 - level) / (sigma sqrt 2)) / 2``, and 0 above the top code. Codes below c are alike:
at count 0 and at full scale half of the errors are clamped. Both tails come from erfc, so that a probability of 1e-12
is as exact as 0.1; 1 minus a distribution function would not be.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from asim_lightning.circuit import Column, Conversion, Cycle, Transfer
from asim_lightning.circuit.columns import possible_counts
from asim_lightning.circuit.wrong_codes import expected_error, largest_error_probability
from asim_lightning.engine.rare.margins import Margins, margins
from asim_lightning.engine.rare.votes import voted
from asim_lightning.table import plural

LARGEST_ERROR_PROBABILITY = 0.015
"""Up to this probability of a wrong code, drawing the wrong conversions is faster than making all of them."""
LARGEST_EXPECTED_ERROR = 0.03
"""Up to this expected share of wrong codes, finding the conversions that may be wrong is faster than making all."""
MOST_VOTES = 31
"""Most votes for which the distribution of a voted code is enumerated."""
_MOST_COUNTS = 2**17
_SIGMAS = 13.4
"""Codes farther away than so many sigmas are left out: each has a probability below 1e-40."""
_NEGLIGIBLE = 2.0**-60
"""Errors below this share of the largest rate are left out of the tables: uniforms have 52 bits."""
_LONGEST_TABLE = 2**22
"""Most entries (counts times errors) of the distributions of one kind of cycle."""


@dataclass(frozen=True, eq=False)
class Kind:
    """Cycles that convert alike, and how often they are wrong."""

    cycles: tuple[int, ...]
    """Their numbers in the schedule."""
    rate: float
    """Largest probability of a wrong (voted) code over the counts; if converters differ, the share of wrong codes that
    their spreads let expect."""
    errors: Tensor
    """Code errors (for a mean: errors of the sum of the votes), likely errors first, int64; a last 0 means no error.
    # (errors + 1,)"""
    shares: Tensor
    """Running sums of the errors' probabilities, as a share of the rate, float64. # (counts, errors)"""
    margins: Margins | None = None
    """Bounds of the codes of converters that differ. They are converted one by one, so `errors` and `shares` are empty,
    and cycles are sorted by weight bit."""


@dataclass(frozen=True, eq=False)
class Rates:
    """Error rates of a macro's schedule, the same for every layer."""

    transfer: Transfer
    kinds: tuple[Kind, ...]
    """Kinds of cycles that can err."""
    weights: tuple[int, ...]
    """Weight of one code in the integer sum of codes, cycle by cycle (`Transfer.code_weight`)."""
    differ: bool
    """Whether converters differ."""


@lru_cache(maxsize=1024)
def refuses(transfer: Transfer) -> str | None:
    """Why the events engine does not compute a macro: see `why_no_events`, or the distributions are too long for
    tables."""
    if (why := why_no_events(transfer)) is not None:
        return why
    macro, column = transfer.macro, transfer.column
    if transfer.converters_differ:
        return None
    for numbers in _noisy_kinds(transfer):
        cycle = transfer.cycles[numbers[0]]
        width = 2 * _reach(column, cycle) + 1
        if cycle.votes > 1:
            width = 1 + (width - 1) * cycle.votes if macro.vote == "mean" else width * (cycle.votes + 1)
        if (cycle.full_scale + 1) * width > _LONGEST_TABLE:
            return f"the errors of {cycle.full_scale + 1} counts and {cycle.votes} votes are too many to tabulate"
    return None


@lru_cache(maxsize=1024)
def why_no_events(circuit: Transfer) -> str | None:
    """Why events cannot compute a macro; None if they can. Noise and spreads decide, not the draw.

    Events need an ADC, a column that does not depend on driven rows, equal cells, noise or converters that differ,
    cycles that are exact except for both, at most 31 votes, at most 2^17 counts times votes in a cycle, and no
    conversion that is wrong with a probability above 1.5 %.
    If converters differ, noisy conversions must have no votes, and at most 3 % of the codes may be wrong, expected over
    the spreads (`expected_error`).
    """
    macro, column, differ = circuit.macro, circuit.column, circuit.converters_differ
    if column.depends_on_driven:
        return "the column depends on the number of driven rows"
    if column.converters_differ:
        return "the column gives them a pattern of its own"
    if column.cell_sigma:
        return "cells differ, so that counts are real numbers"
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


@lru_cache(maxsize=1024)
def prefers(transfer: Transfer) -> str | None:
    """See `Engine.prefers`; preferred to making every conversion, because few are made."""
    if refuses(transfer) is not None:
        return None
    if transfer.converters_differ:
        causes, made = "noise and converters", "only conversions that may be wrong are drawn and made"
        wrong = f"{expected_error(transfer):.1e} of the codes are wrong by the spreads and the noise"
    else:
        causes, made = "noise", "only wrong conversions are drawn"
        wrong = f"P(wrong) is up to {largest_error_probability(transfer):.1e}"
    return f"every cycle returns its count except for {causes}, and {wrong}: {made}"


@lru_cache(maxsize=256)
def rates(transfer: Transfer, differ: bool) -> Rates:
    """The error rates of a macro that is not refused; `differ` says whether its converters differ."""
    if differ:
        rate, empty = expected_error(transfer), torch.zeros(0, device="cpu")
        apart = (Kind(numbers, rate, empty, empty, found) for numbers, found in margins(transfer))
        # without noise all votes are equal
        votes = [cycle.votes if noisy else 1 for cycle, noisy in zip(transfer.cycles, transfer.noisy, strict=True)]
        weights = [transfer.code_weight(cycle, own) for cycle, own in zip(transfer.cycles, votes, strict=True)]
        return Rates(transfer, tuple(apart), tuple(weights), differ)
    kinds = [_kind(transfer, numbers) for numbers in _noisy_kinds(transfer)]
    weights = [transfer.code_weight(cycle) for cycle in transfer.cycles]
    return Rates(transfer, tuple(kind for kind in kinds if len(kind.errors) > 1), tuple(weights), differ)


def _noisy_kinds(transfer: Transfer) -> list[tuple[int, ...]]:
    """Numbers of the noisy cycles; cycles that differ only in sign and binary weight are one group."""
    kinds: dict[tuple[int, int], list[int]] = {}
    for number, (cycle, noisy) in enumerate(zip(transfer.cycles, transfer.noisy, strict=True)):
        if noisy:
            kinds.setdefault((cycle.full_scale, cycle.votes), []).append(number)
    return [tuple(numbers) for numbers in kinds.values()]


def _kind(transfer: Transfer, numbers: tuple[int, ...]) -> Kind:
    cycle = transfer.cycles[numbers[0]]
    distribution = voted(code_distribution(transfer.column, cycle), cycle.votes, transfer.macro.vote)
    reach = distribution.shape[1] // 2
    errors = torch.arange(-reach, reach + 1).roll(-reach - 1)[:-1]  # 1..reach, -reach..-1
    errors = errors[errors.abs().argsort(stable=True)]
    wrong = distribution[:, errors + reach]  # (counts, errors)
    rate = float(wrong.sum(1).max())
    likely = wrong.amax(0) > rate * _NEGLIGIBLE
    wrong, errors = wrong[:, likely], errors[likely]
    total = wrong.cumsum(1)
    rate = float(total.max()) if total.numel() else 0.0
    shares = total / rate if rate else total
    return Kind(numbers, rate, torch.cat([errors, errors.new_zeros(1)]), shares.contiguous())


def code_distribution(column: Column, cycle: Cycle) -> Tensor:
    """Probability that one conversion of a count returns its noise-free code + d, d = -reach..reach, for a cycle that
    is exact without noise; float64, with sum 1 for each count. # (largest count + 1, 2 reach + 1)"""
    level, sigma, code, top = _levels(column, cycle)
    reach = _reach(column, cycle)
    d = torch.arange(1, reach + 1, dtype=torch.float64)
    spread = (sigma * math.sqrt(2.0)).clamp_min(1e-300)[:, None]
    # (counts, reach): at least d above, at least d below
    above = torch.erfc((code[:, None] + d - 0.5 - level[:, None]) / spread) / 2 * (code[:, None] + d <= top)
    below = torch.erfc((level[:, None] - code[:, None] + d - 0.5) / spread) / 2 * (code[:, None] - d >= 0)
    none = level.new_zeros(len(level), 1)
    up, down = (tail - torch.cat([tail[:, 1:], none], 1) for tail in (above, below))
    same = 1.0 - above[:, :1].sum(1, keepdim=True) - below[:, :1].sum(1, keepdim=True)
    return torch.cat([down.flip(1), same, up], 1)


def _levels(column: Column, cycle: Cycle) -> tuple[Tensor, Tensor, Tensor, int]:
    """Level, sigma and noise-free code of every count, float64 (largest count + 1,), and the top code."""
    counts = possible_counts(cycle)
    level = column.level(counts.float(), cycle).double().cpu()
    sigma = column.sigma(counts.float(), cycle).double().cpu().expand_as(level)
    top = cycle.top_code or cycle.full_scale
    # the cycle is exact, so the division leaves no remainder
    code = (counts - cycle.adc_low) // cycle.adc_step if cycle.adc_step else counts * (top // cycle.full_scale)
    return level, sigma, code, top


def _reach(column: Column, cycle: Cycle) -> int:
    """Largest distance from the noise-free code that is not negligible."""
    level, sigma, code, top = _levels(column, cycle)
    return min(top, math.ceil(_SIGMAS * float(sigma.max()) + float((level - code).abs().max()) - 0.5))
