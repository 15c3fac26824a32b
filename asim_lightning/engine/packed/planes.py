"""The packed engine's kernels of bit planes: from whole numbers to words in the order of rows and lanes."""

from functools import lru_cache
from typing import Any

import numpy as np

from asim_lightning.engine.numba_lanes import any_lane, gather, load, store, zeros
from asim_lightning.engine.numba_words import and_u, compiled, or_u, shift_left_u, shift_right_u

u32 = np.uint32


def _pack(x: Any, chunks: Any, planes: int, out: Any, low: int, high: int) -> None:
    """Bit planes of whole numbers: bit c of a word is that of the c-th channel of a chunk.

    Args:
        x: int32. # (sources, channels, pixels)
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
        first = (source * channels + chunks[chunk, 0]) * pixels
        for pixel in range(0, pixels, 16):
            for plane in range(planes):
                word = zeros()
                for c in range(chunks[chunk, 1]):
                    bits = shift_right_u(load(flat, first + c * pixels + pixel), u32(plane))
                    word = or_u(word, shift_left_u(and_u(bits, u32(1)), u32(c)))
                store(words, (unit * planes + plane) * pixels + pixel, word)


def _arrange(
    words: Any, problem_step: int, base: Any, parts: Any, first_part: Any, out: Any, filled: Any, low: int, high: int
) -> None:
    """Words of every lane's rows, from the packed planes of its source.

    Args:
        words: Packed planes. # (sources * chunks * planes * pixels,)
        problem_step: Words from one problem's source to the next.
        base: Place of each lane's source pixel. # (groups of lanes * 16,)
        parts: For each run of bits in a word, in the order of words: place of its chunk (of plane 0), pixels from plane
            to plane, offset of its kernel element, word, and shifts to the left and then to the right. # (parts, 6)
        first_part: First part of each tile, and one more. # (tiles + 1,)
        out: Words that a tile does not use are left as they are.
            # (problems, tiles, groups of lanes, planes, words, 16)
        filled: Whether any lane of a plane has a 1. # (problems, tiles, groups of lanes, planes)
        low: First unit of (problem, group of lanes).
        high: Unit after the last.
    """
    _, tiles, groups, planes, length, _ = out.shape
    flat = out.reshape(-1)
    for unit in range(low, high):
        problem, group = unit // groups, unit % groups
        straight = True
        for lane in range(group * 16 + 1, group * 16 + 16):
            straight = straight and base[lane] == base[lane - 1] + 1
        for tile in range(tiles):
            for plane in range(planes):
                row = (((problem * tiles + tile) * groups + group) * planes + plane) * length * 16
                seen, word, last = zeros(), zeros(), 0
                for part in range(first_part[tile], first_part[tile + 1]):
                    if parts[part, 3] != last:
                        store(flat, row + last * 16, word)
                        word, last = zeros(), parts[part, 3]
                    offset = problem * problem_step + parts[part, 0] + plane * parts[part, 1] + parts[part, 2]
                    if straight:
                        bits = load(words, base[group * 16] + offset)
                    else:
                        bits = gather(words, base, group * 16, offset)
                    seen = or_u(seen, bits)
                    bits = shift_right_u(shift_left_u(bits, u32(parts[part, 4])), u32(parts[part, 5]))
                    word = or_u(word, bits)
                store(flat, row + last * 16, word)
                filled[problem, tile, group, plane] = any_lane(seen)


@lru_cache(maxsize=1)
def kernels() -> Any:
    """The compiled kernels: pack and arrange."""
    pack = "void(i4[:,:,::1], i8[:,::1], i8, u4[:,:,:,::1], i8, i8)"
    arrange = "void(u4[::1], i8, i8[::1], i8[:,::1], i8[::1], u4[:,:,:,:,:,::1], u1[:,:,:,::1], i8, i8)"
    return compiled(pack, _pack, allocates=False), compiled(arrange, _arrange, allocates=False)
