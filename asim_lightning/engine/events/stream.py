"""The stream of candidates: the conversions that may be wrong, as a function of counters and not as a sequence.

Event stream version 1. A row of outputs is cut into blocks of consecutive outputs. Within a block and a kind of cycle
the conversions are numbered ``(output * tiles + tile) * cycles of the kind + cycle``, and candidates are found by
skipping ahead: the gap before the next one is ``floor(log(u) / log(1 - rate))``, so that each conversion is a candidate
with probability `rate`, independently of all others.

Draw number i of a block and kind: Philox 4x32 with 7 rounds (see `noise`), key (seed, hash of the layer's full name +
"/events" + call number), counter (sample id, number of the block among those of the sample's rows, kind << 24 | i,
trial << 16). Words 0 and 1 make the uniform of the gap, words 2 and 3 the one that accepts or rejects the candidate
and chooses its error: ``((a >> 6) * 2^26 + (b >> 6) + 1/2) * 2^-52``, so that a rate of 1e-9 is met to 1e-6 even in
the first gap. The logarithm is a polynomial in float64, each operation rounded once, so that all devices find the same
candidates.

The number of draws of a block is fixed: more are needed with a probability below 1e-20. Any change of these lines
changes `EVENT_STREAM_VERSION`.
"""

import math

import torch
from torch import Tensor

from asim_lightning.engine.noise import philox

EVENT_STREAM_VERSION = 1
WORD_BITS, HALF_WORD = 6, 67108864.0
"""Bits that a word loses, and 2 to the number of those that remain."""
UNIFORM_STEP = 2.0**-52
SQRT_HALF_BITS, MANTISSA_BITS = 0x3FE6A09E667F3BCD, 52
LN2 = 0.6931471805599453
LOG = tuple(2.0 / k for k in range(1, 24, 2))
"""log m = 2 (s + s^3 / 3 + s^5 / 5 + ...) with s = (m - 1) / (m + 1), |s| <= 0.172: the 12 terms leave 1e-20."""
KIND_BITS = 24
_RARE = 1e-20


def draws_of(conversions: int, rate: float) -> int:
    """Number of draws for a block of conversions of one kind, enough for the last candidate to lie beyond the block's
    end.

    The number of candidates is binomial with mean m, so ``P(at least n) <= exp(n - m + n log(m / n))`` for n > m
    (Chernoff), and it never exceeds the number of conversions.
    """
    mean = conversions * rate
    number = math.ceil(mean) + 1
    while number < conversions and number - mean + number * math.log(mean / number) > math.log(_RARE):
        number += 1
    return min(number, conversions)


def gap_factor(rate: float) -> float:
    """1 / log(1 - rate)."""
    return -0.0 if rate >= 1.0 else 1.0 / math.log1p(-rate)


def uniform(high: Tensor, low: Tensor) -> Tensor:
    """Uniform numbers inside (0, 1), float64, of two random 32-bit words each."""
    whole = (high >> WORD_BITS).double() * HALF_WORD + (low >> WORD_BITS).double()
    return (whole + 0.5) * UNIFORM_STEP


def logarithm(u: Tensor) -> Tensor:
    """Natural logarithm of positive numbers in float64, the same on every device."""
    bits = u.view(torch.int64)
    exponent = (bits - SQRT_HALF_BITS) >> MANTISSA_BITS
    mantissa = (bits - (exponent << MANTISSA_BITS)).view(torch.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    value = square * LOG[-1] + LOG[-2]
    for coefficient in reversed(LOG[:-2]):
        value = value * square + coefficient
    return value * s + exponent.double() * LN2


def candidates(
    key: tuple[int, int],
    sample_ids: Tensor,
    blocks: Tensor,
    trial: int,
    kind: int,
    draws: int,
    factor: float,
    conversions: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Candidates of some blocks: the definition, for any device that has float64.

    Args:
        key: (seed, layer key).
        sample_ids: Sample of each block, int64. # (blocks,)
        blocks: Number of each block within its sample, int64. # (blocks,)
        trial: Number of the read.
        kind: Number of the kind of cycles.
        draws: Draws of a block (`draws_of`).
        factor: `gap_factor` of the kind's rate.
        conversions: Conversions of each block, int64. # (blocks,)

    Returns:
        Row of the block, number of the conversion within it (both int64), and the second uniform of each candidate.
        # (candidates,) each
    """
    device = sample_ids.device
    third = torch.arange(draws, device=device) + (kind << KIND_BITS)
    last = torch.full((), trial << 16, dtype=torch.int64, device=device)
    words = philox((sample_ids[:, None], blocks[:, None], third, last), key)  # (blocks, draws) each
    gaps = (logarithm(uniform(words[0], words[1])) * factor).floor()
    gaps = torch.minimum(gaps, conversions[:, None].double())  # what passes the block's end need not be exact
    places = (gaps.long() + 1).cumsum(1) - 1
    block, draw = (places < conversions[:, None]).nonzero(as_tuple=True)
    return block, places[block, draw], uniform(words[2], words[3])[block, draw]
