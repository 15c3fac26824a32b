"""The packed engine: every conversion on a CPU, counted by popcount of bit planes in 32-bit words, or by AMX.

Counts are ones of ``input plane & weight plane`` (`conversion`), or sums of products of digits (`conversion_amx`);
noise, ADC and shift-add follow for blocks of 16 singles by 16 lanes (`block`). Lanes are output pixels (rows of a
matrix) or output channels, whichever fills them better, and singles are the others.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.packed import layout
from asim_lightning.engine.packed.operand import PackedOperand, Planes, aligned, bit_planes, few, packed
from asim_lightning.engine.packed.room import block_room
from asim_lightning.engine.packed.schedule import VOTE_RULES, PackedSchedule, applies, packed_schedule
from asim_lightning.engine.per_thread import PerThread
from asim_lightning.engine.product import Product
from asim_lightning.engine.remembered import remembered
from asim_lightning.engine.threads import spread, spread_kernel

__all__ = ["applies", "run"]

_BYTES = 2**26
"""Bytes in use at a time, where more than one sample is: 64 MB."""
_LANE_BYTES = 2**20
"""Bytes of one operand in the order of lanes at a time, so that they are read from a core's own cache."""
_BLOCK = 16
_NANOSECONDS_A_CONVERSION = 4.0
"""About what it takes to make 16 conversions without noise."""


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
    counting, rows, step = _plan(product, transfer, x.shape, w.shape)
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
        """Whether AMX counts."""
        return self.inputs.width == 8


@lru_cache(maxsize=512)
def _plan(
    product: Product, transfer: Transfer, x_shape: torch.Size, w_shape: torch.Size
) -> tuple[_Counting, layout.Rows, int]:
    """How conversions are counted, the rows of all tiles, and samples at a time."""
    shape = w_shape[1:] if product.batched_weight else w_shape
    x, w = torch.empty(x_shape, device="meta"), torch.empty(shape, device="meta")
    counting = _counting(product, transfer, x, w)
    rows = layout.rows_of(product, shape, transfer.macro.rows, counting.inputs.width)
    return counting, rows, max(1, _BYTES // _bytes_a_sample(product, rows, counting.inputs, x, w))


def _counting(product: Product, transfer: Transfer, x: Tensor, w: Tensor) -> _Counting:
    macro, plan = transfer.macro, packed_schedule(transfer)
    outputs = layout.weight_lanes(product, w)
    inputs = x.shape[-2] if product.batched_weight else len(x) * product.positions(x, w) // len(w)
    by_input = _filling(inputs) >= _filling(outputs)
    singles = outputs if by_input else inputs
    if max(bits for _, bits in plan.digits) <= 8 and _is_worth_amx(plan, macro.encoding_bits, singles) and _has_amx():
        return _Counting(Planes(8, plan.digits), bit_planes(macro.weight_bits, 8), by_input)
    return _Counting(bit_planes(macro.input_bits), bit_planes(macro.weight_bits), by_input)


def _is_worth_amx(plan: PackedSchedule, encoding_bits: int, singles: int) -> bool:
    """Whether AMX is faster than popcount: its registers have 16 rows, of which few would be in use, digits take eight
    times the room of a bit, and beside AMX the core is slower, which counts where there is noise."""
    fewest_bits = 3 if plan.noisy.any() else 1
    return encoding_bits >= fewest_bits and singles * encoding_bits >= 16


def _has_amx() -> bool:
    from asim_lightning.engine.numba_amx import available  # Numba takes half a second to import

    return available()


def _bytes_a_sample(product: Product, rows: layout.Rows, planes: Planes, x: Tensor, w: Tensor) -> int:
    """Bytes of a sample's integers, packed planes, arranged planes and outputs."""
    positions, integers = product.positions(x, w), x.shape[1:].numel()
    lanes = positions // layout.weight_lanes(product, w)  # of all problems
    words = integers // max(1, int(rows.chunks[:, 1].max())) + 1
    arranged = lanes * len(rows.words) * planes.whole(int(rows.words.max()))
    return 4 * integers + 4 * len(planes.digits) * (words + arranged) + 16 * positions


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
    singles = packed_weights if by_input else packed_inputs.one_by_one()
    lanes = packed_inputs if by_input else packed_weights
    places = _places(product, inputs, outputs, noise, by_input)
    conversion = _conversion(counting, plan, places, macro.vote)
    shape = (inputs.problems, outputs, inputs.lanes) if by_input else (inputs.problems, inputs.lanes, outputs)
    total = _convert(transfer, conversion, rows, singles, lanes, shape)
    return layout.in_shape(product, x, w, total if by_input else total.transpose(1, 2))


@dataclass(frozen=True)
class _Conversion:
    """A kernel of conversions.

    Attributes:
        kernel: The kernel.
        tables: Its arguments between the operands and the scale.
        rooms: Room that each thread needs. # (threads, ...) each
    """

    kernel: Any
    tables: tuple[Any, ...]
    rooms: tuple[np.ndarray, ...]


def _filling(lanes: int) -> float:
    """Share of the lanes in use."""
    return lanes / (-(-lanes // LANES) * LANES)


def _conversion(counting: _Counting, plan: PackedSchedule, places: tuple[Any, ...], rule: str) -> _Conversion:
    codes = (plan.kinds, plan.numbers, plan.levels, plan.sigmas, plan.noisy, plan.quiet, plan.plain, plan.cycles)
    by_input, threads = counting.by_input, torch.get_num_threads()
    # Numba takes half a second to import
    if counting.by_amx:
        from asim_lightning.engine.numba_amx import whole_registers
        from asim_lightning.engine.packed.conversion_amx import kernel

        operands = (plan.input_pairs if by_input else plan.weight_pairs, whole_registers())
        fours_at_a_time = len(plan.noisy) if plan.noisy.any() else 1
    else:
        from asim_lightning.engine.packed.conversion import kernel

        operands, fours_at_a_time = (plan.first_step, plan.by_input if by_input else plan.by_weight), 1
    room = aligned((threads, block_room(fours_at_a_time))).view(np.int32)
    reads = np.empty((threads, plan.most_votes * LANES), np.int32)
    return _Conversion(kernel(), (*operands, *codes, *places, VOTE_RULES[rule]), (room, reads))


def _places(
    product: Product, inputs: layout.Operand, outputs: int, noise: Noise, by_input: bool
) -> tuple[np.ndarray, ...]:
    """Places of lanes, filled up to a multiple of 16, of singles and problems, and the noise's key."""
    places = layout.places(product, inputs, outputs, noise)
    lanes, singles = (places.inputs, places.outputs) if by_input else (places.outputs, places.inputs)
    padded = np.zeros((2, -(-lanes.shape[1] // LANES) * LANES), np.uint32)
    padded[:, : lanes.shape[1]] = lanes
    key = np.array([noise.seed, layer_key(noise.name, noise.call), noise.trial << 16 & 0xFFFFFFFF], np.uint32)
    return padded, singles, places.problems, key


def _convert(
    transfer: Transfer,
    conversion: _Conversion,
    rows: layout.Rows,
    singles: np.ndarray,
    lanes: PackedOperand | tuple[np.ndarray, np.ndarray],
    shape: tuple[int, int, int],
) -> Tensor:
    """Outputs in counts, float64, of lanes that are arranged, or that are arranged in pieces where they are many.
    # (problems, singles, lanes)
    """
    groups, blocks = -(-shape[2] // LANES), -(-shape[1] // _BLOCK)
    out, units = np.empty((shape[0], shape[1], groups * LANES)), shape[0] * groups
    scale = np.array([transfer.macro.rows, (transfer.macro.top_code or 1) * transfer.most_votes], np.float64)
    digital = packed_schedule(transfer).digital
    rooms = (*conversion.rooms, np.zeros((torch.get_num_threads(), 2, _BLOCK * LANES)))
    fewest = few(_BLOCK * len(transfer.cycles) * singles.shape[1] * _NANOSECONDS_A_CONVERSION)
    if isinstance(lanes, PackedOperand) and lanes.units * lanes.unit_bytes <= len(rooms[0]) * _LANE_BYTES:
        lanes = lanes.all_in_lanes()
    if isinstance(lanes, tuple):
        arguments = (
            singles, *lanes, 0, rows.words, *conversion.tables, scale, *(PerThread(room) for room in rooms), digital,
            out,
        )  # fmt: skip
        spread_kernel(conversion.kernel, arguments, units * blocks, fewest)
        return torch.from_numpy(out)[:, :, : shape[2]]
    step = max(1, _LANE_BYTES // lanes.unit_bytes)
    free = list(zip(*rooms, strict=True))

    def work(low: int, high: int) -> None:
        room, own = free.pop(), lanes.room(min(step, units))
        for first in range(low // blocks, -(-high // blocks), step):
            after = min(first + step, -(-high // blocks))
            operands = (singles, *lanes.in_lanes(first, after, own), first, rows.words)
            bounds = max(low, first * blocks), min(high, after * blocks)
            conversion.kernel(*operands, *conversion.tables, scale, *room, digital, out, *bounds)

    spread(work, units * blocks, fewest)
    return torch.from_numpy(out)[:, :, : shape[2]]
