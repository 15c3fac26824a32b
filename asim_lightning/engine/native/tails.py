"""Wrong conversions of converters that differ by the native library: operands and structures, as tails.h has them."""

import ctypes as C
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.chips.converters import Converters
from asim_lightning.engine.native.cycles import schedule_of
from asim_lightning.engine.native.padded_inputs import bytes_of, padded_channels, padded_inputs, padded_size
from asim_lightning.engine.native.passes import ADDRESS, INT32, INT64, UINT32, Structure, fields, threads_for
from asim_lightning.engine.native.placed_converters import PlacedConverters, placed
from asim_lightning.engine.native.structures import ConvertersOfJob
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.tails.kinds import TAIL_STEPS, TailCycles, tails
from asim_lightning.engine.tails.tail_layout import TailLayout

_GROUP, _WORD = 16, 64
_CONVERSIONS, _PACKED = 2**17, 2**16
"""Conversions that are or are not made, and elements to pack, that occupy a thread much longer than it takes to wake
it."""


class _PlanesOfWeights(Structure):
    _fields_ = fields(
        ("w out ones tiles", ADDRESS),
        ("matrices columns channels elements tile_count weight_bits words", INT64),
        ("threads", INT32),
    )


class _TailKind(C.Structure):
    _fields_ = fields(("sigma low high codes", C.c_float))


class _TailGroup(C.Structure):
    _fields_ = fields(("kind weight_bit first cycles", INT32))


class _TailsJob(Structure):
    _fields_: ClassVar = [
        *fields(
            ("x steps w ones tiles cycles numbers groups kinds digits levels sigmas tails", ADDRESS),
            ("inl_low inl_high ids offsets out", ADDRESS),
        ),
        ("converters", ConvertersOfJob),
        *fields(
            ("batch macros pixels columns block_pixels tile_count group_count kind_count digit_count", INT64),
            ("words input_bits tail_steps tail_count places", INT64),
            ("x_row x_macro x_line x_right x_byte out_width matrix_row matrix_macro", INT64),
            ("out_row out_macro out_column out_pixel rows divisor", INT64),
            ("slack top", C.c_float), ("key", UINT32 * 2), ("last_word", UINT32), ("is_double threads", INT32),
        ),
    ]  # fmt: skip


@dataclass(frozen=True, eq=False)
class PlacedTails:
    """Errors of converters, and bounds of their INL, place by place.

    Attributes:
        converters: The errors.
        inl: Least and largest INL (`inl_bounds`), float32; None: there is none.
            # (2, parts, tiles, groups or heads, weight bits, output columns up to a multiple of 16)
        places: How many places there are.
    """

    converters: PlacedConverters
    inl: Tensor | None
    places: int


def placed_tails(converters: Converters, inl: Tensor | None) -> PlacedTails:
    """Errors and bounds place by place."""
    index = F.pad(converters.index.transpose(2, 3), (0, -converters.index.shape[2] % _GROUP))
    own = None if inl is None or converters.curve is None else inl[:, :, converters.curve[index]].contiguous()
    return PlacedTails(placed(converters), own, index.numel())


@dataclass(frozen=True, eq=False)
class NativeTails:
    """The wrong conversions of a product.

    Attributes:
        kernels: The library.
        cycles: The macro's cycles.
        layout: Layout of a row of the batch.
    """

    kernels: C.CDLL
    cycles: TailCycles
    layout: TailLayout

    def planes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Bit planes of a weight, which for all inputs are the same, int64, and the ones of each, int32.

        # (matrices, tiles, weight bits, output columns up to a multiple of 16, words), and all but words
        """
        g, bits, tiles = self.layout.geometry, self.cycles.transfer.macro.weight_bits, self.layout.tiles
        columns, elements = self.layout.columns, g.kernel[0] * g.kernel[1]
        source = w.to(torch.float32).contiguous()
        matrices = source.numel() // (columns * g.channels * elements)
        shape = matrices, len(tiles), bits, columns + -columns % _GROUP
        ones = torch.zeros(shape, dtype=torch.int32, device="cpu")
        out = torch.zeros(*shape, _words(self.layout), dtype=torch.int64, device="cpu")
        table, threads = _tile_table(self.layout), threads_for(source.numel(), _PACKED)
        addresses = source.data_ptr(), out.data_ptr(), ones.data_ptr(), table.ctypes.data
        sizes = matrices, columns, g.channels, elements, len(tiles), bits, out.shape[-1]
        _PlanesOfWeights(0, *addresses, *sizes, threads).call(self.kernels.asim_planes_of_weights)
        return out, ones

    def added(
        self, total: Tensor, x: Tensor, planes: tuple[Tensor, Tensor], placed: PlacedTails, key: int, noise: Noise
    ) -> Tensor:
        """Adds the errors of the wrong conversions.

        Args:
            total: Outputs in float32 or float64, which may be written to. # (batch, *outputs)
            x: What `padded_inputs` takes. # (batch, *inputs)
            planes: Planes of the weights.
            placed: Errors of the converters.
            key: Key of the layer's tails.
            noise: Noise source.

        Returns:
            Of the type of total. # (batch, *outputs)
        """
        g, transfer = self.layout.geometry, self.cycles.transfer
        x_bytes = padded_inputs(self.kernels, x, g, transfer.macro.input_bits, transfer.signed_input)
        inward = g.outputs_outermost and total.dim() == 4 and total.is_contiguous(memory_format=torch.channels_last)
        out = total if inward else total.contiguous()
        ids, offsets = noise.sample_ids.contiguous(), noise.offsets.contiguous()
        job = _TailsJob.from_buffer_copy(_job_of(self.cycles, self.layout)[0])
        job.x, job.out, job.ids, job.offsets = (t.data_ptr() for t in (x_bytes, out, ids, offsets))
        job.w, job.ones = (each.data_ptr() for each in planes)
        job.converters, job.places = placed.converters.of_job(), placed.places
        if placed.inl is not None:
            job.inl_low, job.inl_high = (each.data_ptr() for each in placed.inl)
        job.batch, job.is_double = len(out), out.dtype == torch.float64
        job.out_column, job.out_pixel = (g.inner, 1) if g.outputs_outermost and not inward else (1, g.outputs)
        job.out_macro = job.columns * job.out_column if g.outputs_outermost else g.macro_pixels * job.out_pixel
        job.key, job.last_word = (noise.seed, key), noise.trial << 16
        job.threads = threads_for(len(out) * g.positions * len(self.layout.tiles) * len(transfer.cycles), _CONVERSIONS)
        job.call(self.kernels.asim_add_tails)
        return out


def _words(layout: TailLayout) -> int:
    """Words of a plane of the largest tile."""
    tiles = layout.tiles
    return max(-(-(t.channel_high - t.channel_low) * (t.element_high - t.element_low) // _WORD) for t in tiles)


@lru_cache(maxsize=1024)
def _tile_table(layout: TailLayout) -> Any:
    rows = [(t.channel_low, t.channel_high, t.element_low, t.element_high) for t in layout.tiles]
    return np.array(rows, np.int64)


@lru_cache(maxsize=1024)
def _job_of(cycles: TailCycles, layout: TailLayout) -> tuple[_TailsJob, Any]:
    """The structure but for what a call brings, and what it points to."""
    g, transfer, macro = layout.geometry, cycles.transfer, cycles.transfer.macro
    schedule, groups = schedule_of(transfer, True), []
    numbers: list[int] = []
    for group in cycles.groups:
        groups.append(_TailGroup(group.kind, group.weight_bit, len(numbers), len(group.cycles)))
        numbers += group.cycles
    pixel, width = bytes_of(macro.input_bits) * padded_channels(g), padded_size(g)[1]
    elements = [divmod(element, g.kernel[1]) for element in range(g.kernel[0] * g.kernel[1])]
    steps = [(down * g.dilation[0] * width + right * g.dilation[1]) * pixel for down, right in elements]
    arrays = np.array(steps, np.int64), np.array(numbers, np.int32), _tile_table(layout), tails()
    all_groups = (_TailGroup * len(groups))(*groups)
    kinds = [_TailKind(kind.sigma, kind.low, kind.high, kind.codes) for kind in cycles.kinds]
    all_kinds = (_TailKind * len(kinds))(*kinds)
    job = _TailsJob(
        steps=arrays[0].ctypes.data, numbers=arrays[1].ctypes.data, tiles=arrays[2].ctypes.data,
        tails=arrays[3].data_ptr(), groups=C.addressof(all_groups), kinds=C.addressof(all_kinds),
        cycles=C.addressof(schedule.cycles), digits=C.addressof(schedule.digits_of_job),
        levels=schedule.levels.data_ptr(), sigmas=schedule.sigmas.data_ptr(),
        macros=g.macros, pixels=g.macro_pixels, columns=layout.columns, block_pixels=layout.block_pixels,
        tile_count=len(layout.tiles), group_count=len(groups), kind_count=len(kinds),
        digit_count=len(schedule.digits), words=_words(layout), input_bits=macro.input_bits, tail_steps=TAIL_STEPS,
        tail_count=len(tails()) - 1,
        x_row=pixel * width * padded_size(g)[0] * g.groups, x_line=g.stride[0] * width * pixel,
        x_macro=pixel * (g.head_rows if g.heads else width * padded_size(g)[0]), x_right=g.stride[1] * pixel,
        x_byte=padded_channels(g), out_width=g.out_width, matrix_row=g.heads, matrix_macro=1,
        out_row=g.positions, rows=transfer.scale, divisor=transfer.divisor, slack=cycles.slack, top=float(cycles.top),
    )  # fmt: skip
    return job, (all_groups, all_kinds, arrays, schedule)
