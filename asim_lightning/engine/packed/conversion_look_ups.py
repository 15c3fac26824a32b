"""The packed engine's kernel of conversions by look-ups, in blocks of 16 singles by 16 lanes.

For each four rows of an input a table holds the sums of any of their digits, and the four weight bits of an output say
which of these 16 is its count. One instruction looks up 16 outputs of four inputs (or two, with AVX2).
"""

from functools import lru_cache
from typing import Any

import numpy as np

from asim_lightning.engine.numba_bytes import (
    add_bytes,
    add_halves,
    high_bytes,
    load_four_times,
    look_up_bytes,
    store_sums,
    sub_halves,
    to_high_bytes,
    widened_halves,
)
from asim_lightning.engine.numba_lanes import element, everywhere, load, store, zeros
from asim_lightning.engine.numba_words import add_i, and_i, compiled, inline, shift_left_i
from asim_lightning.engine.packed.arranging import arrange_unit
from asim_lightning.engine.packed.block import (
    add_four,
    add_tile,
    clear,
    clear_sums,
    places_of,
    signature,
    store_outputs,
)
from asim_lightning.engine.packed.look_ups import STEP
from asim_lightning.engine.packed.room import COUNTS

u32, i32 = np.uint32, np.int32
_first, _second, _third, _fourth = widened_halves


@inline
def _sums(tables: Any, at: Any, i0: Any, i1: Any, i2: Any, i3: Any) -> Any:
    """Sums of 16 rows of four inputs, in bytes."""
    one = add_bytes(look_up_bytes(load(tables, at), i0), look_up_bytes(load(tables, at + 16), i1))
    other = add_bytes(look_up_bytes(load(tables, at + 32), i2), look_up_bytes(load(tables, at + 48), i3))
    return add_bytes(one, other)


@inline
def _put(room: Any, at: Any, count: Any, shift: Any, kept: Any) -> None:
    store(room, at, add_i(and_i(load(room, at), kept), shift_left_i(count, shift)))


@inline
def _put_counts(room: Any, at: Any, total: Any, high: Any, shift: Any, kept: Any) -> None:
    """Counts of four inputs, from sums in 16 bits: of bytes with 256 times the bytes above them, and of these alone."""
    low = sub_halves(total, to_high_bytes(high))
    _put(room, at, _first(low, high), shift, kept)
    _put(room, at + 16, _second(low, high), shift, kept)
    _put(room, at + 32, _third(low, high), shift, kept)
    _put(room, at + 48, _fourth(low, high), shift, kept)


@inline
def _count(
    tables: Any, at: Any, step: Any, lanes: Any, place: Any, words: Any, room: Any, counts: Any, held: Any, shift: Any,
    kept: Any,
) -> None:  # fmt: skip
    """Add sums of a digit, shifted, to a cycle's counts, of which no bits are kept where they are the first."""
    if held > 12:
        a1, a2, a3 = at + step, at + 2 * step, at + 3 * step
        s0, s1, s2, s3 = zeros(), zeros(), zeros(), zeros()
        h0, h1, h2, h3 = zeros(), zeros(), zeros(), zeros()
        for word in range(0, words, 4):
            i, t = place + word * 4, word * 16
            i0, i1 = load_four_times(lanes, i), load_four_times(lanes, i + 4)
            i2, i3 = load_four_times(lanes, i + 8), load_four_times(lanes, i + 12)
            b0, b1 = _sums(tables, at + t, i0, i1, i2, i3), _sums(tables, a1 + t, i0, i1, i2, i3)
            s0, s1 = add_halves(s0, b0), add_halves(s1, b1)
            h0, h1 = add_halves(h0, high_bytes(b0)), add_halves(h1, high_bytes(b1))
            b2, b3 = _sums(tables, a2 + t, i0, i1, i2, i3), _sums(tables, a3 + t, i0, i1, i2, i3)
            s2, s3 = add_halves(s2, b2), add_halves(s3, b3)
            h2, h3 = add_halves(h2, high_bytes(b2)), add_halves(h3, high_bytes(b3))
        _put_counts(room, counts, s0, h0, shift, kept)
        _put_counts(room, counts + 64, s1, h1, shift, kept)
        _put_counts(room, counts + 128, s2, h2, shift, kept)
        _put_counts(room, counts + 192, s3, h3, shift, kept)
    else:
        for four in range((held + 3) // 4):
            total, high = zeros(), zeros()
            for word in range(0, words, 4):
                i = place + word * 4
                i0, i1 = load_four_times(lanes, i), load_four_times(lanes, i + 4)
                i2, i3 = load_four_times(lanes, i + 8), load_four_times(lanes, i + 12)
                sums = _sums(tables, at + four * step + word * 16, i0, i1, i2, i3)
                total, high = add_halves(total, sums), add_halves(high, high_bytes(sums))
            _put_counts(room, counts + four * 64, total, high, shift, kept)


@inline
def _four_counts(
    four: Any, first_step: Any, steps: Any, tables: Any, at: Any, plane: Any, fours: Any, lanes: Any, place: Any,
    length: Any, words: Any, room: Any, held: Any,
) -> None:  # fmt: skip
    """Counts of four cycles into the room."""
    for k in range(4):
        low, high = element(first_step, four * 4 + k) * STEP, element(first_step, four * 4 + k + 1) * STEP
        for step in range(low, high, STEP):
            _count(
                tables, at + element(steps, step) * plane, fours, lanes, place + element(steps, step + 1) * length * 4,
                words, room, COUNTS + k * 256, held, i32(element(steps, step + 2)), i32(0 if step == low else -1),
            )  # fmt: skip


@inline
def _is_empty(four: Any, first_step: Any, steps: Any, filled: Any, flag: Any, ones: Any, weights: Any) -> Any:
    """Whether four cycles have nothing to count, for all inputs of a unit or all outputs of a group."""
    some = False
    for step in range(element(first_step, four * 4) * STEP, element(first_step, four * 4 + 4) * STEP, STEP):
        has_ones = element(ones, weights + element(steps, step + 1)) != 0
        some = some or (has_ones and element(filled, flag + element(steps, step)) != 0)
    return not some


@inline
def _make_tables(lanes: Any, words: Any, planes: Any, length: Any, tables: Any) -> None:
    """Tables of a unit, of four inputs after each other."""
    lines = words.shape[0] * planes * length
    for tile in range(words.shape[0]):
        for plane in range(planes):
            first = (tile * planes + plane) * length
            # whole lines of 4 words, of which those that a tile does not use are looked up at place 0, where any has 0
            for line in range(first, first + (words[tile] + 3) // 4 * 4):
                for four in range(4):
                    store_sums(tables, (four * lines + line) * 16, lanes, line * 16 + four * 4)


def _convert(
    single: Any, lanes: Any, filled: Any, sources: Any, problem_step: int, base: Any, parts: Any, shifts: Any,
    first_part: Any, words: Any, ones: Any, units: int, shares: int, first_step: Any, steps: Any, kinds: Any,
    numbers: Any, levels: Any, sigmas: Any, noisy: Any, quiet: Any, plain: Any, cycles: int, lane_places: Any,
    single_places: Any,
    problem_places: Any, key: Any, rule: int, scale: Any, room: Any, reads: Any, tables: Any, sums: Any, digital: bool,
    out: Any, low: int, high: int,
) -> None:  # fmt: skip
    """Make every conversion, and sum its codes; see `conversion._convert`, also for what is not told here.

    Lanes of the operand are inputs, of which tables are made; lanes of the conversions are outputs.

    Args:
        single: Weight bits of four rows, in a byte of each output; outputs 0, 8, 1, 9, ... of all groups of 16.
            # (problems * groups, tiles, planes, words, 4)
        lanes: Digits of the inputs, room for a unit of (problem, 16 inputs), words a multiple of 4.
            # (1, tiles, planes, words, 16)
        filled: Whether any input of a unit has a digit that is not 0. # (1, tiles, planes)
        words: Words that each tile uses; those up to a multiple of 4 are zeros on the side of the weights. # (tiles,)
        ones: Whether any output of a group has a 1. # (problems * groups, tiles, planes)
        units: Number of all units.
        shares: Shares of a problem's groups; tables are made once for all groups of a share.
        first_step: First step of each cycle, four by four, and one more. # (fours * 4 + 1,)
        steps: Plane of the inputs, plane of the weights, and shift. # (steps * 3,)
        lane_places: Of outputs.
        single_places: Of inputs.
        tables: Room for the tables of a unit. # (tiles * planes * words * 64,)
        low: First of (share of the groups, unit).
        high: The one after the last.
    """
    _, tiles, planes, length, _ = lanes.shape
    singles, groups, bits, fours = out.shape[2], out.shape[0] * out.shape[3] // 16, single.shape[2], quiet.shape[0]
    blocks, lines = (singles + 15) // 16, tiles * planes * length
    single_f, lanes_f, filled_f, ones_f = single.reshape(-1), lanes.reshape(-1), filled.reshape(-1), ones.reshape(-1)
    sums_f, out_f = sums.reshape(-1), out.reshape(-1)
    clear_sums(sums_f)
    for work in range(low, high):
        share, unit = work // units, work % units
        begin, problem = unit % blocks * 16, unit // blocks
        held = min(singles - begin, 16)
        arrange_unit(sources, problem_step, base, parts, shifts, first_part, problem, unit % blocks, lanes, filled, 0)
        _make_tables(lanes_f, words, planes, length, tables)
        for group in range(share * groups // shares, (share + 1) * groups // shares):
            ids, positions = places_of(lane_places, group, problem_places, problem)
            for tile in range(tiles):
                flag = tile * planes
                weights = ((problem * groups + group) * tiles + tile) * bits
                clear(room, held)
                for four in range(fours):
                    if element(quiet, four) != 0 and _is_empty(
                        four, first_step, steps, filled_f, flag, ones_f, weights
                    ):
                        continue
                    _four_counts(
                        four, first_step, steps, tables, tile * planes * length * 16, length * 16, lines * 16, single_f,
                        weights * length * 4, length, words[tile], room, held,
                    )  # fmt: skip
                    add_four(
                        four, COUNTS, 256, kinds, numbers, levels, sigmas, noisy, plain, room, held, ids, positions,
                        single_places, begin, everywhere(u32(tile * cycles + four)), key, reads, rule,
                    )  # fmt: skip
                add_tile(room, sums_f, held, digital, tile == 0)
            store_outputs(out, out_f, problem, begin, group, sums_f, held, scale)


@lru_cache(maxsize=1)
def kernel() -> Any:
    """The compiled kernel."""
    return compiled(signature("u1[:,:,::1], i8, i8, i8[::1], i8[::1]", "u4[::1], "), _convert, allocates=False)
