"""A block of 16 singles by 16 lanes of the packed engine: its counts become sums of codes, in a thread's room.

Work goes cycle by cycle and through all singles, so that what a cycle needs stays in registers, and the processor has
turns at hand that do not wait for each other.
"""

from typing import Any

import numpy as np

from asim_lightning.engine.noise_numba import box_muller, philox_pair
from asim_lightning.engine.numba_halves import times_low_half
from asim_lightning.engine.numba_lanes import (
    add_wide,
    element,
    everywhere,
    float_zeros,
    load,
    store,
    store_scaled,
    zeros,
)
from asim_lightning.engine.numba_words import (
    MAGIC,
    add_i,
    add_u,
    bits_of_float,
    float_of_bits,
    float_of_i,
    inline,
    int_of_level,
    larger,
    mul_i,
    shift_left_i,
    smaller,
)
from asim_lightning.engine.packed.arranging import arrange_unit
from asim_lightning.engine.packed.codes import code_of, quotient_level, read_of, shrinking_sigma
from asim_lightning.engine.packed.room import CODES, DIGITS, NORMALS
from asim_lightning.engine.packed.schedule import CONSTANT, COUNT, KINDS, NUMBERS, PROPORTIONAL, QUOTIENT, SHRINKING

u32, i32 = np.uint32, np.int32
_LANES = "u4[:,:,:,:,::1], u1[:,:,::1], u4[::1], i8, i8[::1], i8[::1], u4[::1], i8[::1]"
_OPERANDS = f"u4[:,:,:,:,::1], {_LANES}, i8[::1]"
_CODES = "i8[::1], f4[::1], f4[::1], f4[::1], i8[::1], i8[::1], i8[::1], i8"
_PLACES = "u4[:,::1], u4[:,::1], u4[:,::1], u4[::1], i8"
_ROOMS, _OUTPUTS = "f8[::1], i4[::1], i4[::1]", "f8[:,::1], b1, f8[:,:,:,::1], i8, i8"
_ZERO = np.float32(0.0)


def signature(counting: str, rooms: str = "") -> str:
    """Types of the arguments of a kernel of conversions.

    Args:
        counting: Types of those by which it counts, between the operands and what codes are made by.
        rooms: Types of rooms of its own, each with ", " after it.
    """
    return f"void({_OPERANDS}, {counting}, {_CODES}, {_PLACES}, {_ROOMS}, {rooms}{_OUTPUTS})"


@inline
def place_in_lanes(
    unit: Any, last: Any, lanes: Any, filled: Any, sources: Any, problem_step: Any, base: Any, parts: Any,
    shifts: Any, first_part: Any, groups: Any,
) -> Any:  # fmt: skip
    """Where a unit stands among those that are arranged: all are, or each is when it is needed, unless it was the last.

    Args:
        unit: A unit of (problem, group of lanes).
        last: The one before, -1 where there was none.
        lanes: See `conversion._convert`, also for those that follow.
        groups: Units of a problem.
    """
    if parts.shape[0] == 0:
        return unit
    if unit != last:
        arrange_unit(
            sources, problem_step, base, parts, shifts, first_part, unit // groups, unit % groups, lanes, filled, 0
        )
    return 0


@inline
def places_of(lane_places: Any, group: Any, problem_places: Any, problem: Any) -> Any:
    """Sample ids and positions of a group of 16 lanes of a problem."""
    ids = add_u(load(lane_places[0], group * 16), problem_places[0, problem])
    return ids, add_u(load(lane_places[1], group * 16), problem_places[1, problem])


@inline
def clear(room: Any, held: Any) -> None:
    """Set the sums of so many singles to 0."""
    for m in range(0, held * 16, 16):
        store(room, CODES + m, zeros())
        store(room, DIGITS + m, zeros())


@inline
def clear_sums(sums: Any) -> None:
    """Set the sums of all tiles to 0: where no cycle is digital, nothing else writes the second half."""
    for place in range(sums.shape[0]):
        sums[np.uint64(place)] = 0.0


@inline
def draw_normals(
    room: Any, held: Any, ids: Any, positions: Any, single_places: Any, first: Any, third: Any, key: Any
) -> None:
    """Normals of four cycles, two singles at a time; see `conversion._convert`."""
    singles, last_word = single_places.shape[1], everywhere(key[2])
    ids_f = single_places.reshape(-1)
    for m in range(0, held, 2):
        one, other = first + m, first + min(m + 1, held - 1)
        w0, w1, w2, w3, v0, v1, v2, v3 = philox_pair(
            add_u(ids, element(ids_f, one)), add_u(positions, element(ids_f, singles + one)),
            add_u(ids, element(ids_f, other)), add_u(positions, element(ids_f, singles + other)),
            third, last_word, key[0], key[1],
        )  # fmt: skip
        at = NORMALS + m * 16
        z0, z1 = box_muller(w0, w1)
        z2, z3 = box_muller(w2, w3)
        store(room, at, bits_of_float(z0))
        store(room, at + 256, bits_of_float(z1))
        store(room, at + 512, bits_of_float(z2))
        store(room, at + 768, bits_of_float(z3))
        z0, z1 = box_muller(v0, v1)
        z2, z3 = box_muller(v2, v3)
        store(room, at + 16, bits_of_float(z0))
        store(room, at + 272, bits_of_float(z1))
        store(room, at + 528, bits_of_float(z2))
        store(room, at + 784, bits_of_float(z3))


@inline
def _weighted_code(count: Any, gain: Any, most: Any, weight: Any) -> Any:
    return times_low_half(bits_of_float(smaller(float_of_i(count) * gain + MAGIC, most)), weight)


@inline
def add_plain(four: Any, counts: Any, step: Any, kinds: Any, numbers: Any, plain: Any, room: Any, held: Any) -> None:
    """Add the weighted codes of four cycles without noise, whose levels are proportional to counts.

    A level plus 1.5 * 2^23 has its code in the lower half, which is all that is multiplied.
    """
    k, n = four * 4 * KINDS + 4, four * 4 * NUMBERS
    shift = element(plain, four) - 1
    w0, w1 = i32(element(kinds, k) >> shift), i32(element(kinds, k + KINDS) >> shift)
    w2, w3 = i32(element(kinds, k + 2 * KINDS) >> shift), i32(element(kinds, k + 3 * KINDS) >> shift)
    g0, g1 = element(numbers, n), element(numbers, n + NUMBERS)
    g2, g3 = element(numbers, n + 2 * NUMBERS), element(numbers, n + 3 * NUMBERS)
    t0, t1 = element(numbers, n + 1) + MAGIC, element(numbers, n + NUMBERS + 1) + MAGIC
    t2, t3 = element(numbers, n + 2 * NUMBERS + 1) + MAGIC, element(numbers, n + 3 * NUMBERS + 1) + MAGIC
    for m in range(0, held * 16, 16):
        a0 = _weighted_code(load(room, counts + m), g0, t0, w0)
        a1 = _weighted_code(load(room, counts + step + m), g1, t1, w1)
        a2 = _weighted_code(load(room, counts + 2 * step + m), g2, t2, w2)
        a3 = _weighted_code(load(room, counts + 3 * step + m), g3, t3, w3)
        four_codes = shift_left_i(add_i(add_i(a0, a1), add_i(a2, a3)), i32(shift))
        store(room, CODES + m, add_i(load(room, CODES + m), four_codes))


@inline
def _add_code(room: Any, m: Any, level: Any, top: Any, weight: Any) -> None:
    code = int_of_level(smaller(larger(level, _ZERO), top))
    store(room, CODES + m, add_i(load(room, CODES + m), mul_i(code, weight)))


@inline
def add_cycle(
    cycle: Any, counts: Any, kinds: Any, numbers: Any, levels: Any, sigmas: Any, noisy: Any, room: Any, held: Any
) -> None:
    """Add the weighted codes of one cycle, which has no votes, or its digital counts; normals have been drawn."""
    k, n, normals = cycle * KINDS, cycle * NUMBERS, NORMALS + cycle % 4 * 256
    weight, gain, top = i32(element(kinds, k + 4)), element(numbers, n), element(numbers, n + 1)
    level_kind, sigma_kind = element(kinds, k), element(kinds, k + 1)
    if level_kind == COUNT:
        for m in range(0, held * 16, 16):
            store(room, DIGITS + m, add_i(load(room, DIGITS + m), mul_i(load(room, counts + m), weight)))
    elif level_kind == PROPORTIONAL and sigma_kind == CONSTANT:
        sigma = element(numbers, n + 2)
        for m in range(0, held * 16, 16):
            level = float_of_i(load(room, counts + m)) * gain + float_of_bits(load(room, normals + m)) * sigma
            _add_code(room, m, level, top, weight)
    elif level_kind == PROPORTIONAL and sigma_kind == SHRINKING:
        for m in range(0, held * 16, 16):
            real = float_of_i(load(room, counts + m))
            level = real * gain + shrinking_sigma(real, n, numbers) * float_of_bits(load(room, normals + m))
            _add_code(room, m, level, top, weight)
    elif level_kind == QUOTIENT and sigma_kind == CONSTANT:
        sigma = element(numbers, n + 2)
        for m in range(0, held * 16, 16):
            level = quotient_level(float_of_i(load(room, counts + m)), n, numbers)
            _add_code(room, m, level + float_of_bits(load(room, normals + m)) * sigma, top, weight)
    else:
        for m in range(0, held * 16, 16):
            z = float_of_bits(load(room, normals + m)) if element(noisy, cycle // 4) != 0 else float_zeros()
            code = code_of(load(room, counts + m), z, cycle, kinds, numbers, levels, sigmas)
            store(room, CODES + m, add_i(load(room, CODES + m), mul_i(code, weight)))


@inline
def add_voted(
    four: Any, counts: Any, counts_step: Any, kinds: Any, numbers: Any, levels: Any, sigmas: Any, room: Any, held: Any,
    ids: Any, positions: Any, single_places: Any, first: Any, third: Any, key: Any, reads: Any, rule: Any,
) -> None:  # fmt: skip
    """Add what four cycles give, of which some are voted."""
    for m in range(held):
        own_ids = add_u(ids, single_places[0, first + m])
        own_positions = add_u(positions, single_places[1, first + m])
        for k in range(4):
            cycle, count = four * 4 + k, load(room, counts + k * counts_step + m * 16)
            weight = i32(element(kinds, cycle * KINDS + 4))
            if element(kinds, cycle * KINDS) == COUNT:
                at = DIGITS + m * 16
                store(room, at, add_i(load(room, at), mul_i(count, weight)))
            else:
                code = read_of(
                    count, cycle, kinds, numbers, levels, sigmas, own_ids, own_positions, third, key, reads, rule
                )
                at = CODES + m * 16
                store(room, at, add_i(load(room, at), mul_i(code, weight)))


@inline
def add_four(
    four: Any, counts: Any, step: Any, kinds: Any, numbers: Any, levels: Any, sigmas: Any, noisy: Any, plain: Any,
    room: Any, held: Any, ids: Any, positions: Any, single_places: Any, first: Any, third: Any, key: Any, reads: Any,
    rule: Any,
) -> None:  # fmt: skip
    """Add to a block's sums what the counts of four cycles give; see `conversion._convert`.

    Args:
        four: Number of the four cycles.
        counts: Where their counts begin in the room.
        step: From the counts of a cycle to those of the next.
        room: The room.
        held: Singles of the block.
        ids: Sample ids of the lanes.
        positions: Positions of the lanes in their samples' outputs.
        first: First single of the block.
        third: The third word of the noise's counter, in all lanes.
    """
    if element(plain, four) != 0:
        add_plain(four, counts, step, kinds, numbers, plain, room, held)
    elif element(noisy, four) > 1:
        add_voted(
            four, counts, step, kinds, numbers, levels, sigmas, room, held, ids, positions, single_places, first, third,
            key, reads, rule,
        )  # fmt: skip
    else:
        if element(noisy, four) != 0:
            draw_normals(room, held, ids, positions, single_places, first, third, key)
        for k in range(4):
            add_cycle(four * 4 + k, counts + k * step, kinds, numbers, levels, sigmas, noisy, room, held)


@inline
def add_tile(room: Any, sums: Any, held: Any, digital: Any, is_first: Any) -> None:
    """Add a tile's sums to those of all tiles, in float64."""
    for m in range(0, held * 16, 16):
        add_wide(sums, m, load(room, CODES + m), is_first)
        if digital:
            add_wide(sums, 256 + m, load(room, DIGITS + m), is_first)


@inline
def store_outputs(out: Any, flat: Any, problem: Any, first: Any, group: Any, sums: Any, held: Any, scale: Any) -> None:
    """Write a block's outputs in counts.

    Args:
        out: See `conversion._convert`.
        flat: The same, of one dimension.
        problem: The problem.
        first: First single of the block.
        group: Group of 16 lanes, of all parts.
        sums: Sums of the block.
        held: Singles of the block.
        scale: What sums are multiplied with and divided by.
    """
    _, problems, singles, lanes = out.shape
    part, own = group // (lanes // 16), group % (lanes // 16)
    place = ((part * problems + problem) * singles + first) * lanes + own * 16
    for m in range(held):
        store_scaled(flat, place + m * lanes, sums, m * 16, scale[0], scale[1], 256 + m * 16)
