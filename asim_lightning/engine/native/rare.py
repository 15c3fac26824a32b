"""Wrong conversions by the native library: operands, tables of rates and a layout, in the form that rare.cpp reads."""

import ctypes as C
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asim_lightning.engine.byte_passes import SHIFT
from asim_lightning.engine.native.cycles import schedule_of
from asim_lightning.engine.native.passes import Structure, call, declared, threads_for
from asim_lightning.engine.native.structures import ConvertersOfJob
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.rare.layout import Layout
from asim_lightning.engine.rare.margins import Apart
from asim_lightning.engine.rare.rates import Rates
from asim_lightning.engine.rare.stream import gap_factor
from asim_lightning.engine.stored_weights import StoredBits

_CANDIDATES, _PACKED = 1500, 2**16
"""Candidates, and elements to pack, that occupy a thread much longer than it takes to wake it."""
_OF_PIXEL = 4
"""Candidates of a pixel and tile from which on it saves time to count the ones of the inputs."""
_SLACK = 8
"""Bytes that may be read past the end."""


class _Kind(Structure):
    _fields_ = declared("Kind")


class _Apart(Structure):
    _fields_ = declared("Apart", Converters=ConvertersOfJob)


class _RareErrors(Structure):
    _fields_ = declared("RareErrors", Apart=_Apart)


def weight_words(rates: Rates, layout: Layout, stored: StoredBits) -> Tensor:
    """Words of a weight, the same for all inputs, and with flips one more for each tile. # (outputs, words), int64"""
    w = stored.weights.integers
    g, table, planes = layout.geometry, _word_table(layout), _bytes_of(rates.transfer.macro.weight_bits)
    source = w.to(torch.float32).contiguous()
    outputs = source.numel() // (g.channels * g.elements)
    out = torch.empty(outputs, planes, len(table), dtype=torch.int64, device="cpu")
    sizes = outputs, g.channels, g.elements, planes, len(table), threads_for(source.numel(), _PACKED)
    call("asim_pack_weights", "WeightPacking", source, out, table.ctypes.data, *sizes)
    words = out.flatten(1)
    return words if stored.flips is None else torch.cat((words, stored.flips.long().view(outputs, -1)), 1).contiguous()


def with_errors(
    total: Tensor, rates: Rates, layout: Layout, x: Tensor, words: Tensor, key: int, noise: Noise,
    apart: Apart | None = None,
) -> Tensor:  # fmt: skip
    """See `any_device.with_errors`.

    Outputs in float32 or float64 keep their type and may be overwritten. x may be the bytes of `Quantizer.bytes`.
    Weights are words (`weight_words`).
    """
    is_image = layout.geometry.is_image
    x_bytes = _padded_inputs(x, layout, rates.transfer.macro.input_bits, rates.transfer.signed_input)
    if total.dtype not in (torch.float32, torch.float64):
        total = total.to(torch.float64)
    inward = is_image and total.dim() == 4 and total.is_contiguous(memory_format=torch.channels_last)
    out = total if inward else total.contiguous()
    ids, offsets = noise.sample_ids.contiguous(), noise.offsets.contiguous()
    job = _RareErrors.from_buffer_copy(_tables(rates, layout)[0])
    job.out, job.x, job.w = out.data_ptr(), x_bytes.data_ptr(), words.data_ptr()
    job.ids, job.offsets = ids.data_ptr(), offsets.data_ptr()
    job.batch, job.is_double = len(out), out.dtype == torch.float64
    job.out_channel, job.out_pixel = (layout.inner, 1) if is_image and not inward else (1, layout.outputs)
    job.key, job.last_word = (noise.seed, key), noise.trial << 16
    if apart is not None:
        converters, found = apart.placed, apart.rates
        job.apart.hazards, job.apart.rates, job.apart.bounds = (
            each.data_ptr() for each in (found.hazards, found.rates, found.bounds)
        )
        job.apart.converters = ConvertersOfJob.placed(converters)
        # without a gain or INL, margins do not depend on counts
        bounded = converters.gain is not None or converters.curve is not None
        shape = _shape_of_ones(rates, layout) if bounded else None
        ones = None if shape is None else torch.empty(len(out), *shape, dtype=torch.int32, device="cpu")
        job.apart.ones = None if ones is None else ones.data_ptr()
    blocks = len(out) * layout.blocks
    job.threads = threads_for(blocks, int(_CANDIDATES / max(1.0, layout.candidates)) + 1)
    job.call("asim_add_rare_errors")
    return out


@lru_cache(maxsize=1024)
def _shape_of_ones(rates: Rates, layout: Layout) -> tuple[int, ...] | None:
    """Shape of a kernel's counts of the inputs that have each bit, by pixel and tile; None if candidates are too few to
    gain from them."""
    places = layout.groups, layout.pixels, len(layout.tiles)
    if layout.candidates * layout.blocks < _OF_PIXEL * prod(places):
        return None
    return *places, 8 * _bytes_of(rates.transfer.macro.input_bits)


def _bytes_of(bits: int) -> int:
    return (bits + 7) // 8


def _padded_size(layout: Layout) -> tuple[int, int]:
    padding = layout.geometry.padding
    return layout.height + 2 * padding[0], layout.geometry.size[1] + 2 * padding[1]


def _padded_channels(layout: Layout) -> int:
    """Channels of a group, rounded up to a multiple of 8."""
    return (layout.geometry.channels + 7) // 8 * 8


def _padded_inputs(x: Tensor, layout: Layout, input_bits: int, signed: bool) -> Tensor:
    """Bytes of an input with its padding, and with 8 unused bytes behind them.

    # (batch, groups, padded height, padded width, bytes * padded channels)
    """
    g = layout.geometry
    is_bytes, planes = x.dtype == torch.uint8, _bytes_of(input_bits)
    x = x if is_bytes else x.to(torch.float32)
    x = (x.permute(0, 2, 3, 1) if g.is_image else x).contiguous()
    shape = torch.Size((len(x), layout.groups, *_padded_size(layout), planes * _padded_channels(layout)))
    out = torch.empty(shape.numel() + _SLACK, dtype=torch.uint8, device="cpu")
    sizes = len(x), layout.height, g.size[1], layout.groups, g.channels, *g.padding, planes
    flipped = SHIFT if is_bytes and signed else 0
    threads = threads_for(x.numel(), _PACKED)
    call("asim_pack_inputs", "InputPacking", x, out, *sizes, is_bytes, flipped, threads)
    return out[: shape.numel()].view(shape)


@lru_cache(maxsize=1024)
def _tables(rates: Rates, layout: Layout) -> tuple[_RareErrors, Any]:
    """The structure without the fields of a call, and the arrays that it points to."""
    g, macro = layout.geometry, rates.transfer.macro
    (height, width), w_byte = _padded_size(layout), len(_word_table(layout))
    x_pixel = _bytes_of(macro.input_bits) * _padded_channels(layout) // 8
    tiles: list[tuple[int, ...]] = []
    places: list[int] = []
    first_word = 0
    for tile in layout.tiles:
        group, elements = tile.channels.start // 8, range(g.elements)[tile.kernel]
        run = (tile.channels.stop + 7) // 8 - group
        tiles.append((first_word, len(places), len(elements), run))
        for down, right in (divmod(element, g.kernel[1]) for element in elements):
            places.append(group + (down * g.dilation[0] * width + right * g.dilation[1]) * x_pixel)
        first_word += len(elements) * run
    cycles: list[tuple[int, ...]] = []
    kinds, errors = [], [0]
    shares = [np.zeros(1)]
    for kind, draws in zip(rates.kinds, layout.draws or [0] * len(rates.kinds), strict=True):
        sizes = len(kind.cycles), draws, len(errors), len(kind.errors) - 1, sum(map(len, shares))
        kinds.append(_Kind(len(cycles), *sizes, gap_factor(kind.rate) if kind.margins is None else -1.0))
        for number in kind.cycles:
            cycle = rates.transfer.cycles[number]
            bits = cycle.weight_bits[0], cycle.input_bits[0], cycle.input_bits[-1] + 1
            cycles.append((*bits, rates.weights[number]))
        errors += kind.errors.tolist()
        shares.append(kind.shares.numpy().reshape(-1))
    arrays = [*(np.array(values, np.int64) for values in (tiles, places, cycles, errors)), np.concatenate(shares)]
    addresses = [array.ctypes.data for array in arrays]
    all_kinds = (_Kind * len(kinds))(*kinds)
    x_group, w_bits = x_pixel * height * width, _bytes_of(macro.weight_bits) * w_byte
    w_flips = w_bits if macro.weight_coding == "flip" else 0
    w_output = w_bits + (len(tiles) if w_flips else 0)
    w_head = layout.outputs * w_output if layout.heads else 0
    steps = layout.groups * x_group, x_group, _padded_channels(layout) // 8, x_pixel, layout.heads * w_head, w_head
    job = _RareErrors.of(
        *addresses[:2], all_kinds, *addresses[2:],
        len(tiles), len(kinds), rates.transfer.scale, rates.transfer.divisor,
        layout.geometry.positions, layout.block_outputs, layout.blocks,
        g.is_image, layout.inner, g.output_size[1], g.outputs, g.windows, width, *g.stride,
        *steps, w_output, w_byte, w_flips,
    )  # fmt: skip
    job.apart.macros, job.apart.columns, job.apart.pixels = g.groups, prod(g.columns), layout.pixels
    return job, (all_kinds, arrays, _add_schedule(job.apart, rates) if rates.differ else None)


def _add_schedule(apart: _Apart, rates: Rates) -> Any:
    """Add the schedule for converters that differ; gives the objects that it points to."""
    schedule = schedule_of(rates.transfer, True)
    of_bits = [kind.margins.of_bits for kind in rates.kinds if kind.margins is not None]
    firsts = np.array([[0, *np.cumsum(numbers)] for numbers in of_bits], np.int64)
    numbers = np.array([kind.cycles[0] for kind in rates.kinds], np.int64)
    apart.firsts, apart.numbers = firsts.ctypes.data, numbers.ctypes.data
    apart.cycles, apart.levels = C.addressof(schedule.cycles), schedule.levels.data_ptr()
    apart.sigmas = schedule.sigmas.data_ptr()
    return schedule, firsts, numbers


@lru_cache(maxsize=256)
def _word_table(layout: Layout) -> Any:
    """First channel, kernel element, and the tile's channels low..high-1, for the words of all tiles."""
    words = [
        (channel, element, max(channel, tile.channels.start), min(channel + 8, tile.channels.stop))
        for tile in layout.tiles
        for element in range(tile.kernel.start, tile.kernel.stop)
        for channel in range(tile.channels.start // 8 * 8, tile.channels.stop, 8)
    ]
    return np.array(words, dtype=np.int64)
