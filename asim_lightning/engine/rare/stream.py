"""The stream of candidates: the conversions that may be wrong, as a function of counters and not as a sequence.

Version 2, with `noise.STREAM_VERSION`. A row of outputs is cut into blocks of consecutive outputs. In a block, the
conversions of a kind of cycle follow each other, output by output and tile by tile. Each conversion has the hazard
``-log(1 - rate)``. The next candidate is the conversion at which the sum of hazards since the last candidate passes
``-log(u)``. So each conversion is a candidate with its rate, independently of all others.

Equal converters have one rate, so the gap before the next candidate is ``floor(log(u) / log(1 - rate))``. A tile's
conversions follow each other in the order of the schedule; if converters differ, they are sorted by weight bit, so that
each converter's conversions follow each other.

Draw number i of a block and kind: Philox 4x32 with 7 rounds (see `noise`), key (seed, hash of the layer's full name +
"/events" + call number), counter (sample id, number of the block in all rows of the sample, kind << 24 | i,
trial << 16). Words 0 and 1 make the uniform of the gap. Words 2 and 3 make the uniform that decides the candidate's
error. A uniform is ``((a >> 6) * 2^26 + (b >> 6) + 1/2) * 2^-52``, so that a rate of 1e-9 is met to 1e-6 even in the
first gap. The logarithm is a polynomial in float64, each operation rounded once: all devices find the same candidates.

For equal converters the second uniform v chooses one of the errors of the candidate's count, or none. If converters
differ, v gives the candidate's normal. Let ``t = rate * v``. If t is below the part of the rate above the upper margin,
the normal is the one with probability t above it. Otherwise it is minus the normal with the rest of t above it. Normals
are at most 6.7.

A block of equal converters has a fixed number of draws: more are needed with a probability below 1e-20. Any change
of these lines changes the version.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from asim_lightning.engine.noise import philox

WORD_BITS, HALF_WORD = 6, 67108864.0
"""Bits that a word loses, and 2 to the number of remaining bits."""
UNIFORM_STEP = 2.0**-52
SQRT_HALF_BITS, MANTISSA_BITS = 0x3FE6A09E667F3BCD, 52
LN2 = 0.6931471805599453
LOG = tuple(2.0 / k for k in range(1, 24, 2))
"""log m = 2 (s + s^3 / 3 + s^5 / 5 + ...) with s = (m - 1) / (m + 1), |s| <= 0.172: the 12 terms leave 1e-20."""
KIND_BITS = 24
_RARE = 1e-20
_SMALLEST = 2.0**-36
_BELOW_ONE = 1.0 - 2.0**-53
MIDDLE, FAR = (
    (
        (
            3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
            4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3,
        ),
        (
            1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
            2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3,
        ),
    ),
    (
        (
            1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
            1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4,
        ),
        (
            1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
            1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9,
        ),
    ),
)  # fmt: skip
"""Numerators and denominators of Wichura's PPND16 (Applied Statistics 37, 1988, AS 241), lowest power first."""


def draws_of(conversions: int, rate: float) -> int:
    """Draws for a block of conversions of one kind: enough for the last candidate to lie beyond the block's end.

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
    """Uniform numbers inside (0, 1), float64, each from two random 32-bit words."""
    whole = (high >> WORD_BITS).double() * HALF_WORD + (low >> WORD_BITS).double()
    return (whole + 0.5) * UNIFORM_STEP


def logarithm(u: Tensor) -> Tensor:
    """Natural logarithm of positive float64 numbers, the same on every device."""
    bits = u.view(torch.int64)
    exponent = (bits - SQRT_HALF_BITS) >> MANTISSA_BITS
    mantissa = (bits - (exponent << MANTISSA_BITS)).view(torch.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    value = square * LOG[-1] + LOG[-2]
    for coefficient in reversed(LOG[:-2]):
        value = value * square + coefficient
    return value * s + exponent.double() * LN2


def normal_above(tail: Tensor) -> Tensor:
    """The normal with a probability `tail` of at most 1/2 above it, float64; tails below 2^-36 count as 2^-36."""
    p = tail.clamp_min(_SMALLEST)
    q = 0.5 - p
    middle = q * _ratio(0.180625 - q * q, *MIDDLE)
    far = _ratio((-logarithm(p)).sqrt() - 1.6, *FAR)
    return torch.where(q <= 0.425, middle, far)


def _ratio(x: Tensor, over: tuple[float, ...], under: tuple[float, ...]) -> Tensor:
    a, b = x * 0 + over[-1], x * 0 + under[-1]
    for first, second in zip(reversed(over[:-1]), reversed(under[:-1]), strict=True):
        a, b = a * x + first, b * x + second
    return a / b


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of samples in one read.

    Attributes:
        key: (seed, layer key).
        sample_ids: Sample of each block, int64. # (blocks,)
        numbers: Number of each block within its sample, int64. # (blocks,)
    """

    key: tuple[int, int]
    trial: int
    sample_ids: Tensor
    numbers: Tensor

    def uniforms(self, kind: int, draws: range, some: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Both uniforms of some draws: of the gap, and the second one, float64. # (some blocks, draws) each"""
        third = torch.arange(draws.start, draws.stop, device=self.numbers.device) + (kind << KIND_BITS)
        last = torch.full((), self.trial << 16, dtype=torch.int64, device=third.device)
        a, b, c, d = philox((self.sample_ids[some][:, None], self.numbers[some][:, None], third, last), self.key)
        return uniform(a, b), uniform(c, d)


def candidates(
    blocks: Blocks, kind: int, draws: int, factor: float, conversions: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Candidates of equal converters: the definition, for any device that has float64.

    Args:
        draws: Draws of a block (`draws_of`).
        factor: `gap_factor` of the kind's rate.
        conversions: Conversions of each block, int64. # (blocks,)

    Returns:
        Block, conversion within it (both int64), and second uniform of each candidate. # (candidates,) each
    """
    first, second = blocks.uniforms(kind, range(draws))  # (blocks, draws) each
    gaps = (logarithm(first) * factor).floor()
    gaps = torch.minimum(gaps, conversions[:, None].double())  # beyond the block's end gaps need not be exact
    places = (gaps.long() + 1).cumsum(1) - 1
    block, draw = (places < conversions[:, None]).nonzero(as_tuple=True)
    return block, places[block, draw], second[block, draw]


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of consecutive outputs of one column; their conversions follow each other converter by converter.

    Attributes:
        hazards: Running sums over the conversions of an output, converter by converter, float64.
            # (columns, converters)
        number: Conversions of a converter in an output, int64. # (converters,)
        columns: Column of each run, int64. # (blocks, runs of a block)
        lengths: Outputs of each run; 0 if a block has fewer runs, int64. # (blocks, runs of a block)
    """

    hazards: Tensor
    number: Tensor
    columns: Tensor
    lengths: Tensor


def candidates_apart(blocks: Blocks, kind: int, runs: Runs) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Candidates of converters that differ: the definition, for any device that has float64.

    Returns:
        Block, run of the block, converter of the column, conversion among the converter's in the run (all int64), and
        second uniform of each candidate. # (candidates,) each
    """
    ends = (runs.hazards[:, -1][runs.columns] * runs.lengths).cumsum(1)  # (blocks, runs)
    alive = torch.arange(len(ends), device=ends.device)
    run, which, turn, number = (torch.zeros_like(alive) for _ in range(4))
    start, before, each, inverse = (torch.zeros(len(ends), dtype=torch.float64, device=ends.device) for _ in range(4))
    found, draw = [(alive[:0], alive[:0], alive[:0], alive[:0], start[:0])], 0
    while len(alive):
        first, chance = (u[:, 0] for u in blocks.uniforms(kind, range(draw, draw + 1), alive))
        spent = logarithm(first) * -1.0
        gap = spent * inverse
        stays = gap < number - turn
        position = start + (before + turn * each) + spent
        left = torch.searchsorted(ends[alive], position[:, None], right=True)[:, 0]
        held = stays | (left < ends.shape[1])
        run = torch.where(stays, run, left)
        alive, run, which, turn, number, start, before, each, inverse, gap, stays, position, chance = (
            value[held]
            for value in (alive, run, which, turn, number, start, before, each, inverse, gap, stays, position, chance)
        )
        length = runs.lengths[alive, run]
        own = runs.hazards[runs.columns[alive, run]] * length[:, None]  # (alive, converters)
        new_start = ends[alive, (run - 1).clamp_min(0)].where(run > 0, 0.0)
        at = torch.minimum(position - new_start, own[:, -1] * _BELOW_ONE)
        new = torch.searchsorted(own, at[:, None], right=True)
        new_before = own.gather(1, (new - 1).clamp_min(0)).where(new > 0, 0.0)[:, 0]
        new_number = runs.number[new[:, 0]] * length
        new_each = (own.gather(1, new)[:, 0] - new_before) * (1.0 / new_number)
        new_inverse = 1.0 / new_each
        new_turn = torch.minimum(((at - new_before) * new_inverse).long(), new_number - 1)
        turn = torch.where(stays, turn + gap.long(), new_turn)
        which, number = torch.where(stays, which, new[:, 0]), torch.where(stays, number, new_number)
        start, before = torch.where(stays, start, new_start), torch.where(stays, before, new_before)
        each, inverse = torch.where(stays, each, new_each), torch.where(stays, inverse, new_inverse)
        found.append((alive, run, which, turn, chance))
        turn, draw = turn + 1, draw + 1
    blocks_of, runs_of, converters, turns, chances = (torch.cat(column) for column in zip(*found, strict=True))
    return blocks_of, runs_of, converters, turns, chances


def all_of(runs: Runs) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """All conversions of the converters that have a hazard, in the form of `candidates_apart`."""
    has_hazard = runs.hazards.diff(dim=1, prepend=runs.hazards.new_zeros(len(runs.hazards), 1)) > 0
    block, run, which = (has_hazard[runs.columns] & (runs.lengths > 0)[:, :, None]).nonzero(as_tuple=True)
    number = runs.number[which] * runs.lengths[block, run]
    block, run, which = (each.repeat_interleave(number) for each in (block, run, which))
    first = (number.cumsum(0) - number).repeat_interleave(number)
    turn = torch.arange(len(first), device=first.device) - first
    return block, run, which, turn, torch.full(turn.shape, 0.5, dtype=torch.float64, device=turn.device)
