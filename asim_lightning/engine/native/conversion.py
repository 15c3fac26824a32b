"""The part of a conversion job that the operands' shapes decide; cached, because layers see few shapes."""

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import torch

from asim_lightning.circuit import Transfer
from asim_lightning.engine.native.cycles import schedule_of
from asim_lightning.engine.native.library import library
from asim_lightning.engine.native.structures import (
    GROUP,
    REAL_COUNTS,
    VOTE_RULES,
    ConversionJob,
    Counting,
    Outputs,
    Side,
    Tile,
)
from asim_lightning.engine.product import Geometry, Product

_BYTES = 2**26
"""Most bytes in use at a time if there is more than one sample: 64 MB."""
_LOOK_UP, _LOOK_UP_WITHOUT_POPCOUNT = 2.1, 1.0
"""Bits that popcount counts in the time of a look-up: with AVX-512's instruction, and without."""
_OUTPUTS_WORTH_BYTES = 8
"""Outputs whose look-ups take as long as arranging inputs in bytes instead of bits."""
_LARGEST_LOOK_UP = 2**16 - 1
_NANOSECONDS_A_CONVERSION, _NANOSECONDS_WORTH_THREADS = 0.25, 4e4


@dataclass(frozen=True)
class Execution:
    """Level of the library (None: the best), torch's threads, and the way of counting (None: the fastest)."""

    level: str | None
    threads: int
    counting: Counting | None = None


@dataclass(frozen=True, eq=False)
class Conversion:
    """How a product is computed.

    Attributes:
        job: The job without operands, noise and outputs; copied for each call.
        output_shape: # (batch, *outputs)
        form_key: Everything besides the weights that the form of the weights depends on.
        samples: Samples that are computed at a time.
        kept: Objects that the job points to.
    """

    job: ConversionJob
    output_shape: tuple[int, ...]
    form_key: str
    samples: int
    kept: tuple[Any, ...]


@lru_cache(maxsize=512)
def conversion_of(
    product: Product,
    transfer: Transfer,
    execution: Execution,
    x: tuple[tuple[int, ...], tuple[int, ...]],
    w_shape: tuple[int, ...],
    batch: int,
    has_errors: bool = False,
) -> Conversion:
    """The conversion of a product; x has the inputs' shape and strides, and the whole `batch` decides how to count."""
    macro, schedule, level = transfer.macro, schedule_of(transfer, has_errors), execution.level
    job = ConversionJob()
    weight = torch.Size(w_shape[product.batched_weight :])
    found = product.geometry_of(weight, torch.Size(x[0]))
    sides = _images(found, *x) if product.is_image else _matrices(found, x[0], product.batched_weight)
    job.inputs, job.weights, job.outputs, output_shape, kept = sides
    job.inputs.bits, job.weights.bits = macro.input_bits, macro.weight_bits
    inputs, outputs = job.inputs.lanes * batch // x[0][0], job.weights.lanes
    if product.batched_weight:
        inputs = job.inputs.lanes
    job.inputs_in_lanes = _filling(inputs) >= _filling(outputs)
    if transfer.column.cell_sigma:
        job.counting, job.inputs_in_lanes = REAL_COUNTS, True
    elif execution.counting is None:
        job.counting = _counting(transfer, level, inputs, outputs)
    else:
        job.counting = execution.counting
    if job.counting == Counting.LOOK_UPS:
        job.inputs_in_lanes = False
    tiles = [Tile(t.channels.start, t.channels.stop, t.kernel.start, t.kernel.stop) for t in found.tiles(macro.rows)]
    array = (Tile * len(tiles))(*tiles)
    job.tiles, job.cycles = ctypes.addressof(array), ctypes.addressof(schedule.cycles)
    job.digits = ctypes.addressof(schedule.digits_of_job)
    job.levels, job.sigmas = schedule.levels.data_ptr(), schedule.sigmas.data_ptr()
    job.scale, job.divisor = transfer.scale, transfer.divisor
    job.tile_count, job.cycle_count, job.schedule_cycles = len(tiles), len(schedule.cycles), len(transfer.cycles)
    job.digit_count, job.vote_rule = len(schedule.digits), VOTE_RULES[macro.vote]
    conversions = prod(output_shape) * len(tiles) * len(transfer.cycles)
    job.threads = execution.threads if conversions * _NANOSECONDS_A_CONVERSION >= _NANOSECONDS_WORTH_THREADS else 1
    key = repr(("native", level, job.counting, job.inputs_in_lanes, product, macro.rows, macro.weight_bits))
    sample = 8 * prod(output_shape[1:]) + 4 * prod(x[0][1:])
    if transfer.column.depends_on_driven:
        sample += 4 * found.groups * found.windows * len(tiles) * len(schedule.digits)
    return Conversion(job, output_shape, key, max(1, _BYTES // max(1, sample)), (*kept, array, schedule))


def _images(
    found: Geometry, shape: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[Side, Side, Outputs, tuple[int, ...], tuple[Any, ...]]:
    """Sides and outputs of a convolution: groups are problems, and output pixels are the lanes of the inputs."""
    groups, channels, outputs, elements = found.groups, found.channels, found.outputs, found.elements
    height, width = found.output_size
    line, (down, right) = shape[3] + 2 * found.padding[1], found.dilation
    places = [y * down * line + x * right for y in range(found.kernel[0]) for x in range(found.kernel[1])]
    input_elements = torch.tensor(places, device="cpu")
    weight_elements = torch.arange(elements, device="cpu") * outputs
    inputs = Side(
        None, groups, shape[0], channels, shape[2], shape[3], channels * strides[1], *strides, *found.padding,
        height, width, *found.stride, input_elements.data_ptr(),
    )  # fmt: skip
    weights = Side(
        None, groups, 1, channels, elements, outputs, outputs * channels * elements, 0, elements, 1,
        channels * elements, 0, 0, 1, outputs, 1, 1, weight_elements.data_ptr(),
    )  # fmt: skip
    pixels = found.windows
    places_of = Outputs(None, None, groups, pixels, outputs * pixels, 1, pixels, found.positions)
    return inputs, weights, places_of, (shape[0], groups * outputs, height, width), (input_elements, weight_elements)


def _matrices(
    found: Geometry, shape: tuple[int, ...], is_batched: bool
) -> tuple[Side, Side, Outputs, tuple[int, ...], tuple[Any, ...]]:
    """Sides and outputs of a matrix product: rows of contiguous inputs are their lanes."""
    outputs, terms, first = found.outputs, found.channels, torch.zeros(1, dtype=torch.int64, device="cpu")
    problems, rows = (shape[0] * found.groups, found.windows) if is_batched else (1, shape[0] * found.windows)
    inputs, weights = (
        Side(None, problems, 1, terms, 1, n, n * terms, 0, 1, 0, terms, 0, 0, 1, n, 1, 1, first.data_ptr())
        for n in (rows, outputs)
    )
    each = found.windows
    places_of = Outputs(None, None, found.groups, each, each * outputs, outputs, 1, found.positions)
    return inputs, weights, places_of, (*shape[:-1], outputs), (first,)


def _filling(lanes: int) -> float:
    """Share of used lanes if they are in groups of 16."""
    return lanes / (-(-lanes // GROUP) * GROUP)


def _counting(transfer: Transfer, level: str | None, inputs: int, outputs: int) -> Counting:
    """The fastest way to count for so many lanes of a problem's inputs and outputs."""
    macro, loaded, digits = transfer.macro, library(level), schedule_of(transfer).digits
    parts = sum(-(-number // 4) for _, number in digits)
    fits = macro.rows * 15 <= _LARGEST_LOOK_UP and loaded.asim_counts_by(Counting.LOOK_UPS)
    # a look-up takes up to four bits of a digit of four inputs, and outputs are always its lanes
    used = _filling(outputs) / max(_filling(inputs), _filling(outputs)) * inputs / (-(-inputs // 4) * 4)
    cost = (_LOOK_UP if loaded.asim_has_popcount() else _LOOK_UP_WITHOUT_POPCOUNT) * (
        1 + _OUTPUTS_WORTH_BYTES / outputs
    )
    return Counting.LOOK_UPS if fits and macro.input_bits / parts * used >= cost else Counting.POPCOUNT
