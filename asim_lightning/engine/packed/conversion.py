"""The packed engine's kernel of conversions by popcount, in blocks of 16 singles by 16 lanes."""

from functools import lru_cache
from typing import Any

import numpy as np

from asim_lightning.engine.numba_lanes import element, everywhere, load, store, zeros
from asim_lightning.engine.numba_ones import MOST_WORDS, add_ones, count_of
from asim_lightning.engine.numba_words import add_i, and_u, compiled, inline, shift_left_i
from asim_lightning.engine.packed.block import (
    add_four,
    add_tile,
    clear,
    clear_sums,
    place_in_lanes,
    places_of,
    signature,
    store_outputs,
)
from asim_lightning.engine.packed.room import COUNTS
from asim_lightning.engine.packed.schedule import STEP

u32, i32 = np.uint32, np.int32


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
        plane = element(steps, step + 4)
        b0, b1 = place + plane * length * 16, place + element(steps, step + 5) * length * 16
        b2, b3 = place + element(steps, step + 6) * length * 16, place + element(steps, step + 7) * length * 16
        is_shared = element(steps, step + 12) != 0  # the four cycles share a plane of the lanes
        if is_shared and element(filled, flag + plane) == 0:
            continue
        n0, n1, n2, n3 = zeros(), zeros(), zeros(), zeros()
        for low in range(0, words, MOST_WORDS):
            t0, t1, t2, t3 = zeros(), zeros(), zeros(), zeros()
            if is_shared:
                for word in range(low, min(low + MOST_WORDS, words)):
                    bits = load(lanes, b0 + word * 16)
                    t0 = add_ones(t0, and_u(bits, element(single, a0 + word)))
                    t1 = add_ones(t1, and_u(bits, element(single, a1 + word)))
                    t2 = add_ones(t2, and_u(bits, element(single, a2 + word)))
                    t3 = add_ones(t3, and_u(bits, element(single, a3 + word)))
            else:
                for word in range(low, min(low + MOST_WORDS, words)):
                    t0 = add_ones(t0, and_u(load(lanes, b0 + word * 16), element(single, a0 + word)))
                    t1 = add_ones(t1, and_u(load(lanes, b1 + word * 16), element(single, a1 + word)))
                    t2 = add_ones(t2, and_u(load(lanes, b2 + word * 16), element(single, a2 + word)))
                    t3 = add_ones(t3, and_u(load(lanes, b3 + word * 16), element(single, a3 + word)))
            n0, n1 = add_i(n0, count_of(t0)), add_i(n1, count_of(t1))
            n2, n3 = add_i(n2, count_of(t2)), add_i(n3, count_of(t3))
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


def _convert(
    single: Any, lanes: Any, filled: Any, sources: Any, problem_step: int, base: Any, parts: Any, shifts: Any,
    first_part: Any, words: Any, first_step: Any, steps: Any, kinds: Any, numbers: Any,
    levels: Any, sigmas: Any, noisy: Any, quiet: Any, plain: Any, cycles: int, lane_places: Any, single_places: Any,
    problem_places: Any, key: Any, rule: int, scale: Any, room: Any, reads: Any, sums: Any, digital: bool, out: Any,
    low: int, high: int,
) -> None:  # fmt: skip
    """Make every conversion, and sum its codes; cycles are taken four at a time, as their random words are.

    Args:
        single: Bit planes of the operand that all lanes share, the last of zeros.
            # (problems, tiles, singles, planes, words)
        lanes: Bit planes of the operand that differs from lane to lane, of all units of (problem, group of lanes), or
            room for a unit. # (units, tiles, planes, words, 16)
        filled: Whether any lane of a plane has a 1. # (units, tiles, planes)
        sources: Where there is room for a unit, what it is arranged from, and four more; see `arranging.arrange_unit`.
        parts: The same; empty where all units are arranged.
        words: Words that each tile uses. # (tiles,)
        first_step: First step of each four cycles, and one more. # (fours + 1,)
        steps: A pair of planes for each of four cycles: planes of `single`, planes of `lanes`, shifts, and whether
            the planes of `lanes` are one. # (steps * 13,)
        kinds: Kind of level, kind of sigma, first place in the tables, votes and integer weight. # (fours * 4 * 5,)
        numbers: Gain, top code, sigma, three numbers of a shrinking sigma, and the rest of a quotient's gain.
            # (fours * 4 * 7,)
        levels: Tables of levels.
        sigmas: Tables of sigmas.
        noisy: Most votes of a noisy cycle among each four, 0 where none is noisy; above 1 a four is voted. # (fours,)
        quiet: Whether a count of 0 gives code 0 in all of each four. # (fours,)
        plain: See `schedule.PackedSchedule`. # (fours,)
        cycles: Cycles of the schedule.
        lane_places: Sample id and position of each lane. # (2, groups * 16)
        single_places: The same of each single, added. # (2, singles)
        problem_places: The same of each problem, added. # (2, problems)
        key: Two words of the key, trial << 16.
        rule: How votes become a code.
        scale: What the sums of codes are multiplied with and divided by. # (2,)
        room: A thread's; see `room`.
        reads: Room for 16 codes a vote.
        sums: Room for the sums of a block's codes and digital counts, float64. # (2, 256)
        digital: Whether any cycle gives its exact count.
        out: Sums of weighted codes times scale[0] over scale[1], plus sums of digital counts.
            Lanes may be in several parts. # (parts, problems, singles, lanes of a part)
        low: First of (unit, block of 16 singles).
        high: The one after the last.
    """
    _, tiles, singles, s_planes, length = single.shape
    groups, l_planes, fours, blocks = (
        out.shape[0] * out.shape[3] // 16,
        lanes.shape[2],
        quiet.shape[0],
        (singles + 15) // 16,
    )
    single_f, lanes_f, filled_f = single.reshape(-1), lanes.reshape(-1), filled.reshape(-1)
    sums_f, out_f = sums.reshape(-1), out.reshape(-1)
    clear_sums(sums_f)
    last = -1
    for work in range(low, high):
        begin, unit = work % blocks * 16, work // blocks
        group, problem, held = unit % groups, unit // groups, min(singles - begin, 16)
        ids, positions = places_of(lane_places, group, problem_places, problem)
        place = place_in_lanes(
            unit, last, lanes, filled, sources, problem_step, base, parts, shifts, first_part, groups
        )
        last = unit
        for tile in range(tiles):
            flag = (place * tiles + tile) * l_planes
            at, step = ((problem * tiles + tile) * singles + begin) * s_planes * length, s_planes * length
            clear(room, held)
            for four in range(fours):
                low_step, high_step = element(first_step, four), element(first_step, four + 1)
                if element(quiet, four) != 0 and _is_empty(low_step, high_step, steps, filled_f, flag):
                    continue
                for m in range(held):
                    c0, c1, c2, c3 = _four_counts(
                        low_step, high_step, steps, single_f, at + m * step, lanes_f, flag * length * 16, filled_f,
                        flag, length, words[tile],
                    )  # fmt: skip
                    store(room, COUNTS + m * 16, c0)
                    store(room, COUNTS + 256 + m * 16, c1)
                    store(room, COUNTS + 512 + m * 16, c2)
                    store(room, COUNTS + 768 + m * 16, c3)
                add_four(
                    four, COUNTS, 256, kinds, numbers, levels, sigmas, noisy, plain, room, held, ids, positions,
                    single_places, begin, everywhere(u32(tile * cycles + four)), key, reads, rule,
                )  # fmt: skip
            add_tile(room, sums_f, held, digital, tile == 0)
        store_outputs(out, out_f, problem, begin, group, sums_f, held, scale)


@lru_cache(maxsize=1)
def kernel() -> Any:
    """The compiled kernel."""
    return compiled(signature("i8[::1], i8[::1]"), _convert, allocates=False)
