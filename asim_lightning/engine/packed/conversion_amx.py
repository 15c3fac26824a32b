"""The packed engine's kernel of conversions without noise where the processor has AMX: 256 counts at a time."""

from functools import lru_cache
from typing import Any

import numpy as np

from asim_lightning.engine.numba_amx import cleared, configure, loaded, multiplied, release, stored
from asim_lightning.engine.numba_lanes import add_wide, element, load, store, store_scaled, zeros
from asim_lightning.engine.numba_words import add_i, compiled, float_of_i, inline, int_of_level, mul_i, smaller
from asim_lightning.engine.packed.schedule import COUNT, KINDS, NUMBERS, PAIR

i32 = np.int32
_COUNTS, _CODES, _DIGITS, ROOM = 0, 4 * 256, 5 * 256, 6 * 256
"""Where the counts of four cycles, and the sums of 16 singles by 16 lanes lie in a thread's room, and its size."""
_LINE = 64
_clear0, _clear1, _clear2, _clear3 = (cleared(register) for register in range(4))
_store0, _store1, _store2, _store3 = (stored(register) for register in range(4))
_load4, _load5, _load6, _load7 = (loaded(register) for register in range(4, 8))
_left, _right, _other_left, _other_right = 4, 5, 6, 7
# sums 0 to 3; a shared side stays in its register while the other alternates between two
_add0, _add1, _add2, _add3 = (
    multiplied(0, _left, _right), multiplied(1, _other_left, _other_right), multiplied(2, _left, _right),
    multiplied(3, _other_left, _other_right),
)  # fmt: skip
_add1_by_lane, _add3_by_lane = multiplied(1, _other_left, _right), multiplied(3, _other_left, _right)
_add1_by_single, _add3_by_single = multiplied(1, _left, _other_right), multiplied(3, _left, _other_right)


@inline
def _four_counts(pairs: Any, row: Any, single: Any, at: Any, step: Any, lanes: Any, place: Any, length: Any,
                 words: Any, room: Any) -> None:  # fmt: skip
    """Counts of four cycles, of 16 singles and 16 lanes, into the room."""
    a0, a1 = at + element(pairs, row) * length, at + element(pairs, row + 1) * length
    a2, a3 = at + element(pairs, row + 2) * length, at + element(pairs, row + 3) * length
    b0, b1 = place + element(pairs, row + 4) * length * 16, place + element(pairs, row + 5) * length * 16
    b2, b3 = place + element(pairs, row + 6) * length * 16, place + element(pairs, row + 7) * length * 16
    _clear0()
    _clear1()
    _clear2()
    _clear3()
    line = np.int64(_LINE)
    if element(pairs, row + 8) == 1:  # one plane of the lanes
        for word in range(0, words, 16):
            _load5(lanes, b0 + word * 16, line)
            _load4(single, a0 + word, step)
            _add0()
            _load6(single, a1 + word, step)
            _add1_by_lane()
            _load4(single, a2 + word, step)
            _add2()
            _load6(single, a3 + word, step)
            _add3_by_lane()
    elif element(pairs, row + 8) == 2:  # one plane of the singles
        for word in range(0, words, 16):
            _load4(single, a0 + word, step)
            _load5(lanes, b0 + word * 16, line)
            _add0()
            _load7(lanes, b1 + word * 16, line)
            _add1_by_single()
            _load5(lanes, b2 + word * 16, line)
            _add2()
            _load7(lanes, b3 + word * 16, line)
            _add3_by_single()
    else:
        for word in range(0, words, 16):
            _load4(single, a0 + word, step)
            _load5(lanes, b0 + word * 16, line)
            _add0()
            _load6(single, a1 + word, step)
            _load7(lanes, b1 + word * 16, line)
            _add1()
            _load4(single, a2 + word, step)
            _load5(lanes, b2 + word * 16, line)
            _add2()
            _load6(single, a3 + word, step)
            _load7(lanes, b3 + word * 16, line)
            _add3()
    _store0(room, _COUNTS, line)
    _store1(room, _COUNTS + 256, line)
    _store2(room, _COUNTS + 512, line)
    _store3(room, _COUNTS + 768, line)


@inline
def _code(count: Any, gain: Any, top: Any) -> Any:
    return int_of_level(smaller(float_of_i(count) * gain, top))


@inline
def _add_together(four: Any, kinds: Any, numbers: Any, room: Any, held: Any) -> None:
    """Add the weighted codes of four cycles to the sums in the room."""
    k, n = four * 4 * KINDS + 4, four * 4 * NUMBERS
    w0, w1 = i32(element(kinds, k)), i32(element(kinds, k + KINDS))
    w2, w3 = i32(element(kinds, k + 2 * KINDS)), i32(element(kinds, k + 3 * KINDS))
    g0, g1 = element(numbers, n), element(numbers, n + NUMBERS)
    g2, g3 = element(numbers, n + 2 * NUMBERS), element(numbers, n + 3 * NUMBERS)
    t0, t1 = element(numbers, n + 1), element(numbers, n + NUMBERS + 1)
    t2, t3 = element(numbers, n + 2 * NUMBERS + 1), element(numbers, n + 3 * NUMBERS + 1)
    for m in range(0, held * 16, 16):
        a0 = mul_i(_code(load(room, _COUNTS + m), g0, t0), w0)
        a1 = mul_i(_code(load(room, _COUNTS + 256 + m), g1, t1), w1)
        a2 = mul_i(_code(load(room, _COUNTS + 512 + m), g2, t2), w2)
        a3 = mul_i(_code(load(room, _COUNTS + 768 + m), g3, t3), w3)
        store(room, _CODES + m, add_i(load(room, _CODES + m), add_i(add_i(a0, a1), add_i(a2, a3))))


@inline
def _add_one_by_one(four: Any, kinds: Any, numbers: Any, room: Any, held: Any) -> None:
    """The same where some of the cycles are digital, whose counts are summed instead."""
    for cycle in range(4):
        k, n = (four * 4 + cycle) * KINDS, (four * 4 + cycle) * NUMBERS
        weight, gain, top = i32(element(kinds, k + 4)), element(numbers, n), element(numbers, n + 1)
        for m in range(0, held * 16, 16):
            count = load(room, _COUNTS + cycle * 256 + m)
            if element(kinds, k) == COUNT:
                store(room, _DIGITS + m, add_i(load(room, _DIGITS + m), mul_i(count, weight)))
            else:
                store(room, _CODES + m, add_i(load(room, _CODES + m), mul_i(_code(count, gain, top), weight)))


@inline
def _is_empty(pairs: Any, row: Any, filled: Any, flag: Any) -> Any:
    """Whether the planes of all lanes that four cycles meet have no 1."""
    some = False
    for k in range(4, 8):
        some = some or element(filled, flag + element(pairs, row + k)) != 0
    return not some


def _convert(
    single: Any, lanes: Any, filled: Any, first: int, words: Any, pairs: Any, kinds: Any, numbers: Any, quiet: Any,
    registers: Any, scale: Any, room: Any, sums: Any, digital: bool, out: Any, low: int, high: int,
) -> None:  # fmt: skip
    """Make every conversion, and sum its codes, for blocks of 16 singles; see `conversion._convert`.

    Args:
        single: Digits of the operand that all lanes share, singles a multiple of 16, at a multiple of 64 bytes.
            # (problems, tiles, singles, planes, words)
        lanes: Digits of the operand that differs from lane to lane, of some units of (problem, group of lanes), at a
            multiple of 64 bytes. # (units, tiles, planes, words, 16)
        filled: Whether any lane of a plane is not 0. # (units, tiles, planes)
        first: Unit that stands first in `lanes`.
        words: Words that each tile uses; those up to a multiple of 16 are zeros on the side of the weights. # (tiles,)
        pairs: Planes of `single` and planes of `lanes` of each four cycles, and whether those of the lanes (1) or those
            of the singles (2) are one. # (fours * 9,)
        kinds: As there; no cycle has noise, and levels are proportional to counts.
        numbers: As there.
        quiet: As there.
        registers: `whole_registers`.
        scale: As there.
        room: Room of a thread, at a multiple of 64 bytes. # (ROOM,)
        sums: As there, with 16 singles a block.
        digital: As there.
        out: As there.
        low: First of (unit, block of 16 singles).
        high: The one after the last.
    """
    configure(registers)
    _, tiles, padded, s_planes, length = single.shape
    singles, groups, l_planes = out.shape[1], out.shape[2] // 16, lanes.shape[2]
    fours, blocks = quiet.shape[0], (singles + 15) // 16
    single_f, lanes_f, filled_f = single.reshape(-1), lanes.reshape(-1), filled.reshape(-1)
    sums_f, out_f = sums.reshape(-1), out.reshape(-1)
    for work in range(low, high):
        part, unit = work % blocks, work // blocks
        group, problem = unit % groups, unit // groups
        held = min(singles - part * 16, 16)
        for tile in range(tiles):
            flag = ((unit - first) * tiles + tile) * l_planes
            at = ((problem * tiles + tile) * padded + part * 16) * s_planes * length
            for m in range(0, held * 16, 16):
                store(room, _CODES + m, zeros())
                store(room, _DIGITS + m, zeros())
            for four in range(fours):
                if element(quiet, four) != 0 and _is_empty(pairs, four * PAIR, filled_f, flag):
                    continue
                _four_counts(
                    pairs, four * PAIR, single_f, at, s_planes * length * 4, lanes_f, flag * length * 16, length,
                    words[tile], room,
                )  # fmt: skip
                if digital:
                    _add_one_by_one(four, kinds, numbers, room, held)
                else:
                    _add_together(four, kinds, numbers, room, held)
            for m in range(0, held * 16, 16):
                add_wide(sums_f, m, load(room, _CODES + m), tile == 0)
                if digital:
                    add_wide(sums_f, 256 + m, load(room, _DIGITS + m), tile == 0)
        for m in range(held):
            place = ((problem * singles + part * 16 + m) * groups + group) * 16
            store_scaled(out_f, place, sums_f, m * 16, scale[0], scale[1], 256 + m * 16)
    release()


@lru_cache(maxsize=1)
def kernel() -> Any:
    """The compiled kernel."""
    signature = (
        "void(u4[:,:,:,:,::1], u4[:,:,:,:,::1], u1[:,:,::1], i8, i8[::1], i8[::1], i8[::1], f4[::1], i8[::1], u1[::1],"
        "f8[::1], i4[::1], f8[:,::1], b1, f8[:,:,::1], i8, i8)"
    )
    return compiled(signature, _convert, allocates=False)
