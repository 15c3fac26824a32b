"""The stream of candidates of converters that differ, as a function of counters and not as a sequence.

Tail stream version 1. The pixels of a group or head are cut into blocks. Within a block a converter (a kind of cycles,
tile, group or head, weight bit and output column) makes the conversions ``pixel * cycles + cycle``, and candidates are
found as `events.stream` finds them, by gaps of ``floor(log(u) / log(1 - rate))``. The rate is the probability that a
normal passes one of the converter's two margins, ``Q(up) + Q(down)``; 1 from 0.5 on.

A second uniform v gives the candidate's normal: with ``t = rate * v`` the one that t leaves above it where t is below
Q(up), else minus the one that ``t - Q(up)`` leaves above it; 6.7 sigmas at most.

Draw number i of a converter: Philox 4x32 with 7 rounds, key (seed, hash of the layer's full name + "/tails" + call
number), counter (sample id, number of the block among those of the sample's rows, number of the converter, trial << 16
| i). Words 0 and 1 make u, words 2 and 3 make v. Any change of these lines changes `TAIL_STREAM_VERSION`.
"""

import torch
from torch import Tensor

from asim_lightning.engine.events.stream import logarithm, uniform
from asim_lightning.engine.noise import philox

TAIL_STREAM_VERSION = 1
ALWAYS = 0.5
"""Rate from which on all conversions are made."""
_SMALLEST = 2.0**-36
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


def normal_above(tail: Tensor) -> Tensor:
    """The normal above which a probability of at most 1/2 lies, float64; below 2^-36 that of 2^-36."""
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


def candidates(
    key: tuple[int, int], sample: int, block: int, trial: int, places: Tensor, rates: tuple[Tensor, Tensor], end: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Candidates of some converters in a block.

    Args:
        key: (seed, layer key).
        sample: Sample id.
        block: Number of the block.
        trial: Number of the read.
        places: Numbers of the converters, int64. # (converters,)
        rates: Rate of each converter, and its part above, float64. # (converters,)
        end: Conversions of each.

    Returns:
        Which converter, which of its conversions (int64), and the normal (float32). # (candidates,) each
    """
    rate, above = (each.clone() for each in rates)
    always = rate >= ALWAYS
    rate[always], above[always] = 1.0, 0.5
    factor = torch.where(always, -0.0, 1.0 / logarithm((1.0 - rate).clamp_min(0.25)))
    alive, after = (rate > 0).nonzero()[:, 0], torch.zeros(len(rate), dtype=torch.int64)
    found, draw = [(alive[:0], alive[:0], torch.zeros(0))], 0
    while len(alive):
        words = [torch.tensor(word) for word in (sample, block, trial << 16 | draw)]
        a, b, c, d = philox((words[0], words[1], places[alive], words[2]), key)
        left = (end - after[alive]).double()
        gap = (logarithm(uniform(a, b)) * factor[alive]).floor()
        held = gap < left
        alive, place = alive[held], after[alive[held]] + gap[held].long()
        chance, up = uniform(c, d)[held] * rate[alive], above[alive]
        normal = normal_above(torch.where(chance < up, chance, chance - up))
        found.append((alive, place, torch.where(chance < up, normal, -normal).float()))
        after[alive] = place + 1
        draw += 1
    which, where, normals = zip(*found, strict=True)
    return torch.cat(which), torch.cat(where), torch.cat(normals)
