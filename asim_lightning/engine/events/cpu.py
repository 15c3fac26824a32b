"""Wrong conversions on a CPU: operands and tables as the Numba kernels take them."""

from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asim_lightning.engine.events.layout import Layout
from asim_lightning.engine.events.rates import Rates
from asim_lightning.engine.events.stream import gap_factor
from asim_lightning.engine.events.words import (
    bytes_of,
    input_words,
    padded,
    weight_words,
    word_counts,
    word_table,
)
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.threads import spread_kernel

_CANDIDATES_WORTH_A_THREAD = 1500
"""Work that occupies a thread much longer than it takes to wake it while torch's own threads still spin."""


def words_of(rates: Rates, layout: Layout, w: Tensor) -> Any:
    """Words of a weight, which for all inputs of the same kind are the same."""
    return weight_words(layout, w, bytes_of(rates.macro.weight_bits))


def with_errors(
    total: Tensor,
    rates: Rates,
    layout: Layout,
    x: Tensor,
    w_words: Any,
    key: int,
    noise: Noise,
) -> Tensor:
    """The exact outputs, plus the errors of the wrong conversions: `any_device.with_errors`, many times faster.

    Outputs in float32 or float64 may be written to, and keep their type; x may be what `input_words` takes, and weights
    are words (`words_of`).
    """
    g = layout.geometry
    x_words = input_words(layout, x, bytes_of(rates.macro.input_bits), rates.signed_input)
    if total.dtype not in (torch.float32, torch.float64):
        total = total.to(torch.float64)
    inward = g.outputs_outermost and total.dim() == 4 and total.is_contiguous(memory_format=torch.channels_last)
    total = total if inward else total.contiguous()
    out = (total.permute(0, 2, 3, 1) if inward else total).view(total.shape[0], -1).numpy()
    steps = (g.inner, 1) if g.outputs_outermost and not inward else (1, g.outputs)
    word = np.uint32
    words = (word(noise.seed), word(key), word(noise.trial << 16))
    arrays = (out, noise.sample_ids.numpy(), noise.offsets.numpy(), x_words, w_words, *_tables(rates, layout))
    kernel, fewest = _kernel(f"f{out.itemsize}"), int(_CANDIDATES_WORTH_A_THREAD / max(1.0, layout.candidates)) + 1
    spread_kernel(kernel, (*arrays, *steps, *words), total.shape[0] * layout.blocks, fewest)
    return total


@lru_cache(maxsize=2)
def _kernel(kind: str) -> Any:
    """The compiled kernel for outputs of this type."""
    from asim_lightning.engine.events.kernels import compile_events  # Numba takes half a second to import

    return compile_events(kind)


@lru_cache(maxsize=1024)
def _tables(rates: Rates, layout: Layout) -> tuple[Any, ...]:
    """Geometry, tiles, places, kinds, gap factors, cycles, errors and shares, as the kernel's arguments."""
    counts = word_counts(layout)
    tiles = np.array(list(zip(accumulate(counts, initial=0), counts, strict=False)), dtype=np.int64)
    kinds: list[tuple[int, ...]] = []
    flat: list[tuple[int, ...]] = []
    errors, shares = [0], [np.zeros(1)]
    for kind, draws in zip(rates.kinds, layout.draws, strict=True):
        number = len(kind.errors) - 1
        kinds.append((len(flat), len(kind.cycles), draws, len(errors), number, sum(map(len, shares))))
        for c in kind.cycles:
            cycle = rates.cycles[c]
            bits = cycle.weight_bits[0], cycle.input_bits[0], cycle.input_bits[-1] + 1
            flat.append((*bits, rates.weights[c]))
        errors += kind.errors.tolist()
        shares.append(kind.shares.numpy().reshape(-1))
    return (
        _geometry(rates, layout),
        tiles,
        _places(rates, layout),
        np.array(kinds, dtype=np.int64),
        np.array([gap_factor(kind.rate) for kind in rates.kinds]),
        np.array(flat, dtype=np.int64),
        np.array(errors, dtype=np.int64),
        np.concatenate(shares),
    )


def _places(rates: Rates, layout: Layout) -> Any:
    """Where the words of all tiles lie in x, from the first pixel that an output meets."""
    g, table = layout.geometry, word_table(layout)
    group, element = table[:, 0] // 8, table[:, 1]
    pixel = element // g.kernel[1] * g.dilation[0] * padded(layout)[1] + element % g.kernel[1] * g.dilation[1]
    return (group + pixel * _pixel_words(rates, layout)).astype(np.uint64)


def _pixel_words(rates: Rates, layout: Layout) -> int:
    """Words of a pixel of x."""
    return bytes_of(rates.macro.input_bits) * ((layout.geometry.channels + 7) // 8)


def _geometry(rates: Rates, layout: Layout) -> Any:
    """Sizes, and steps in words: of x for a row of the batch, group, byte and pixel; of w for a row, head, output and
    byte."""
    g = layout.geometry
    height, width = padded(layout)
    pixel, tile_words = _pixel_words(rates, layout), sum(word_counts(layout))
    x_group = pixel * height * width
    x_steps = [g.groups * x_group, x_group, (g.channels + 7) // 8, pixel]
    w_output = bytes_of(rates.macro.weight_bits) * tile_words
    w_steps = [g.heads * g.outputs * w_output, g.outputs * w_output, w_output, tile_words]
    sizes = [layout.block_outputs, layout.blocks, rates.macro.rows, rates.divisor]
    sizes += [int(g.outputs_outermost), g.inner, g.out_width, g.group_outputs, g.head_rows, width, *g.stride]
    return np.array(sizes + x_steps + w_steps, dtype=np.int64)
