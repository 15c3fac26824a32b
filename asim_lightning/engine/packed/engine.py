"""The packed engine: every conversion on a CPU, counted by popcount of bit planes in 32-bit words.

Counts are ones of ``input plane & weight plane``; noise, ADC and shift-add follow in registers, 16 outputs at a time
(`conversion`). The 16 lanes are output pixels (rows of a matrix) or output channels, whichever fills them better.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.packed import layout
from asim_lightning.engine.packed.operand import Planes, aligned, bit_planes, few, packed
from asim_lightning.engine.packed.schedule import VOTE_RULES, PackedSchedule, applies, packed_schedule
from asim_lightning.engine.product import Product
from asim_lightning.engine.remembered import remembered
from asim_lightning.engine.threads import spread

__all__ = ["applies", "run"]

_BYTES = 2**26
"""Bytes in use at a time, where more than one sample is: 64 MB."""
_LANE_BYTES = 2**20
"""Bytes of one operand in the order of lanes at a time, so that they are read from a core's own cache."""
_BLOCK = 16
_AMX_WORTH = 16
"""Singles times bits a digit from which AMX is faster than popcount: its registers have 16 rows, of which few would be
in use, and digits take eight times the room of a bit."""


def run(product: Product, transfer: Transfer, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
    """Outputs of a macro, in counts; the same as `reference.run`, with noise but for the last bit of its normals.

    Args:
        product: The linear map.
        transfer: The macro's schedule and column, one that `applies` takes.
        x: Whole numbers. # (batch, *inputs)
        w: Whole numbers; what is derived from them is kept as long as the tensor lives and is not written to.
            # (*weight), or (batch, *weight) where the product says so
        noise: Noise source, with one row per row of the batch.

    Returns:
        Outputs in counts, float64. # (batch, *outputs)
    """
    shape = tuple(w.shape[1:] if product.batched_weight else w.shape)
    counting = _counting(product, transfer, x, w)
    rows = layout.rows_of(product, shape, transfer.macro.rows, counting.inputs.width)
    step = max(1, _BYTES // _bytes_a_sample(product, rows, len(counting.inputs.digits), x, w))
    parts = []
    for low in range(0, len(x), step):
        part, weight = x[low : low + step], w[low : low + step] if product.batched_weight else w
        parts.append(_run(product, transfer, counting, rows, part, weight, noise.rows(low, low + step)))
    return torch.cat(parts) if len(parts) != 1 else parts[0]


@dataclass(frozen=True)
class _Counting:
    """How conversions are counted.

    Attributes:
        inputs: Planes of the inputs: bits for popcount, digits for AMX.
        weights: Planes of the weights.
        by_input: Whether lanes are inputs.
    """

    inputs: Planes
    weights: Planes
    by_input: bool

    @property
    def by_amx(self) -> bool:
        return self.inputs.width == 8


def _counting(product: Product, transfer: Transfer, x: Tensor, w: Tensor) -> _Counting:
    macro, plan = transfer.macro, packed_schedule(transfer)
    one = w[0] if product.batched_weight else w
    outputs = layout.weight_lanes(product, one)
    inputs = x.shape[-2] if product.batched_weight else len(x) * product.positions(x, one) // len(one)
    by_input = _filling(inputs) >= _filling(outputs)
    singles = outputs if by_input else inputs
    digits_fit = max(bits for _, bits in plan.digits) <= 8
    if plan.plain and digits_fit and singles * macro.encoding_bits >= _AMX_WORTH and _has_amx():
        return _Counting(Planes(8, plan.digits), bit_planes(macro.weight_bits, 8), by_input)
    return _Counting(bit_planes(macro.input_bits), bit_planes(macro.weight_bits), by_input)


def _has_amx() -> bool:
    from asim_lightning.engine.numba_amx import available  # Numba takes half a second to import

    return available()


def _bytes_a_sample(product: Product, rows: layout.Rows, planes: int, x: Tensor, w: Tensor) -> int:
    """Bytes of a sample's integers, packed planes and arranged planes, and of its sums in their types."""
    one = w[0] if product.batched_weight else w
    positions, integers = product.positions(x, one), x[0].numel()
    lanes = positions // layout.weight_lanes(product, one)  # of all problems
    words = integers // max(1, int(rows.chunks[:, 1].max())) + 1
    return 4 * integers + 4 * planes * (words + lanes * len(rows.words) * int(rows.words.max())) + 24 * positions


def _run(
    product: Product, transfer: Transfer, counting: _Counting, rows: layout.Rows, x: Tensor, w: Tensor, noise: Noise
) -> Tensor:
    macro, plan = transfer.macro, packed_schedule(transfer)
    inputs, outputs, by_input = layout.inputs(product, x, w), layout.weight_lanes(product, w), counting.by_input
    packed_inputs = packed(inputs, rows, counting.inputs)

    def weights() -> Any:
        operand = packed(layout.weights(product, w), rows, counting.weights)
        return operand.one_by_one() if by_input else operand.all_in_lanes()

    key = ("packed", product, macro.rows, counting.weights, by_input)
    packed_weights = weights() if product.batched_weight else remembered(w, key, weights)
    if by_input:
        step = min(max(1, _LANE_BYTES // packed_inputs.unit_bytes), packed_inputs.units)
        lanes = _Lanes(
            lambda: partial(packed_inputs.in_lanes, room=packed_inputs.room(step)),
            packed_inputs.units, packed_inputs.groups, step,
        )  # fmt: skip
        singles = packed_weights
    else:
        words, filled = packed_weights
        units = len(words)
        lanes = _Lanes(
            lambda: lambda low, high: (words[low:high], filled[low:high]),
            units, units // packed_inputs.problems, units,
        )  # fmt: skip
        singles = packed_inputs.one_by_one()
    if counting.by_amx:
        convert = _by_amx(plan, by_input)
    else:
        places = layout.places(product, inputs, outputs, noise)
        places = places if by_input else layout.Places(places.outputs, places.inputs, places.problems)
        convert = _by_popcount(transfer, plan, by_input, places, noise)
    shape = (outputs, inputs.lanes) if by_input else (inputs.lanes, outputs)
    total = _convert(transfer, convert, rows, singles, lanes, shape)
    return layout.in_shape(product, x, w, total if by_input else total.transpose(1, 2))


@dataclass(frozen=True)
class _Lanes:
    """The operand that differs from lane to lane, in units of 16 lanes.

    Attributes:
        source: Gives a thread its function of low and high: words of units low..high-1, and whether a plane has a 1.
        units: Units of all problems.
        groups: Units of a problem.
        step: Units at a time.
    """

    source: Callable[[], Callable[[int, int], tuple[np.ndarray, np.ndarray]]]
    units: int
    groups: int
    step: int


def _filling(lanes: int) -> float:
    """Share of the lanes in use."""
    return lanes / (-(-lanes // LANES) * LANES)


def _by_popcount(
    transfer: Transfer, plan: PackedSchedule, by_input: bool, places: layout.Places, noise: Noise
) -> Callable[..., None]:
    from asim_lightning.engine.packed.conversion import kernel  # Numba takes half a second to import

    used = places.inputs.shape[1]
    padded = np.zeros((2, -(-used // LANES) * LANES), np.uint32)
    padded[:, :used] = places.inputs
    key = np.array([noise.seed, layer_key(noise.name, noise.call), noise.trial << 16 & 0xFFFFFFFF], np.uint32)
    steps, convert, cycles = plan.by_input if by_input else plan.by_weight, kernel(), transfer.cycles
    most_votes = max(c.votes for c in cycles)
    tables = (plan.kinds, plan.numbers, plan.levels, plan.sigmas, plan.noisy, plan.quiet, len(cycles))
    rest = (padded, places.outputs, places.problems, key, VOTE_RULES[transfer.macro.vote], _BLOCK)

    def converted(operands: tuple[Any, ...], scale: np.ndarray, *room: Any) -> None:
        reads = np.empty(most_votes * LANES, np.int32)
        convert(*operands, plan.first_step, steps, *tables, *rest, scale, reads, *room)

    return converted


def _by_amx(plan: PackedSchedule, by_input: bool) -> Callable[..., None]:
    from asim_lightning.engine.numba_amx import whole_registers  # Numba takes half a second to import
    from asim_lightning.engine.packed.conversion_amx import ROOM, kernel

    pairs, convert, registers = plan.input_pairs if by_input else plan.weight_pairs, kernel(), whole_registers()

    def converted(operands: tuple[Any, ...], scale: np.ndarray, *room: Any) -> None:
        own = aligned((ROOM,)).view(np.int32)
        convert(*operands, pairs, plan.kinds, plan.numbers, plan.quiet, registers, own, scale, *room)

    return converted


def _convert(
    transfer: Transfer,
    convert: Callable[..., None],
    rows: layout.Rows,
    singles: np.ndarray,
    lanes: _Lanes,
    shape: tuple[int, int],
) -> Tensor:
    """Outputs in counts, float64, of singles and lanes as many as the shape says. # (problems, singles, lanes)"""
    out = np.empty((len(singles), shape[0], lanes.groups * LANES))
    blocks = -(-shape[0] // _BLOCK)
    scale = np.array([transfer.macro.rows, (transfer.macro.top_code or 1) * transfer.most_votes], np.float64)
    digital = packed_schedule(transfer).digital

    def work(low: int, high: int) -> None:
        of, sums = lanes.source(), np.zeros((2, _BLOCK * LANES))
        for first in range(low // blocks, -(-high // blocks), lanes.step):
            after = min(first + lanes.step, -(-high // blocks))
            operands = (singles, *of(first, after), first, rows.words)
            convert(operands, scale, sums, digital, out, max(low, first * blocks), min(high, after * blocks))

    spread(work, lanes.units * blocks, few(len(transfer.cycles) * int(singles.shape[1])))
    return torch.from_numpy(out)[:, :, : shape[1]]
