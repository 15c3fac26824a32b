"""The packed engine: every conversion on a CPU, counted by popcount of bit planes in 32-bit words.

Counts are ones of ``input plane & weight plane``; noise, ADC and shift-add follow in registers, 16 outputs at a time
(`conversion`). The 16 lanes are output pixels (rows of a matrix) or output channels, whichever fills them better.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer
from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.packed import layout
from asim_lightning.engine.packed.schedule import VOTE_RULES, PackedSchedule, applies, packed_schedule
from asim_lightning.engine.product import Product
from asim_lightning.engine.remembered import remembered
from asim_lightning.engine.threads import spread

__all__ = ["applies", "run"]

_BYTES = 2**26
"""Bytes in use at a time, where more than one sample is: 64 MB."""
_BLOCK = 16


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
    rows = layout.rows_of(product, shape, transfer.macro.rows)
    step = max(1, _BYTES // _bytes_a_sample(product, rows, transfer.macro.input_bits, x, w))
    parts = []
    for low in range(0, len(x), step):
        part, weight = x[low : low + step], w[low : low + step] if product.batched_weight else w
        parts.append(_run(product, transfer, rows, part, weight, noise.rows(low, low + step)))
    return torch.cat(parts) if len(parts) != 1 else parts[0]


def _bytes_a_sample(product: Product, rows: layout.Rows, planes: int, x: Tensor, w: Tensor) -> int:
    """Bytes of a sample's integers, packed planes and arranged planes, and of its sums in their types."""
    one = w[0] if product.batched_weight else w
    positions, integers = product.positions(x, one), x[0].numel()
    lanes = positions // layout.weight_lanes(product, one)  # of all problems
    words = integers // max(1, int(rows.chunks[:, 1].max())) + 1
    return 4 * integers + 4 * planes * (words + lanes * len(rows.words) * int(rows.words.max())) + 24 * positions


def _run(product: Product, transfer: Transfer, rows: layout.Rows, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
    macro, plan = transfer.macro, packed_schedule(transfer)
    inputs, outputs = layout.inputs(product, x, w), layout.weight_lanes(product, w)
    places = layout.places(product, inputs, outputs, noise)
    by_input = _filling(inputs.lanes) >= _filling(outputs)
    packed_inputs = _arranged(inputs, rows, macro.input_bits, by_input)
    packed_weights = _arranged_weights(product, rows, macro, not by_input, w)
    if by_input:
        codes, counts = _convert(transfer, plan, rows, packed_weights, packed_inputs, places, noise, plan.by_input)
    else:
        swapped = layout.Places(places.outputs, places.inputs, places.problems)
        codes, counts = _convert(transfer, plan, rows, packed_inputs, packed_weights, swapped, noise, plan.by_weight)
    total = codes.double().mul_(macro.rows).div_((macro.top_code or 1) * transfer.most_votes)
    if plan.digital:
        total += counts
    return layout.in_shape(product, x, w, total if by_input else total.transpose(1, 2))


def _filling(lanes: int) -> float:
    """Share of the lanes in use."""
    return lanes / (-(-lanes // LANES) * LANES)


def _arranged(operand: layout.Operand, rows: layout.Rows, planes: int, in_lanes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Bit planes of an operand: in lanes # (problems, tiles, groups, planes, words, 16), else one by one
    # (problems, tiles, lanes, planes, words); and whether any lane of a plane has a 1."""
    from asim_lightning.engine.packed.planes import kernels  # Numba takes half a second to import

    pack, arrange = kernels()
    integers, chunks = operand.integers.numpy(), len(rows.chunks)
    sources, _, pixels = integers.shape
    words = np.empty((sources, chunks, planes, pixels), np.uint32)
    spread(lambda low, high: pack(integers, rows.chunks, planes, words, low, high), sources * chunks, _few(pixels))
    size = chunks * planes * pixels
    base = operand.sources * size + operand.pixels
    base = np.concatenate([base, np.full(-len(base) % LANES, base[-1])])
    parts = np.empty((len(rows.parts), 6), np.int64)
    parts[:, 0], parts[:, 1] = rows.parts[:, 0] * (planes * pixels), pixels
    parts[:, 2], parts[:, 3:] = operand.elements[rows.parts[:, 1]], rows.parts[:, 2:]
    shape = (operand.problems, len(rows.words), len(base) // LANES, planes)
    out = np.empty((*shape, int(rows.words.max()), LANES), np.uint32)
    filled = np.empty(shape, np.uint8)
    spread(
        lambda low, high: arrange(words.reshape(-1), size, base, parts, rows.first_part, out, filled, low, high),
        shape[0] * shape[2],
        _few(len(parts) * planes),
    )
    if in_lanes:
        return out, filled
    single = np.zeros((*shape[:2], shape[2] * LANES, planes + 1, out.shape[4]), np.uint32)
    single[:, :, :, :planes] = out.transpose(0, 1, 2, 5, 3, 4).reshape(*shape[:2], -1, planes, out.shape[4])
    return np.ascontiguousarray(single[:, :, : operand.lanes]), filled


def _few(work: int) -> int:
    """Fewest units worth a thread, where a unit is so much work."""
    return max(1, 4096 // max(work, 1))


def _arranged_weights(
    product: Product, rows: layout.Rows, macro: MacroConfig, in_lanes: bool, w: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    def arranged() -> tuple[np.ndarray, np.ndarray]:
        return _arranged(layout.weights(product, w), rows, macro.weight_bits, in_lanes)

    if product.batched_weight:
        return arranged()
    return remembered(w, ("packed", product, macro.rows, macro.weight_bits, in_lanes), arranged)


def _convert(
    transfer: Transfer,
    plan: PackedSchedule,
    rows: layout.Rows,
    single: Any,
    lanes: Any,
    places: Any,
    noise: Noise,
    steps: np.ndarray,
) -> tuple[Tensor, Tensor]:
    """Sums of codes, and of digital counts (empty where no cycle is digital), int64. # (problems, singles, lanes)"""
    from asim_lightning.engine.packed.conversion import kernel  # Numba takes half a second to import

    singles, groups = single[0], lanes[0].shape[2]
    shape = (singles.shape[0], singles.shape[2], groups * LANES)
    codes = np.empty(shape, np.int64)
    counts = np.empty(shape if plan.digital else (0, 0, 0), np.int64)
    key = np.array([noise.seed, layer_key(noise.name, noise.call), noise.trial << 16 & 0xFFFFFFFF], np.uint32)
    blocks = -(-shape[1] // _BLOCK)
    used = places.inputs.shape[1]
    padded = np.zeros((2, shape[2]), np.uint32)
    padded[:, :used] = places.inputs
    most_votes = max(c.votes for c in transfer.cycles)
    convert, rule = kernel(), VOTE_RULES[transfer.macro.vote]

    def work(low: int, high: int) -> None:
        reads = np.empty(most_votes * LANES, np.int32)
        convert(
            singles, *lanes, rows.words, plan.first_step, steps, plan.kinds, plan.numbers, plan.levels, plan.sigmas,
            plan.noisy, len(transfer.cycles),
            padded, places.outputs, places.problems, key, rule, _BLOCK, reads, codes, counts, low, high,
        )  # fmt: skip

    spread(work, shape[0] * groups * blocks, _few(len(transfer.cycles) * len(rows.words)))
    return torch.from_numpy(codes)[:, :, :used], torch.from_numpy(counts)[:, :, :used]
