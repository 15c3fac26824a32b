"""The packed engine's kernel of conversions where the processor has AMX: 256 counts at a time.

After a pause AMX takes 0.3 us to begin. Without noise there is none; with noise all counts of a tile come first.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from asim_lightning.engine.numba_amx import cleared, configure, loaded, multiplied, registers, release, stored
from asim_lightning.engine.numba_lanes import element, everywhere, load, store
from asim_lightning.engine.numba_words import and_u, called, compiled, inline, shift_right_u
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
from asim_lightning.engine.packed.room import COUNTS, FOUR
from asim_lightning.engine.packed.schedule import PAIR

u32 = np.uint32
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


def register_sizes(rows: int) -> np.ndarray:
    """Sizes of the registers where those of the singles and of counts have so many rows: 1..16."""
    return registers((*[rows] * 4, rows, 16, rows, 16))


@inline
def _unpack_plane(lanes: Any, first: Any, words: Any, digits: Any, out: Any, at: Any) -> None:
    """A byte of each digit of so many words of a plane, from a place on to a place on."""
    width = u32(8 // digits)
    mask = u32(((1 << (8 // digits)) - 1) * 0x01010101)
    for place in range(first, first + words * 16, 16):
        bits = load(lanes, place)
        for _ in range(digits):
            store(out, at, and_u(bits, mask))
            bits, at = shift_right_u(bits, width), at + 16


@called
def _unpack(lanes: Any, tiles: Any, planes: Any, held: Any, words: Any, digits: Any, length: Any, out: Any) -> None:
    """A byte of each digit of a unit, from bytes that hold several.

    Args:
        lanes: Words of the unit. # (tiles * planes * held * 16,)
        tiles: Tiles.
        planes: Planes.
        held: Most words of a tile.
        words: Words that each tile uses. # (tiles,)
        digits: Digits that a byte holds: 4 or 8.
        length: Most words of a tile where each digit has a byte.
        out: Words that a tile does not use are left as they are. # (tiles * planes * length * 16,)
    """
    for row in range(tiles * planes):
        _unpack_plane(lanes, row * held * 16, words[row // planes], digits, out, row * length * 16)


@inline
def _four_counts(
    pairs: Any, row: Any, single: Any, at: Any, step: Any, lanes: Any, place: Any, length: Any, words: Any, room: Any,
    counts: Any,
) -> None:  # fmt: skip
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
    _store0(room, counts, line)
    _store1(room, counts + 256, line)
    _store2(room, counts + 512, line)
    _store3(room, counts + 768, line)


@inline
def _stacked_counts(
    single: Any, a0: Any, a1: Any, step: Any, lanes: Any, b0: Any, words: Any, room: Any, counts0: Any, counts1: Any
) -> None:
    """Counts of cycles that share a plane of the lanes, and of which several stand beside each other in a register: of
    one register, or of two where `a1` is not that of the first."""
    line = np.int64(_LINE)
    _clear0()
    if a1 == a0:
        for word in range(0, words, 16):
            _load5(lanes, b0 + word * 16, line)
            _load4(single, a0 + word, step)
            _add0()
    else:
        _clear1()
        for word in range(0, words, 16):
            _load5(lanes, b0 + word * 16, line)
            _load4(single, a0 + word, step)
            _add0()
            _load6(single, a1 + word, step)
            _add1_by_lane()
    _store0(room, counts0, line)
    if a1 != a0:
        _store1(room, counts1, line)


@inline
def _is_empty(pairs: Any, row: Any, filled: Any, flag: Any) -> Any:
    """Whether the planes of all lanes that four cycles meet have no 1."""
    some = False
    for k in range(4, 8):
        some = some or element(filled, flag + element(pairs, row + k)) != 0
    return not some


def _convert(
    single: Any, lanes: Any, filled: Any, sources: Any, problem_step: int, base: Any, parts: Any, shifts: Any,
    first_part: Any, words: Any, pairs: Any, rows: Any, stacked: int, digits: int, kinds: Any, numbers: Any,
    levels: Any, sigmas: Any, noisy: Any, quiet: Any, plain: Any, cycles: int, lane_places: Any, single_places: Any,
    problem_places: Any, key: Any, rule: int, scale: Any, room: Any, reads: Any, bytes_of: Any, sums: Any,
    digital: bool, out: Any, low: int, high: int,
) -> None:  # fmt: skip
    """Make every conversion, and sum its codes; see `conversion._convert`, also for what is not told here.

    Args:
        single: Digits of the operand that all lanes share, a byte each in the order of `operand.unpacked`, singles a
            multiple of 16, at a multiple of 64 bytes. # (problems, tiles, singles, planes, words)
        lanes: Digits of the operand that differs from lane to lane, at a multiple of 64 bytes.
            # (units, tiles, planes, words, 16)
        filled: Whether any lane of a plane is not 0. # (units, tiles, planes)
        words: Words of `lanes` that each tile uses; bytes up to a multiple of 64 are zeros on the side of the weights.
            # (tiles,)
        pairs: Planes of `single` and planes of `lanes` of each four cycles, and whether those of the lanes (1) or those
            of the singles (2) are one. # (fours * 9,)
        rows: `register_sizes`.
        stacked: Registers of a stack where `single` is `stacks.Stacks.stacked` and `pairs` is of stacks, else 0.
        digits: Digits that a byte of `lanes` holds.
        room: A thread's room at a multiple of 64 bytes, with place for the counts of all cycles where any has noise,
            else of two times four.
        bytes_of: A thread's room for a unit of `lanes` with a byte for each digit, where a byte holds several, or for a
            plane of it where singles are stacked; at a multiple of 64 bytes.
    """
    configure(rows)
    _, tiles, padded, s_planes, length = single.shape
    singles, groups, l_planes = out.shape[2], out.shape[0] * out.shape[3] // 16, lanes.shape[2]
    fours, blocks, before = quiet.shape[0], (singles + 15) // 16, 1
    for four in range(fours):
        if noisy[four] != 0:
            before = fours
    slots = max(before, 3)
    single_f, lanes_f, filled_f = single.reshape(-1), lanes.reshape(-1), filled.reshape(-1)
    sums_f, out_f = sums.reshape(-1), out.reshape(-1)
    clear_sums(sums_f)
    right = bytes_of if digits > 1 else lanes_f
    last = -1
    for work in range(low, high):
        begin, unit = work % blocks * 16, work // blocks
        group, problem, held = unit % groups, unit // groups, min(singles - begin, 16)
        ids, positions = places_of(lane_places, group, problem_places, problem)
        place = place_in_lanes(
            unit, last, lanes, filled, sources, problem_step, base, parts, shifts, first_part, groups
        )
        if digits > 1 and stacked == 0 and unit != last:
            _unpack(lanes_f, tiles, l_planes, lanes.shape[3], words, digits, length, right)
        last, step = unit, 256 if stacked == 0 else held * 16
        for tile in range(tiles):
            flag = (place * tiles + tile) * l_planes
            at = ((problem * tiles + tile) * padded + begin) * s_planes * length
            clear(room, held)
            unpacked_plane, counted = -1, 0
            # counts are made a turn before they are added, so that AMX works meanwhile; with noise all come before
            for turn in range(fours + before):
                four = turn
                is_due = counted <= turn < fours
                if is_due and not (element(quiet, four) != 0 and _is_empty(pairs, four * PAIR, filled_f, flag)):
                    counts = COUNTS + four % slots * FOUR
                    if stacked == 0:
                        _four_counts(
                            pairs, four * PAIR, single_f, at, s_planes * length * 4, right, flag * length * 16, length,
                            words[tile] * digits, room, counts,
                        )  # fmt: skip
                    else:
                        plane = element(pairs, four * PAIR + 4)
                        if digits > 1 and plane != unpacked_plane:
                            first = (flag + plane) * lanes.shape[3] * 16
                            _unpack_plane(lanes_f, first, words[tile], digits, right, 0)
                            unpacked_plane = plane
                        a0 = at + element(pairs, four * PAIR) * length
                        a1, counts1, counted = a0, counts, four + 1
                        if stacked > 1:
                            a1, counts1 = a0 + 16 * s_planes * length, counts + held * 32
                        elif counted < fours and element(pairs, counted * PAIR + 4) == plane:
                            a1 = at + element(pairs, counted * PAIR) * length
                            counts1, counted = COUNTS + counted % slots * FOUR, four + 2
                        _stacked_counts(
                            single_f, a0, a1, s_planes * length * 4, right,
                            0 if digits > 1 else (flag + plane) * length * 16, words[tile] * digits, room, counts,
                            counts1,
                        )  # fmt: skip
                four = turn - before
                if four >= 0 and not (element(quiet, four) != 0 and _is_empty(pairs, four * PAIR, filled_f, flag)):
                    add_four(
                        four, COUNTS + four % slots * FOUR, step, kinds, numbers, levels, sigmas, noisy, plain, room,
                        held, ids, positions, single_places, begin, everywhere(u32(tile * cycles + four)), key, reads,
                        rule,
                    )  # fmt: skip
            add_tile(room, sums_f, held, digital, tile == 0)
        store_outputs(out, out_f, problem, begin, group, sums_f, held, scale)
    release()


@lru_cache(maxsize=1)
def kernel() -> Any:
    """The compiled kernel."""
    return compiled(signature("i8[::1], u1[::1], i8, i8", "u4[::1], "), _convert, allocates=False)
