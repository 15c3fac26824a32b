"""Mean and variance of the error of a conversion, for each count."""

import math

import torch
from torch import Tensor

from asim_lightning.circuit import Column, Cycle, Transfer
from asim_lightning.circuit.columns import possible_counts, vote

_REACH = 7.0  # standard deviations of noise that are summed over
_MOST_OFFSETS = 4096
_DRAWS = 32768  # for a mode of votes: its distribution has no short form


def error_moments(transfer: Transfer, cycle: Cycle) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance over reads of ``code * full_scale / top_code - count``, for the counts of a cycle. For an ADC
    with a set range the error is ``code * adc_step + adc_low - count``.

    Sums over the ADC's decision thresholds: with level L and sigma s in codes, ``P(code >= k) = Q((k - 1/2 - L) / s)``,
    both ends clamped. Votes count: a mean divides the variance by their number, and a median and a mode have their own
    distributions (the mode's from 32768 fixed draws). Static effects do not count; see `static_moments`.

    Returns:
        Counts, means and variances in counts, float64. # (counts,) each
    """
    counts = possible_counts(cycle)
    if not cycle.converted:
        return counts, torch.zeros_like(counts), torch.zeros_like(counts)
    return counts, *moments_at(transfer.column, cycle, counts)


def moments_at(column: Column, cycle: Cycle, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the error of a converted cycle at some counts, float64. # (counts,) each"""
    level = column.level(counts.float(), cycle).double().expand_as(counts)
    sigma = torch.zeros_like(counts)
    if cycle.analog:
        sigma = column.sigma(counts.float(), cycle).double().expand_as(counts)
    mean, variance = converted(level, sigma, cycle, column.macro.vote)
    return mean - counts, variance


def converted(
    level: Tensor, sigma: Tensor, cycle: Cycle, rule: str, inl: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and variance over reads of what conversions at levels with noise sigma return, in counts.

    Args:
        level: In codes, float64. # (counts,) or (converters, counts)
        sigma: In codes, of the same shape.
        rule: How votes become one code.
        inl: INL by code, in codes. Thresholds are taken as in order. # (converters, codes)
    """
    if cycle.top_code is None:
        mean, second = _clamped_normal(level, sigma, cycle)
        variance = second - mean.square()
        return mean, variance / (cycle.votes if rule == "mean" else 1)
    base = level.round().clamp(-cycle.top_code if cycle.signed else 0, cycle.top_code)
    if cycle.votes > 1 and rule == "mode":
        mean, variance = _mode(level, sigma, cycle, base, inl)
    else:
        median_of = cycle.votes if rule == "median" else 1
        mean, second = _rounded(level, sigma, cycle, base, median_of, inl)
        variance = second - mean.square()
        if rule == "mean":
            variance = variance / cycle.votes
    span = cycle.counts_a_code
    return (base + mean) * span + cycle.adc_low, variance.clamp_min(0.0) * span**2


def _rounded(
    level: Tensor, sigma: Tensor, cycle: Cycle, base: Tensor, median_of: int, inl: Tensor | None
) -> tuple[Tensor, Tensor]:
    """First and second moment of ``code - base``: sums of the probabilities of reaching each code."""
    top = cycle.top_code or 0
    low = -top if cycle.signed else 0
    mean, second = torch.zeros_like(level), torch.zeros_like(level)
    for offset in range(1, _reach(sigma, cycle, inl) + 1):
        upper, lower = (_shifted(base + step - 0.5, inl, low) for step in (offset, 1 - offset))
        above = _at_least_half(_upper_tail(upper - level, sigma), median_of) * (base + offset <= top)
        below = _at_least_half(_upper_tail(level - lower, sigma), median_of) * (base - offset >= low)
        mean += above - below
        second += (2 * offset - 1) * (above + below)
    return mean, second


def _reach(sigma: Tensor, cycle: Cycle, inl: Tensor | None) -> int:
    """Largest distance in codes between the nearest code of a level and a code that is converted."""
    moved = 0 if inl is None else math.ceil(float(inl.abs().max()))
    return min(math.ceil(_REACH * float(sigma.max())) + 1 + moved, 2 * (cycle.top_code or 0) + 1, _MOST_OFFSETS)


def _shifted(threshold: Tensor, inl: Tensor | None, low: int) -> Tensor:
    """Thresholds below codes, moved by the INL of the codes. # (converters, counts)"""
    if inl is None:
        return threshold
    code = (threshold + 0.5 - low).long().clamp(0, inl.shape[1] - 1)
    return threshold + inl.gather(1, code)


def passed(level: Tensor, sigma: Tensor, cycle: Cycle, inl: Tensor | None = None) -> Tensor:
    """Slope of the mean code over the level: the share of a small change of the level that a conversion with noise
    sigma above 0 passes on. Arguments and result as in `converted`."""
    high = cycle.full_scale if cycle.top_code is None else cycle.top_code
    low = -high if cycle.signed else 0
    safe = sigma.clamp_min(1e-30)
    if cycle.top_code is None:
        return 1.0 - _upper_tail(level - low, safe) - _upper_tail(high - level, safe)
    base, slope, reach = level.round().clamp(low, high), torch.zeros_like(level), _reach(sigma, cycle, inl)
    for offset in range(1 - reach, reach + 1):
        is_code = (base + offset > low) & (base + offset <= high)
        distance = _shifted(base + offset - 0.5, inl, low) - level
        slope += _density((distance / safe).clamp(-40.0, 40.0)) / safe * is_code
    return slope


def _upper_tail(distance: Tensor, sigma: Tensor) -> Tensor:
    """``P(sigma z > distance)``; if sigma is 0, whether the distance is below 0."""
    ratio = distance / sigma.clamp_min(1e-30)
    chance = 0.5 * torch.erfc(ratio.clamp(-40.0, 40.0) / math.sqrt(2.0))
    return torch.where((distance == 0.0) & (sigma == 0.0), 0.0, chance)


def _at_least_half(probability: Tensor, votes: int) -> Tensor:
    """Probability that more than half of an odd number of votes are true, each with this probability."""
    if votes == 1:
        return probability
    terms = range(votes // 2 + 1, votes + 1)
    return sum(  # type: ignore[return-value]
        (math.comb(votes, k) * probability**k * (1.0 - probability) ** (votes - k) for k in terms),
        torch.zeros_like(probability),
    )


def _mode(level: Tensor, sigma: Tensor, cycle: Cycle, base: Tensor, inl: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance of ``code - base`` of the most frequent code of several."""
    generator = torch.Generator().manual_seed(0)
    draws = _DRAWS // level[..., 0].numel()  # averages over many converters need fewer draws of each
    normal = torch.randn(cycle.votes, *level.shape[:-1], draws, dtype=torch.float64, generator=generator)
    top = float(cycle.top_code or 0)
    low = -top if cycle.signed else 0.0
    thresholds = torch.arange(low + 1, top + 1, dtype=torch.float64)
    means, variances = torch.zeros_like(level), torch.zeros_like(level)
    varies = (sigma > 0).flatten(0, -2).any(0) if sigma.dim() > 1 else sigma > 0
    for place in range(level.shape[-1]) if inl is not None else torch.nonzero(varies).flatten().tolist():
        value = level[..., place, None] + sigma[..., place, None] * normal
        codes = value.round().clamp(low, top)
        if inl is not None:
            moved = (thresholds - 0.5 + inl[:, 1:]).expand(len(value), *inl[:, 1:].shape).contiguous()
            codes = torch.searchsorted(moved, value.contiguous(), right=True).double() + low
        voted = vote(codes, "mode") - base[..., place, None]
        means[..., place], variances[..., place] = voted.mean(-1), voted.var(-1, unbiased=False)
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
