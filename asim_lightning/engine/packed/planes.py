"""The packed engine's kernels of bit planes: from whole numbers to words in the order of rows and lanes."""

from functools import lru_cache
from typing import Any

import numpy as np

from asim_lightning.engine.numba_lanes import any_lane, element, gather, load, store, zeros
from asim_lightning.engine.numba_words import (
    and_u,
    called,
    compiled,
    inline,
    int_of_f,
    or_u,
    shift_left_u,
    shift_right_u,
    xor_u,
)

u32 = np.uint32


@inline
def _four_bytes(numbers: Any, first: Any, step: Any, held: Any, shift: Any) -> Any:
    """Bytes of a channel and of the three that come 8, 16 and 24 after it, beside each other; 0 where there is none."""
    four = zeros()
    for channel in range(0, held, 8):
        bits = and_u(shift_right_u(int_of_f(load(numbers, first + channel * step)), shift), u32(255))
        four = or_u(four, shift_left_u(bits, u32(channel)))
    return four


@inline
def _exchanged(one: Any, other: Any, shift: Any, mask: Any) -> Any:
    """Two words, the bits of one above those in the mask exchanged for the bits of the other in it."""
    differences = and_u(xor_u(shift_right_u(one, shift), other), mask)
    return xor_u(one, shift_left_u(differences, shift)), xor_u(other, differences)


@inline
def _transposed(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """Eight words whose bytes, one of each, are 8 by 8 bits, of which rows become columns."""
    shift, mask = u32(4), u32(0x0F0F0F0F)
    a, e = _exchanged(a, e, shift, mask)
    b, f = _exchanged(b, f, shift, mask)
    c, g = _exchanged(c, g, shift, mask)
    d, h = _exchanged(d, h, shift, mask)
    shift, mask = u32(2), u32(0x33333333)
    a, c = _exchanged(a, c, shift, mask)
    b, d = _exchanged(b, d, shift, mask)
    e, g = _exchanged(e, g, shift, mask)
    f, h = _exchanged(f, h, shift, mask)
    shift, mask = u32(1), u32(0x55555555)
    a, b = _exchanged(a, b, shift, mask)
    c, d = _exchanged(c, d, shift, mask)
    e, f = _exchanged(e, f, shift, mask)
    g, h = _exchanged(g, h, shift, mask)
    return a, b, c, d, e, f, g, h


def _pack(x: Any, chunks: Any, planes: int, out: Any, low: int, high: int) -> None:
    """Bit planes of whole numbers: bit c of a word is that of the c-th channel of a chunk.

    Bytes of channels c, c + 8, c + 16, c + 24 are put beside each other, and then their bits exchanged for those of the
    words of the other c.

    Args:
        x: Whole numbers, float32; pixels a multiple of 16. # (sources, channels, pixels)
        chunks: First channel and number of channels (at most 32) of each chunk. # (chunks, 2)
        planes: Number of bits.
        out: # (sources, chunks, planes, pixels)
        low: First unit of (source, chunk).
        high: Unit after the last.
    """
    _, channels, pixels = x.shape
    number, flat, words = chunks.shape[0], x.reshape(-1), out.reshape(-1)
    for unit in range(low, high):
        source, chunk = unit // number, unit % number
        first, held = (source * channels + chunks[chunk, 0]) * pixels, chunks[chunk, 1]
        for pixel in range(0, pixels, 16):
            for byte in range(0, planes, 8):
                at, shift = first + pixel, u32(byte)
                b0 = _four_bytes(flat, at, pixels, held, shift)
                b1 = _four_bytes(flat, at + pixels, pixels, held - 1, shift)
                b2 = _four_bytes(flat, at + 2 * pixels, pixels, held - 2, shift)
                b3 = _four_bytes(flat, at + 3 * pixels, pixels, held - 3, shift)
                b4 = _four_bytes(flat, at + 4 * pixels, pixels, held - 4, shift)
                b5 = _four_bytes(flat, at + 5 * pixels, pixels, held - 5, shift)
                b6 = _four_bytes(flat, at + 6 * pixels, pixels, held - 6, shift)
                b7 = _four_bytes(flat, at + 7 * pixels, pixels, held - 7, shift)
                b0, b1, b2, b3, b4, b5, b6, b7 = _transposed(b0, b1, b2, b3, b4, b5, b6, b7)
                place = (unit * planes + byte) * pixels + pixel
                store(words, place, b0)
                if byte + 1 < planes:
                    store(words, place + pixels, b1)
                if byte + 2 < planes:
                    store(words, place + 2 * pixels, b2)
                if byte + 3 < planes:
                    store(words, place + 3 * pixels, b3)
                if byte + 4 < planes:
                    store(words, place + 4 * pixels, b4)
                if byte + 5 < planes:
                    store(words, place + 5 * pixels, b5)
                if byte + 6 < planes:
                    store(words, place + 6 * pixels, b6)
                if byte + 7 < planes:
                    store(words, place + 7 * pixels, b7)


def _pack_digits(x: Any, chunks: Any, digits: Any, out: Any, low: int, high: int) -> None:
    """Digits of whole numbers: byte c of a word is that of the c-th channel of a chunk.

    Args:
        x: Whole numbers, float32; pixels a multiple of 16. # (sources, channels, pixels)
        chunks: First channel and number of channels (at most 4) of each chunk. # (chunks, 2)
        digits: Lowest bit and number of bits (at most 8) of each digit. # (planes, 2)
        out: # (sources, chunks, planes, pixels)
        low: First unit of (source, chunk).
        high: Unit after the last.
    """
    _, channels, pixels = x.shape
    number, flat, words, planes = chunks.shape[0], x.reshape(-1), out.reshape(-1), digits.shape[0]
    for unit in range(low, high):
        source, chunk = unit // number, unit % number
        first, held = (source * channels + chunks[chunk, 0]) * pixels, chunks[chunk, 1]
        for pixel in range(0, pixels, 16):
            for plane in range(planes):
                shift, mask, word = u32(digits[plane, 0]), u32((1 << digits[plane, 1]) - 1), zeros()
                for c in range(held):
                    digit = and_u(shift_right_u(int_of_f(load(flat, first + c * pixels + pixel)), shift), mask)
                    word = or_u(word, shift_left_u(digit, u32(8 * c)))
                store(words, (unit * planes + plane) * pixels + pixel, word)


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
    """Words of the rows of 16 lanes, from the packed planes of their sources; four planes at a time.

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
        for p0 in range(0, planes, 4):
            # where fewer are left, the last is made more than once
            p1, p2, p3 = min(p0 + 1, planes - 1), min(p0 + 2, planes - 1), min(p0 + 3, planes - 1)
            s0, s1, s2, s3 = zeros(), zeros(), zeros(), zeros()
            w0, w1, w2, w3, last = zeros(), zeros(), zeros(), zeros(), 0
            for part in range(element(first_part, tile) * 6, element(first_part, tile + 1) * 6, 6):
                if element(parts, part + 3) != last:
                    store(flat, ((row + p0) * length + last) * 16, w0)
                    store(flat, ((row + p1) * length + last) * 16, w1)
                    store(flat, ((row + p2) * length + last) * 16, w2)
                    store(flat, ((row + p3) * length + last) * 16, w3)
                    w0, w1, w2, w3, last = zeros(), zeros(), zeros(), zeros(), element(parts, part + 3)
                offset, step = source + element(parts, part), element(parts, part + 1)
                offset += element(parts, part + 2)
                left, right = u32(element(parts, part + 4)), u32(element(parts, part + 5))
                b0 = _read(words, base, lane0, straight, offset + p0 * step)
                b1 = _read(words, base, lane0, straight, offset + p1 * step)
                b2 = _read(words, base, lane0, straight, offset + p2 * step)
                b3 = _read(words, base, lane0, straight, offset + p3 * step)
                s0, s1, s2, s3 = or_u(s0, b0), or_u(s1, b1), or_u(s2, b2), or_u(s3, b3)
                w0, w1 = _placed(w0, b0, left, right), _placed(w1, b1, left, right)
                w2, w3 = _placed(w2, b2, left, right), _placed(w3, b3, left, right)
            store(flat, ((row + p0) * length + last) * 16, w0)
            store(flat, ((row + p1) * length + last) * 16, w1)
            store(flat, ((row + p2) * length + last) * 16, w2)
            store(flat, ((row + p3) * length + last) * 16, w3)
            filled[place, tile, p0] = any_lane(s0)
            filled[place, tile, p1] = any_lane(s1)
            filled[place, tile, p2] = any_lane(s2)
            filled[place, tile, p3] = any_lane(s3)


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
def bit_kernel() -> Any:
    """The compiled kernel that packs bits."""
    return compiled("void(f4[:,:,::1], i8[:,::1], i8, u4[:,:,:,::1], i8, i8)", _pack, allocates=False)


@lru_cache(maxsize=1)
def digit_kernel() -> Any:
    """The compiled kernel that packs digits."""
    return compiled("void(f4[:,:,::1], i8[:,::1], i8[:,::1], u4[:,:,:,::1], i8, i8)", _pack_digits, allocates=False)


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
