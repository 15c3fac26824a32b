"""Mean and variance of the error of a conversion, for each count."""

import math

import torch
from torch import Tensor

from asim_lightning.circuit import Column, Cycle, Transfer
from asim_lightning.circuit.columns import possible_counts, vote

_REACH = 7.0  # standard deviations of noise that are summed over
_MOST_OFFSETS = 4096
_DRAWS = 32768  # for a mode of votes: its distribution has no short form
_CELL_FRACTIONS = (-0.375, -0.125, 0.125, 0.375)


def error_moments(transfer: Transfer, cycle: Cycle) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance over reads of ``code * full_scale / top_code - count``, for the counts of a cycle. For an ADC
    with a set range the error is ``code * adc_step + adc_low - count``.

    Sums over the ADC's decision thresholds: with level L and sigma s in codes, ``P(code >= k) = Q((k - 1/2 - L) / s)``,
    both ends clamped. Votes count: a mean divides the variance by their number, and a median and a mode have their own
    distributions (the mode's from 32768 fixed draws). If cells differ, counts are real numbers, and the moments are
    averaged over four points between neighbouring counts.

    Returns:
        Counts, means and variances in counts, float64. # (counts,) each
    """
    counts = possible_counts(cycle)
    if not cycle.converted:
        return counts, torch.zeros_like(counts), torch.zeros_like(counts)
    shifts = _CELL_FRACTIONS if transfer.column.cell_sigma > 0 and cycle.analog else (0.0,)
    parts = [moments_at(transfer.column, cycle, counts + shift) for shift in shifts]
    means = torch.stack([mean for mean, _ in parts]).mean(0)
    return counts, means, torch.stack([variance for _, variance in parts]).mean(0)


def moments_at(column: Column, cycle: Cycle, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the error of a converted cycle at some counts, float64. # (counts,) each"""
    rule = column.macro.vote
    level = column.level(counts.float(), cycle).double().expand_as(counts)
    sigma = torch.zeros_like(counts)
    if cycle.analog:
        sigma = column.sigma(counts.float(), cycle).double().expand_as(counts)
    if cycle.top_code is None:
        mean, second = _clamped_normal(level, sigma, cycle)
        variance = second - mean.square()
        return mean - counts, variance / (cycle.votes if rule == "mean" else 1)
    base = level.round().clamp(-cycle.top_code if cycle.signed else 0, cycle.top_code)
    if cycle.votes > 1 and rule == "mode":
        mean, variance = _mode(level, sigma, cycle, base)
    else:
        median_of = cycle.votes if rule == "median" else 1
        mean, second = _rounded(level, sigma, cycle, base, median_of)
        variance = second - mean.square()
        if rule == "mean":
            variance = variance / cycle.votes
    span = cycle.counts_a_code
    return (base + mean) * span + cycle.adc_low - counts, variance.clamp_min(0.0) * span**2


def _rounded(level: Tensor, sigma: Tensor, cycle: Cycle, base: Tensor, median_of: int) -> tuple[Tensor, Tensor]:
    """First and second moment of ``code - base``: sums of the probabilities of reaching each code."""
    top = cycle.top_code or 0
    low = -top if cycle.signed else 0
    mean, second = torch.zeros_like(level), torch.zeros_like(level)
    reach = min(math.ceil(_REACH * float(sigma.max())) + 1, 2 * top + 1, _MOST_OFFSETS)
    for offset in range(1, reach + 1):
        above = _at_least_half(_upper_tail(base + offset - 0.5 - level, sigma), median_of) * (base + offset <= top)
        below = _at_least_half(_upper_tail(level - (base - offset + 0.5), sigma), median_of) * (base - offset >= low)
        mean += above - below
        second += (2 * offset - 1) * (above + below)
    return mean, second


def _upper_tail(distance: Tensor, sigma: Tensor) -> Tensor:
    """``P(sigma z > distance)``; if sigma is 0, whether the distance is below 0."""
    ratio = distance / sigma.clamp_min(1e-30)
    return 0.5 * torch.erfc(ratio.clamp(-40.0, 40.0) / math.sqrt(2.0))


def _at_least_half(probability: Tensor, votes: int) -> Tensor:
    """Probability that more than half of an odd number of votes are true, each with this probability."""
    if votes == 1:
        return probability
    terms = range(votes // 2 + 1, votes + 1)
    return sum(  # type: ignore[return-value]
        (math.comb(votes, k) * probability**k * (1.0 - probability) ** (votes - k) for k in terms),
        torch.zeros_like(probability),
    )


def _mode(level: Tensor, sigma: Tensor, cycle: Cycle, base: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of ``code - base`` of the most frequent code of several."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(cycle.votes, _DRAWS, dtype=torch.float64, generator=generator)  # (votes, draws)
    top = float(cycle.top_code or 0)
    low = -top if cycle.signed else 0.0
    means, variances = torch.zeros_like(level), torch.zeros_like(level)
    for place in torch.nonzero(sigma > 0).flatten().tolist():
        codes = (level[place] + sigma[place] * normal).round().clamp(low, top)
        voted = vote(codes, "mode") - base[place]
        means[place], variances[place] = voted.mean(), voted.var(unbiased=False)
    return means, variances


def _clamped_normal(level: Tensor, sigma: Tensor, cycle: Cycle) -> tuple[Tensor, Tensor]:
    """First and second moment of ``clamp(level + sigma z, low, full scale)``: an ideal converter's output."""
    high = torch.full_like(level, float(cycle.full_scale))
    low = -high if cycle.signed else torch.zeros_like(level)
    safe = sigma.clamp_min(1e-30)
    a, b = ((low - level) / safe).clamp(-40, 40), ((high - level) / safe).clamp(-40, 40)
    below, above = _upper_tail(-a, torch.ones_like(a)), _upper_tail(b, torch.ones_like(b))
    inside, density_a, density_b = 1.0 - below - above, _density(a), _density(b)
    mean = low * below + high * above + level * inside + sigma * (density_a - density_b)
    second = low.square() * below + high.square() * above + (level.square() + sigma.square()) * inside
    second = second + sigma * ((level + low) * density_a - (level + high) * density_b)
    return mean, second


def _density(x: Tensor) -> Tensor:
    return torch.exp(-0.5 * x.square()) / math.sqrt(2.0 * math.pi)
