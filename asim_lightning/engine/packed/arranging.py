"""The packed engine's kernels that arrange: from packed planes to words in the order of rows and lanes."""

from functools import lru_cache
from typing import Any

import numpy as np

from asim_lightning.engine.lanes import WINDOW
from asim_lightning.engine.numba_features import compiles_for
from asim_lightning.engine.numba_lanes import any_lane, element, load, store, zeros
from asim_lightning.engine.numba_places import HAS_WINDOWS, distances, gather, lane_numbers, window
from asim_lightning.engine.numba_words import (
    and_u,
    called,
    compiled,
    inline,
    or_u,
    rotate_left_u,
    shift_left_u,
    shift_right_u,
    xor_u,
)

_ROTATES = compiles_for("avx512f")
"""Whether a rotation is one instruction, as is keeping some bits and adding others."""
_HAS_WINDOWS, _WINDOW_BITS = HAS_WINDOWS, np.uint32(WINDOW.bit_length() - 1)


@inline
def _placed(word: Any, bits: Any, shifts: Any, at: Any) -> Any:
    """A word with more bits in it, at their places."""
    if _ROTATES:
        return or_u(word, and_u(rotate_left_u(bits, element(shifts, at + 2)), element(shifts, at + 3)))
    return or_u(word, shift_right_u(shift_left_u(bits, element(shifts, at)), element(shifts, at + 1)))


@inline
def _read(words: Any, place: Any, away: Any, is_row: Any) -> Any:
    """A word of each of 16 lanes, which lie in a row or so far away from the first."""
    return load(words, place) if is_row else window(words, place, away)


@inline
def _arrange_near(
    words: Any, source: Any, away: Any, is_row: Any, parts: Any, shifts: Any, first: Any, last: Any, p0: Any, p1: Any,
    p2: Any, p3: Any, four: Any, flat: Any, row: Any, length: Any, filled: Any,
) -> None:  # fmt: skip
    """Words of a tile in four planes, or in the first two of them, and whether these have any 1."""
    s0, s1, s2, s3 = zeros(), zeros(), zeros(), zeros()
    w0, w1, w2, w3, done = zeros(), zeros(), zeros(), zeros(), 0
    q0, q1, q2, q3 = (row + p0) * length, (row + p1) * length, (row + p2) * length, (row + p3) * length
    for part in range(first * 4, last * 4, 4):
        word = element(parts, part + 3)
        if word != done:
            s0, s1 = or_u(s0, w0), or_u(s1, w1)
            store(flat, (q0 + done) * 16, w0)
            store(flat, (q1 + done) * 16, w1)
            w0, w1 = zeros(), zeros()
            if four:
                s2, s3 = or_u(s2, w2), or_u(s3, w3)
                store(flat, (q2 + done) * 16, w2)
                store(flat, (q3 + done) * 16, w3)
                w2, w3 = zeros(), zeros()
            done = word
        place, step = source + element(parts, part) + element(parts, part + 2), element(parts, part + 1)
        w0 = _placed(w0, _read(words, place + p0 * step, away, is_row), shifts, part)
        w1 = _placed(w1, _read(words, place + p1 * step, away, is_row), shifts, part)
        if four:
            w2 = _placed(w2, _read(words, place + p2 * step, away, is_row), shifts, part)
            w3 = _placed(w3, _read(words, place + p3 * step, away, is_row), shifts, part)
    store(flat, (q0 + done) * 16, w0)
    store(flat, (q1 + done) * 16, w1)
    filled[row + p0], filled[row + p1] = any_lane(or_u(s0, w0)), any_lane(or_u(s1, w1))
    if four:
        store(flat, (q2 + done) * 16, w2)
        store(flat, (q3 + done) * 16, w3)
        filled[row + p2], filled[row + p3] = any_lane(or_u(s2, w2)), any_lane(or_u(s3, w3))


@inline
def _arrange_tile(
    words: Any, source: Any, away: Any, is_row: Any, parts: Any, shifts: Any, first: Any, last: Any, planes: Any,
    flat: Any, row: Any, length: Any, filled: Any,
) -> None:  # fmt: skip
    """Words of a tile, of lanes that are near each other; where fewer than two or four planes are left, the last is
    made again."""
    top, p0 = planes - 1, 0
    while p0 < planes:
        p1, p2, p3 = min(p0 + 1, top), min(p0 + 2, top), min(p0 + 3, top)
        if p0 + 2 < planes:
            _arrange_near(
                words, source, away, is_row, parts, shifts, first, last, p0, p1, p2, p3, True, flat, row, length, filled
            )
            p0 += 4
        else:
            _arrange_near(
                words,
                source,
                away,
                is_row,
                parts,
                shifts,
                first,
                last,
                p0,
                p1,
                p2,
                p3,
                False,
                flat,
                row,
                length,
                filled,
            )
            p0 += 2


@called
def _arrange_anywhere(
    words: Any, source: Any, base: Any, lane0: Any, parts: Any, shifts: Any, first: Any, last: Any, planes: Any,
    flat: Any, row: Any, length: Any, filled: Any,
) -> None:  # fmt: skip
    """Words of a tile, of lanes that are anywhere."""
    for plane in range(planes):
        some, bits, done, at = zeros(), zeros(), 0, (row + plane) * length
        for part in range(first * 4, last * 4, 4):
            word = element(parts, part + 3)
            if word != done:
                some = or_u(some, bits)
                store(flat, (at + done) * 16, bits)
                bits, done = zeros(), word
            offset = source + element(parts, part) + plane * element(parts, part + 1) + element(parts, part + 2)
            bits = _placed(bits, gather(words, base, lane0, offset), shifts, part)
        store(flat, (at + done) * 16, bits)
        filled[row + plane] = any_lane(or_u(some, bits))


@called
def arrange_unit(
    words: Any, problem_step: Any, base: Any, parts: Any, shifts: Any, first_part: Any, problem: Any, group: Any,
    out: Any, filled: Any, place: Any,
) -> None:  # fmt: skip
    """Words of the rows of 16 lanes, from the packed planes of their sources.

    Args:
        words: Packed planes, and 32 more words, which may be anything. # (sources * chunks * planes * pixels + 32,)
        problem_step: Words from one problem's source to the next.
        base: Place of each lane's source pixel. # (groups of lanes * 16,)
        parts: For each run of bits in a word, in the order of words: place of its chunk (of plane 0), pixels from plane
            to plane, offset of its kernel element, and word. # (parts * 4,)
        shifts: For each of these, shifts to the left and then to the right; the same as a rotation to the left, and
            which bits are kept then. # (parts * 4,)
        first_part: First part of each tile, and one more. # (tiles + 1,)
        problem: Which problem's lanes.
        group: Which 16 of them.
        out: Words that a tile does not use are left as they are. # (units, tiles, planes, words, 16)
        filled: Whether any lane of a plane has a 1. # (units, tiles, planes)
        place: Which unit of `out` and `filled` is written.
    """
    _, tiles, planes, length, _ = out.shape
    flat, source, lane0 = out.reshape(-1), problem * problem_step, group * 16
    filled_f, away, own = filled.reshape(-1), distances(base, lane0), source + element(base, lane0)
    is_row = not any_lane(xor_u(away, lane_numbers()))
    is_near = _HAS_WINDOWS and not any_lane(shift_right_u(away, _WINDOW_BITS))
    for tile in range(tiles):
        row, first, last = (place * tiles + tile) * planes, element(first_part, tile), element(first_part, tile + 1)
        if is_row:
            _arrange_tile(words, own, away, True, parts, shifts, first, last, planes, flat, row, length, filled_f)
        elif is_near:
            _arrange_tile(words, own, away, False, parts, shifts, first, last, planes, flat, row, length, filled_f)
        else:
            _arrange_anywhere(
                words, source, base, lane0, parts, shifts, first, last, planes, flat, row, length, filled_f
            )


def _arrange(
    words: Any, problem_step: int, base: Any, parts: Any, shifts: Any, first_part: Any, groups: int, out: Any,
    filled: Any, first: int, low: int, high: int,
) -> None:  # fmt: skip
    """Words of every lane's rows; see `arrange_unit`, also for what is not told here.

    Args:
        groups: Units of a problem.
        first: Unit that stands first in `out`.
        low: First unit of (problem, group of lanes) to arrange.
        high: Unit after the last.
    """
    for unit in range(low, high):
        arrange_unit(
            words,
            problem_step,
            base,
            parts,
            shifts,
            first_part,
            unit // groups,
            unit % groups,
            out,
            filled,
            unit - first,
        )


def _arrange_singles(
    words: Any, problem_step: int, base: Any, parts: Any, shifts: Any, first_part: Any, lanes: int, planes: int,
    out: Any, low: int, high: int,
) -> None:  # fmt: skip
    """Words of every lane's rows, lane by lane.

    Args:
        words: As `arrange_unit` has them, and what follows.
        lanes: Lanes of a problem.
        planes: Number of planes.
        out: Zeros. # (problems, tiles, lanes or more, planes or more, words)
        low: First of (problem, lane) to arrange.
        high: The one after the last.
    """
    _, tiles, held, room, length = out.shape
    flat = out.reshape(-1)
    for unit in range(low, high):
        problem, lane = unit // lanes, unit % lanes
        source = problem * problem_step + element(base, lane)
        for tile in range(tiles):
            row = ((problem * tiles + tile) * held + lane) * room * length
            for part in range(first_part[tile] * 4, first_part[tile + 1] * 4, 4):
                place, step = source + element(parts, part) + element(parts, part + 2), element(parts, part + 1)
                at = row + element(parts, part + 3)
                for _ in range(planes):
                    word = _placed(element(flat, at), element(words, place), shifts, part)
                    flat[np.uint64(at)] = word
                    place, at = place + step, at + length


@lru_cache(maxsize=1)
def single_kernel() -> Any:
    """The compiled kernel that arranges lane by lane."""
    signature = "void(u4[::1], i8, i8[::1], i8[::1], u4[::1], i8[::1], i8, i8, u4[:,:,:,:,::1], i8, i8)"
    return compiled(signature, _arrange_singles, allocates=False)


@lru_cache(maxsize=1)
def lane_kernel() -> Any:
    """The compiled kernel that arranges in lanes."""
    signature = "void(u4[::1], i8, i8[::1], i8[::1], u4[::1], i8[::1], i8, u4[:,:,:,:,::1], u1[:,:,::1], i8, i8, i8)"
    return compiled(signature, _arrange, allocates=False)
