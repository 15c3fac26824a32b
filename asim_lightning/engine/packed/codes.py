"""What the packed engine's kernels make of counts: noise, ADC and votes, 16 lanes at a time."""

from typing import Any

import numpy as np

from asim_lightning.engine.noise_numba import box_muller, philox
from asim_lightning.engine.numba_lanes import element, everywhere, float_zeros, load, look_up, store, zeros
from asim_lightning.engine.numba_words import (
    add_i,
    add_u,
    bits_of_float,
    called,
    chosen,
    float_of_bits,
    float_of_i,
    inline,
    int_of_f,
    int_of_level,
    larger,
    mul_i,
    not_more,
    same,
    shift_right_i,
    smaller,
    sub_i,
)
from asim_lightning.engine.packed.schedule import KINDS, NONE, NUMBERS, QUOTIENT, SHRINKING, TABLE, VOTE_RULES

f32, u32, i32 = np.float32, np.uint32, np.int32
_SUM, _MODE = VOTE_RULES["mean"], VOTE_RULES["mode"]
_ZERO, _ONE, _THREE_HALVES, _MINUS_HALF = f32(0.0), f32(1.0), f32(1.5), f32(-0.5)
# a guess by the bits and a step with constants fitted to it (Moroz et al., Computation 9, 21, 2021)
_ROOT_GUESS, _ROOT_SLOPE, _ROOT_START = i32(0x5F1FFFF9), f32(-0.703952253), f32(0.703952253 * 2.38924456)


@inline
def shrinking_sigma(count: Any, row: Any, numbers: Any) -> Any:
    """Sigma where it is ``sqrt(a^2 + b^2 / (c * count + 1))``, from a cycle's numbers."""
    d = count * element(numbers, row + 5) + _ONE
    n = d * element(numbers, row + 3) + element(numbers, row + 4)
    p = d * n  # sigma = sqrt(n / d) = n / sqrt(n d)
    y = float_of_bits(sub_i(_ROOT_GUESS, shift_right_i(bits_of_float(p), i32(1))))
    y = y * (p * y * y * _ROOT_SLOPE + _ROOT_START)  # 7e-4 off, and after one step of Newton's 7e-7
    y = y * (p * y * y * _MINUS_HALF + _THREE_HALVES)
    return n * y


@inline
def _sigma(count: Any, kind: Any, place: Any, row: Any, numbers: Any, sigmas: Any) -> Any:
    if kind == SHRINKING:
        return shrinking_sigma(count, row, numbers)
    if kind == TABLE:
        return look_up(sigmas, add_i(int_of_f(count), place))
    return float_zeros() + element(numbers, row + 2)


@inline
def quotient_level(count: Any, row: Any, numbers: Any) -> Any:
    """Level where it is ``count / full_scale * top_code``, to the bit, from a cycle's numbers."""
    return (count * element(numbers, row) + count * element(numbers, row + 6)) * element(numbers, row + 1)


@inline
def code_of(count: Any, z: Any, cycle: Any, kinds: Any, numbers: Any, levels: Any, sigmas: Any) -> Any:
    """What the ADC makes of a count."""
    real, row = float_of_i(count), cycle * NUMBERS
    sigma_kind, place = element(kinds, cycle * KINDS + 1), i32(element(kinds, cycle * KINDS + 2))
    if element(kinds, cycle * KINDS) == TABLE:
        level = look_up(levels, add_i(count, place))
    elif element(kinds, cycle * KINDS) == QUOTIENT:
        level = quotient_level(real, row, numbers)
    else:
        level = real * element(numbers, row)
    if sigma_kind != NONE:
        level = level + _sigma(real, sigma_kind, place, row, numbers, sigmas) * z
    return int_of_level(smaller(larger(level, _ZERO), element(numbers, row + 1)))


@called
def _vote(reads: Any, votes: Any, rule: Any) -> Any:
    """One code of several, 16 lanes; see `vote.vote`."""
    best = load(reads, 0)
    agreement = zeros()
    half = i32(votes // 2)
    for a in range(votes):
        code = load(reads, a * 16)
        agree, below = zeros(), zeros()
        if rule == _MODE:
            for b in range(votes):
                agree = add_i(agree, same(code, load(reads, b * 16)))
            more = sub_i(i32(1), not_more(agree, agreement))
            better = add_i(more, mul_i(same(agree, agreement), not_more(code, best)))
            best = chosen(better, code, best)
            agreement = chosen(better, agree, agreement)
        else:
            for b in range(votes):
                other = load(reads, b * 16)
                agree = add_i(agree, not_more(other, code))
                below = add_i(below, sub_i(i32(1), not_more(code, other)))
            middle = mul_i(not_more(below, half), sub_i(i32(1), not_more(agree, half)))
            best = chosen(middle, code, best)
    return best


@called
def read_of(
    count: Any, cycle: Any, kinds: Any, numbers: Any, levels: Any, sigmas: Any, ids: Any, positions: Any, third: Any,
    key: Any, reads: Any, rule: Any,
) -> Any:  # fmt: skip
    """Code of a voted cycle, or of one that shares its random words with one."""
    total, votes, q = zeros(), element(kinds, cycle * KINDS + 3), cycle % 4
    for vote in range(votes):
        z = float_zeros()
        if element(kinds, cycle * KINDS + 1) != NONE:
            last = everywhere(add_u(key[2], u32(vote)))
            w0, w1, w2, w3 = philox(ids, positions, third, last, key[0], key[1])
            if q >= 2:
                w0, w1 = w2, w3
            z, other = box_muller(w0, w1)
            if q % 2 == 1:
                z = other
        code = code_of(count, z, cycle, kinds, numbers, levels, sigmas)
        store(reads, vote * 16, code)
        total = add_i(total, code)
    if rule != _SUM and votes > 1:
        total = _vote(reads, votes, rule)
    return total
