"""The packed engine's kernels that arrange: from packed planes to words in the order of rows and lanes."""

from functools import lru_cache
from typing import Any

import numpy as np

from asim_lightning.engine.numba_lanes import any_lane, element, gather, load, store, zeros
from asim_lightning.engine.numba_words import called, compiled, inline, or_u, shift_left_u, shift_right_u

u32 = np.uint32


@inline
def _read(words: Any, base: Any, lane0: Any, straight: Any, offset: Any) -> Any:
    """A word of each of 16 lanes."""
    if straight:
        return load(words, element(base, lane0) + offset)
    return gather(words, base, lane0, offset)


@inline
def _placed(word: Any, bits: Any, left: Any, right: Any) -> Any:
    """A word with more bits in it."""
    return or_u(word, shift_right_u(shift_left_u(bits, left), right))


@called
def arrange_unit(
    words: Any, problem_step: Any, base: Any, parts: Any, first_part: Any, problem: Any, group: Any, out: Any,
    filled: Any, place: Any,
) -> None:  # fmt: skip
    """Words of the rows of 16 lanes, from the packed planes of their sources; two planes at a time.

    Args:
        words: Packed planes. # (sources * chunks * planes * pixels,)
        problem_step: Words from one problem's source to the next.
        base: Place of each lane's source pixel. # (groups of lanes * 16,)
        parts: For each run of bits in a word, in the order of words: place of its chunk (of plane 0), pixels from plane
            to plane, offset of its kernel element, word, and shifts to the left and then to the right. # (parts * 6,)
        first_part: First part of each tile, and one more. # (tiles + 1,)
        problem: Which problem's lanes.
        group: Which 16 of them.
        out: Words that a tile does not use are left as they are. # (units, tiles, planes, words, 16)
        filled: Whether any lane of a plane has a 1. # (units, tiles, planes)
        place: Which unit of `out` and `filled` is written.
    """
    _, tiles, planes, length, _ = out.shape
    flat, source, lane0 = out.reshape(-1), problem * problem_step, group * 16
    straight = True
    for lane in range(lane0 + 1, lane0 + 16):
        straight = straight and element(base, lane) == element(base, lane - 1) + 1
    for tile in range(tiles):
        row = (place * tiles + tile) * planes
        for p0 in range(0, planes, 2):
            p1 = min(p0 + 1, planes - 1)  # where only one is left, it is made twice
            s0, s1, w0, w1, last = zeros(), zeros(), zeros(), zeros(), 0
            for part in range(element(first_part, tile) * 6, element(first_part, tile + 1) * 6, 6):
                word = element(parts, part + 3)
                if word != last:
                    s0, s1 = or_u(s0, w0), or_u(s1, w1)
                    store(flat, ((row + p0) * length + last) * 16, w0)
                    store(flat, ((row + p1) * length + last) * 16, w1)
                    w0, w1, last = zeros(), zeros(), word
                offset, step = source + element(parts, part), element(parts, part + 1)
                offset += element(parts, part + 2)
                left, right = u32(element(parts, part + 4)), u32(element(parts, part + 5))
                w0 = _placed(w0, _read(words, base, lane0, straight, offset + p0 * step), left, right)
                w1 = _placed(w1, _read(words, base, lane0, straight, offset + p1 * step), left, right)
            store(flat, ((row + p0) * length + last) * 16, w0)
            store(flat, ((row + p1) * length + last) * 16, w1)
            filled[place, tile, p0] = any_lane(or_u(s0, w0))
            filled[place, tile, p1] = any_lane(or_u(s1, w1))


def _arrange(
    words: Any, problem_step: int, base: Any, parts: Any, first_part: Any, groups: int, out: Any, filled: Any,
    first: int, low: int, high: int,
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
            words, problem_step, base, parts, first_part, unit // groups, unit % groups, out, filled, unit - first
        )


def _arrange_singles(
    words: Any, problem_step: int, base: Any, parts: Any, first_part: Any, lanes: int, planes: int, out: Any, low: int,
    high: int,
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
            for part in range(first_part[tile] * 6, first_part[tile + 1] * 6, 6):
                place, step = source + element(parts, part) + element(parts, part + 2), element(parts, part + 1)
                left, right = u32(element(parts, part + 4)), u32(element(parts, part + 5))
                at = row + element(parts, part + 3)
                for _ in range(planes):
                    word = _placed(element(flat, at), element(words, place), left, right)
                    flat[np.uint64(at)] = word
                    place, at = place + step, at + length


@lru_cache(maxsize=1)
def single_kernel() -> Any:
    """The compiled kernel that arranges lane by lane."""
    signature = "void(u4[::1], i8, i8[::1], i8[::1], i8[::1], i8, i8, u4[:,:,:,:,::1], i8, i8)"
    return compiled(signature, _arrange_singles, allocates=False)


@lru_cache(maxsize=1)
def lane_kernel() -> Any:
    """The compiled kernel that arranges in lanes."""
    signature = "void(u4[::1], i8, i8[::1], i8[::1], i8[::1], i8, u4[:,:,:,:,::1], u1[:,:,::1], i8, i8, i8)"
    return compiled(signature, _arrange, allocates=False)
