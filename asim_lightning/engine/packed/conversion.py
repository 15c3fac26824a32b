"""The packed engine's kernel of conversions: counts by popcount, noise, ADC and shift-add, 16 lanes at a time."""

from functools import lru_cache
from typing import Any

import numpy as np

from asim_lightning.engine.noise_numba import box_muller, philox
from asim_lightning.engine.numba_lanes import (
    add_wide,
    element,
    everywhere,
    float_zeros,
    load,
    look_up,
    store,
    store_scaled,
    zeros,
)
from asim_lightning.engine.numba_words import (
    add_i,
    add_u,
    and_u,
    bits_of_float,
    called,
    chosen,
    compiled,
    float_of_bits,
    float_of_i,
    inline,
    int_of_f,
    int_of_level,
    larger,
    mul_i,
    not_more,
    ones_of_u,
    same,
    shift_left_i,
    shift_right_i,
    smaller,
    sub_i,
)
from asim_lightning.engine.packed.schedule import (
    COUNT,
    KINDS,
    NONE,
    NUMBERS,
    SHRINKING,
    STEP,
    TABLE,
    VOTE_RULES,
)

f32, u32, i32 = np.float32, np.uint32, np.int32
_SUM, _MODE = VOTE_RULES["mean"], VOTE_RULES["mode"]
_ZERO, _ONE, _THREE_HALVES, _MINUS_HALF = f32(0.0), f32(1.0), f32(1.5), f32(-0.5)
# a guess by the bits and a step with constants fitted to it (Moroz et al., Computation 9, 21, 2021)
_ROOT_GUESS, _ROOT_SLOPE, _ROOT_START = i32(0x5F1FFFF9), f32(-0.703952253), f32(0.703952253 * 2.38924456)


@inline
def _four_counts(
    first: Any, last: Any, steps: Any, single: Any, at: Any, lanes: Any, place: Any, filled: Any, flag: Any,
    length: Any, words: Any,
) -> Any:  # fmt: skip
    """Counts of four cycles: ones of their pairs of planes, weighted by the bits of the digit."""
    c0, c1, c2, c3 = zeros(), zeros(), zeros(), zeros()
    for step in range(first * STEP, last * STEP, STEP):
        a0, a1 = at + element(steps, step) * length, at + element(steps, step + 1) * length
        a2, a3 = at + element(steps, step + 2) * length, at + element(steps, step + 3) * length
        n0, n1, n2, n3 = zeros(), zeros(), zeros(), zeros()
        plane = element(steps, step + 4)
        if element(steps, step + 12) != 0:  # the four cycles share a plane of the lanes
            b = place + plane * length * 16
            if element(filled, flag + plane) != 0:
                for word in range(words):
                    bits = load(lanes, b + word * 16)
                    n0 = add_i(n0, ones_of_u(and_u(bits, element(single, a0 + word))))
                    n1 = add_i(n1, ones_of_u(and_u(bits, element(single, a1 + word))))
                    n2 = add_i(n2, ones_of_u(and_u(bits, element(single, a2 + word))))
                    n3 = add_i(n3, ones_of_u(and_u(bits, element(single, a3 + word))))
        else:
            b0, b1 = place + plane * length * 16, place + element(steps, step + 5) * length * 16
            b2, b3 = place + element(steps, step + 6) * length * 16, place + element(steps, step + 7) * length * 16
            for word in range(words):
                n0 = add_i(n0, ones_of_u(and_u(load(lanes, b0 + word * 16), element(single, a0 + word))))
                n1 = add_i(n1, ones_of_u(and_u(load(lanes, b1 + word * 16), element(single, a1 + word))))
                n2 = add_i(n2, ones_of_u(and_u(load(lanes, b2 + word * 16), element(single, a2 + word))))
                n3 = add_i(n3, ones_of_u(and_u(load(lanes, b3 + word * 16), element(single, a3 + word))))
        c0 = add_i(c0, shift_left_i(n0, i32(element(steps, step + 8))))
        c1 = add_i(c1, shift_left_i(n1, i32(element(steps, step + 9))))
        c2 = add_i(c2, shift_left_i(n2, i32(element(steps, step + 10))))
        c3 = add_i(c3, shift_left_i(n3, i32(element(steps, step + 11))))
    return c0, c1, c2, c3


@inline
def _is_empty(first: Any, last: Any, steps: Any, filled: Any, flag: Any) -> Any:
    """Whether the planes of all lanes that four cycles meet have no 1."""
    for step in range(first * STEP, last * STEP, STEP):
        for k in range(4, 8):
            if element(filled, flag + element(steps, step + k)) != 0:
                return False
    return True


@inline
def _sigma(count: Any, kind: Any, place: Any, row: Any, numbers: Any, sigmas: Any) -> Any:
    if kind == SHRINKING:
        d = count * element(numbers, row + 5) + _ONE
        n = d * element(numbers, row + 3) + element(numbers, row + 4)
        p = d * n  # sigma = sqrt(n / d) = n / sqrt(n d)
        y = float_of_bits(sub_i(_ROOT_GUESS, shift_right_i(bits_of_float(p), i32(1))))
        y = y * (p * y * y * _ROOT_SLOPE + _ROOT_START)  # 7e-4 off, and after one step of Newton's 7e-7
        y = y * (p * y * y * _MINUS_HALF + _THREE_HALVES)
        return n * y
    if kind == TABLE:
        return look_up(sigmas, add_i(int_of_f(count), place))
    return float_zeros() + element(numbers, row + 2)


@inline
def _code(count: Any, z: Any, cycle: Any, kinds: Any, numbers: Any, levels: Any, sigmas: Any) -> Any:
    """What the ADC makes of a count."""
    real, row = float_of_i(count), cycle * NUMBERS
    sigma_kind, place = element(kinds, cycle * KINDS + 1), i32(element(kinds, cycle * KINDS + 2))
    if element(kinds, cycle * KINDS) == TABLE:
        level = look_up(levels, add_i(count, place))
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
def _read(
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
        code = _code(count, z, cycle, kinds, numbers, levels, sigmas)
        store(reads, vote * 16, code)
        total = add_i(total, code)
    if rule != _SUM and votes > 1:
        total = _vote(reads, votes, rule)
    return total


def _convert(
    single: Any, lanes: Any, filled: Any, first: int, words: Any, first_step: Any, steps: Any, kinds: Any, numbers: Any,
    levels: Any, sigmas: Any, noisy: Any, quiet: Any, cycles: int, lane_places: Any, single_places: Any,
    problem_places: Any, key: Any, rule: int, block: int, scale: Any, reads: Any, sums: Any, digital: bool,
    out: Any, low: int, high: int,
) -> None:  # fmt: skip
    """Make every conversion, and sum its codes; cycles are taken four at a time, as their random words are.

    Args:
        single: Bit planes of the operand that all lanes share, the last of zeros.
            # (problems, tiles, singles, planes, words)
        lanes: Bit planes of the operand that differs from lane to lane, of some units of (problem, group of lanes).
            # (units, tiles, planes, words, 16)
        filled: Whether any lane of a plane has a 1. # (units, tiles, planes)
        first: Unit that stands first in `lanes`.
        words: Words that each tile uses. # (tiles,)
        first_step: First step of each four cycles, and one more. # (fours + 1,)
        steps: A pair of planes for each of four cycles: planes of `single`, planes of `lanes`, shifts, and whether
            the planes of `lanes` are one. # (steps * 13,)
        kinds: Kind of level, kind of sigma, first place in the tables, votes and integer weight. # (fours * 4 * 5,)
        numbers: Gain, top code, sigma, and three numbers of a shrinking sigma. # (fours * 4 * 6,)
        levels: Tables of levels.
        sigmas: Tables of sigmas.
        noisy: Most votes of a noisy cycle among each four, 0 where none is noisy. # (fours,)
        quiet: Whether a count of 0 gives code 0 in all of each four. # (fours,)
        cycles: Cycles of the schedule.
        lane_places: Sample id and position of each lane. # (2, groups * 16)
        single_places: The same of each single, added. # (2, singles)
        problem_places: The same of each problem, added. # (2, problems)
        key: Two words of the key, trial << 16.
        rule: How votes become a code.
        block: Singles a block.
        scale: What the sums of codes are multiplied with and divided by. # (2,)
        reads: Room for 16 codes a vote.
        sums: Room for the sums of a block's codes and digital counts, float64; zeros. # (2, block * 16)
        digital: Whether any cycle gives its exact count.
        out: Sums of weighted codes times scale[0] over scale[1], plus sums of digital counts.
            # (problems, singles, groups * 16)
        low: First of (unit, block of singles).
        high: The one after the last.
    """
    _, tiles, singles, s_planes, length = single.shape
    groups, l_planes = out.shape[2] // 16, lanes.shape[2]
    fours, blocks = first_step.shape[0] - 1, (singles + block - 1) // block
    single_f, lanes_f, filled_f = single.reshape(-1), lanes.reshape(-1), filled.reshape(-1)
    sums_f, out_f = sums.reshape(-1), out.reshape(-1)
    ids_f, positions_f = lane_places[0], lane_places[1]
    for work in range(low, high):
        part, unit = work % blocks, work // blocks
        group, problem = unit % groups, unit // groups
        lane_ids = add_u(load(ids_f, group * 16), problem_places[0, problem])
        lane_positions = add_u(load(positions_f, group * 16), problem_places[1, problem])
        for tile in range(tiles):
            flag = ((unit - first) * tiles + tile) * l_planes
            place, used = flag * length * 16, words[tile]
            for m in range(part * block, min(singles, part * block + block)):
                at = ((problem * tiles + tile) * singles + m) * s_planes * length
                ids = add_u(lane_ids, single_places[0, m])
                positions = add_u(lane_positions, single_places[1, m])
                total, digits = zeros(), zeros()
                for four in range(fours):
                    if element(quiet, four) != 0 and _is_empty(
                        element(first_step, four), element(first_step, four + 1), steps, filled_f, flag
                    ):
                        continue
                    z0, z1, z2, z3 = float_zeros(), float_zeros(), float_zeros(), float_zeros()
                    third = everywhere(u32(tile * cycles + four))
                    if element(noisy, four) == 1:
                        w0, w1, w2, w3 = philox(ids, positions, third, everywhere(key[2]), key[0], key[1])
                        z0, z1 = box_muller(w0, w1)
                        z2, z3 = box_muller(w2, w3)
                    c0, c1, c2, c3 = _four_counts(
                        element(first_step, four), element(first_step, four + 1), steps, single_f, at, lanes_f, place,
                        filled_f, flag, length, used,
                    )  # fmt: skip
                    for cycle in range(four * 4, four * 4 + 4):
                        weight = i32(element(kinds, cycle * KINDS + 4))
                        if element(kinds, cycle * KINDS) == COUNT:
                            digits = add_i(digits, mul_i(c0, weight))
                        elif element(noisy, four) > 1:
                            code = _read(
                                c0, cycle, kinds, numbers, levels, sigmas, ids, positions, third, key, reads, rule
                            )
                            total = add_i(total, mul_i(code, weight))
                        else:
                            code = _code(c0, z0, cycle, kinds, numbers, levels, sigmas)
                            total = add_i(total, mul_i(code, weight))
                        z0, z1, z2 = z1, z2, z3
                        c0, c1, c2 = c1, c2, c3
                add_wide(sums_f, (m - part * block) * 16, total, tile == 0)
                if digital:
                    add_wide(sums_f, (block + m - part * block) * 16, digits, tile == 0)
        for m in range(part * block, min(singles, part * block + block)):
            at = (m - part * block) * 16
            place = ((problem * singles + m) * groups + group) * 16
            store_scaled(out_f, place, sums_f, at, scale[0], scale[1], block * 16 + at)


@lru_cache(maxsize=1)
def kernel() -> Any:
    """The compiled kernel."""
    signature = (
        "void(u4[:,:,:,:,::1], u4[:,:,:,:,::1], u1[:,:,::1], i8, i8[::1], i8[::1], i8[::1], i8[::1], f4[::1], f4[::1],"
        "f4[::1], i8[::1], i8[::1], i8, u4[:,::1], u4[:,::1], u4[:,::1], u4[::1], i8, i8, f8[::1], i4[::1],"
        "f8[:,::1], b1, f8[:,:,::1], i8, i8)"
    )
    return compiled(signature, _convert, allocates=False)
