"""The packed engine's kernels that pack: from whole numbers to words of planes."""

from functools import lru_cache
from typing import Any

import numpy as np

from asim_lightning.engine.numba_lanes import load, store, zeros
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


@called
def _pad(words: Any, planes: Any, pixels: Any, size: Any, out: Any, first: Any) -> None:
    """Copy planes, the first to plane number `first`, with zeros around each; `size` as `_pack` has it."""
    height, width, down, right = size[0], size[1], size[2], size[3]
    line = width + 2 * right
    place = np.uint64(first * (height + 2 * down) * line)
    for plane in range(planes):
        source = np.uint64(plane * pixels)
        for _ in range(down * line + right):
            out[place] = 0
            place += np.uint64(1)
        for row in range(height):
            for _ in range(width):
                out[place] = words[source]
                place, source = place + np.uint64(1), source + np.uint64(1)
            for _ in range(2 * right if row + 1 < height else right + down * line):
                out[place] = 0
                place += np.uint64(1)


@inline
def _chunk(unit: Any, chunks: Any, channels: Any, pixels: Any) -> Any:
    """Place of the first number of a unit of (source, chunk), and channels of the chunk."""
    source, chunk = unit // chunks.shape[0], unit % chunks.shape[0]
    return (source * channels + chunks[chunk, 0]) * pixels, chunks[chunk, 1]


def _pack(x: Any, chunks: Any, planes: int, size: Any, room: Any, out: Any, low: int, high: int) -> None:
    """Bit planes of whole numbers: bit c of a word is that of the c-th channel of a chunk.

    Bytes of channels c, c + 8, c + 16, c + 24 are put beside each other, and then their bits exchanged for those of the
    words of the other c.

    Args:
        x: Whole numbers, float32; pixels a multiple of 16. # (sources, channels, pixels)
        chunks: First channel and number of channels (at most 32) of each chunk. # (chunks, 2)
        planes: Number of bits.
        size: Height and width of a source, and pixels of padding above and below, to the left and to the right.
        room: For the planes of a chunk, where there is padding. # (planes * pixels or more,)
        out: # (sources, chunks, planes, padded pixels)
        low: First unit of (source, chunk).
        high: Unit after the last.
    """
    _, channels, pixels = x.shape
    flat, out_f, is_padded = x.reshape(-1), out.reshape(-1), room.shape[0] > 0
    words = room if is_padded else out_f
    for unit in range(low, high):
        first, held = _chunk(unit, chunks, channels, pixels)
        begin = 0 if is_padded else unit * planes * pixels
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
                place = begin + byte * pixels + pixel
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
        if is_padded:
            _pad(words, planes, pixels, size, out_f, unit * planes)


def _pack_digits(
    x: Any, chunks: Any, digits: Any, width: int, size: Any, room: Any, out: Any, low: int, high: int
) -> None:
    """Digits of whole numbers: one after the other in a word are those of a chunk's channels.

    Args:
        x: Whole numbers, float32; pixels a multiple of 16. # (sources, channels, pixels)
        chunks: First channel and number of channels (at most 32 / width) of each chunk. # (chunks, 2)
        digits: Lowest bit and number of bits (at most the width) of each digit. # (planes, 2)
        width: Bits of a word that a digit has.
        size: As `_pack` has them, and what follows.
        low: First unit of (source, chunk).
        high: Unit after the last.
    """
    _, channels, pixels = x.shape
    planes, flat, out_f, is_padded = digits.shape[0], x.reshape(-1), out.reshape(-1), room.shape[0] > 0
    words = room if is_padded else out_f
    for unit in range(low, high):
        first, held = _chunk(unit, chunks, channels, pixels)
        begin = 0 if is_padded else unit * planes * pixels
        for pixel in range(0, pixels, 16):
            for plane in range(planes):
                shift, mask, word = u32(digits[plane, 0]), u32((1 << digits[plane, 1]) - 1), zeros()
                for c in range(held):
                    digit = and_u(shift_right_u(int_of_f(load(flat, first + c * pixels + pixel)), shift), mask)
                    word = or_u(word, shift_left_u(digit, u32(width * c)))
                store(words, begin + plane * pixels + pixel, word)
        if is_padded:
            _pad(words, planes, pixels, size, out_f, unit * planes)


@lru_cache(maxsize=1)
def bit_kernel() -> Any:
    """The compiled kernel that packs bits."""
    signature = "void(f4[:,:,::1], i8[:,::1], i8, i8[::1], u4[::1], u4[:,:,:,::1], i8, i8)"
    return compiled(signature, _pack, allocates=False)


@lru_cache(maxsize=1)
def digit_kernel() -> Any:
    """The compiled kernel that packs digits."""
    return compiled(
        "void(f4[:,:,::1], i8[:,::1], i8[:,::1], i8, i8[::1], u4[::1], u4[:,:,:,::1], i8, i8)",
        _pack_digits,
        allocates=False,
    )
