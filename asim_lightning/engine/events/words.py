"""Operands of the events' Numba kernel: words that hold one byte of 8 consecutive channels.

Convolutions get their padding of zeros, so that a tile's words lie at fixed offsets from the first pixel that an output
meets; weights are packed tile by tile, with zeros for channels of a word that belong to another tile.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asim_lightning.engine.byte_passes import SHIFT
from asim_lightning.engine.events.layout import Layout
from asim_lightning.engine.threads import spread_kernel

_WORTH_A_THREAD = 2**16
"""Elements to pack that occupy a thread longer than it takes to wake it."""


def bytes_of(bits: int) -> int:
    """Bytes that hold so many bits."""
    return (bits + 7) // 8


def padded(layout: Layout) -> tuple[int, int]:
    """Height and width of the input with padding."""
    g = layout.geometry
    return g.height + 2 * g.padding[0], g.width + 2 * g.padding[1]


def input_words(layout: Layout, x: Tensor, planes: int, signed: bool) -> Any:
    """Words of an input.

    Args:
        layout: The layout of a row of the batch.
        x: Integers, as floats or as the bytes of `byte_passes.to_bytes`; fastest where images are channels_last.
            # (batch, *inputs)
        planes: Bytes of an integer.
        signed: Whether integers are signed.

    Returns:
        # (batch, groups, padded height, padded width, bytes, groups of 8 channels), flat
    """
    g = layout.geometry
    in_bytes = x.dtype == torch.uint8
    x = x if in_bytes else x.to(torch.float32)
    x = x.permute(0, 2, 3, 1) if g.outputs_outermost else x
    batch = x.shape[0]
    source = x.contiguous().view(batch, g.height, g.width, g.groups, g.channels).numpy()
    words = np.zeros((batch, g.groups, *padded(layout), planes, (g.channels + 7) // 8), np.uint64)
    flipped = np.uint8(SHIFT if in_bytes and signed else 0)  # undoes the shift of signed bytes
    fewest = _WORTH_A_THREAD // (g.width * g.groups * g.channels) + 1
    kernel = packing()[1 if in_bytes else 0]
    spread_kernel(kernel, (source, words.view(np.uint8), flipped, *g.padding), batch * g.height, fewest)
    return words.reshape(-1)


def weight_words(layout: Layout, w: Tensor, planes: int) -> Any:
    """Words of a weight. # (outputs, bytes, words of all tiles), flat"""
    g = layout.geometry
    elements, table = g.kernel[0] * g.kernel[1], word_table(layout)
    source = w.to(torch.float32).contiguous().view(-1, g.channels, elements).numpy()
    words, kernel = np.empty((len(source), planes, len(table)), np.uint64), packing()[2]
    fewest = _WORTH_A_THREAD // (g.channels * elements) + 1
    spread_kernel(kernel, (source, table, words), len(source), fewest)
    return words.reshape(-1)


@lru_cache(maxsize=256)
def word_table(layout: Layout) -> Any:
    """First channel, kernel element, and channels low..high-1 that belong to the tile, for the words of all tiles."""
    return np.array(
        [
            (channel, element, max(channel, tile.channel_low), min(channel + 8, tile.channel_high))
            for tile in layout.tiles
            for element in range(tile.element_low, tile.element_high)
            for channel in range(tile.channel_low // 8 * 8, tile.channel_high, 8)
        ],
        dtype=np.int64,
    )


def word_counts(layout: Layout) -> list[int]:
    """Words of each tile."""
    return [
        (tile.element_high - tile.element_low) * ((tile.channel_high + 7) // 8 - tile.channel_low // 8)
        for tile in layout.tiles
    ]


@lru_cache(maxsize=1)
def packing() -> Any:
    """The compiled kernels that pack operands."""
    from asim_lightning.engine.events.kernels import compile_packing  # Numba takes half a second to import

    return compile_packing()
