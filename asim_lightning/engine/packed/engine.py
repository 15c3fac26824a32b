"""The packed engine: every conversion on a CPU, counted by popcount of bit planes in 32-bit words.

Counts are ones of ``input plane & weight plane``; noise, ADC and shift-add follow in registers, 16 outputs at a time
(`conversion`). The 16 lanes are output pixels (rows of a matrix) or output channels, whichever fills them better.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.packed import layout
from asim_lightning.engine.packed.operand import few, packed
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
    packed_inputs = packed(inputs, rows, macro.input_bits)

    def weights() -> Any:
        operand = packed(layout.weights(product, w), rows, macro.weight_bits)
        return operand.one_by_one() if by_input else operand.all_in_lanes()

    key = ("packed", product, macro.rows, macro.weight_bits, by_input)
    packed_weights = weights() if product.batched_weight else remembered(w, key, weights)
    if by_input:
        step = max(1, _LANE_BYTES // packed_inputs.unit_bytes)
        lanes = _Lanes(packed_inputs.in_lanes, packed_inputs.units, packed_inputs.groups, step)
        codes, counts = _convert(transfer, plan, rows, packed_weights, lanes, places, noise, plan.by_input)
    else:
        words, filled = packed_weights
        units, swapped = len(words), layout.Places(places.outputs, places.inputs, places.problems)
        lanes = _Lanes(
            lambda low, high: (words[low:high], filled[low:high]), units, units // packed_inputs.problems, units
        )
        codes, counts = _convert(
            transfer, plan, rows, packed_inputs.one_by_one(), lanes, swapped, noise, plan.by_weight
        )
    total = codes.double().mul_(macro.rows).div_((macro.top_code or 1) * transfer.most_votes)
    if plan.digital:
        total += counts
    return layout.in_shape(product, x, w, total if by_input else total.transpose(1, 2))


@dataclass(frozen=True)
class _Lanes:
    """The operand that differs from lane to lane, in units of 16 lanes.

    Attributes:
        of: Words of units low..high-1, and whether a plane has a 1.
        units: Units of all problems.
        groups: Units of a problem.
        step: Units at a time.
    """

    of: Callable[[int, int], tuple[np.ndarray, np.ndarray]]
    units: int
    groups: int
    step: int


def _filling(lanes: int) -> float:
    """Share of the lanes in use."""
    return lanes / (-(-lanes // LANES) * LANES)


def _convert(
    transfer: Transfer,
    plan: PackedSchedule,
    rows: layout.Rows,
    singles: np.ndarray,
    lanes: _Lanes,
    places: layout.Places,
    noise: Noise,
    steps: np.ndarray,
) -> tuple[Tensor, Tensor]:
    """Sums of codes, and of digital counts (empty where no cycle is digital), int64. # (problems, singles, lanes)"""
    from asim_lightning.engine.packed.conversion import kernel  # Numba takes half a second to import

    shape = (singles.shape[0], singles.shape[2], lanes.groups * LANES)
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
        for first in range(low // blocks, -(-high // blocks), lanes.step):
            after = min(first + lanes.step, -(-high // blocks))
            convert(
                singles, *lanes.of(first, after), first, rows.words, plan.first_step, steps, plan.kinds, plan.numbers,
                plan.levels, plan.sigmas, plan.noisy, plan.quiet, len(transfer.cycles),
                padded, places.outputs, places.problems, key, rule, _BLOCK, reads, codes, counts,
                max(low, first * blocks), min(high, after * blocks),
            )  # fmt: skip

    spread(work, lanes.units * blocks, few(len(transfer.cycles) * len(rows.words)))
    return torch.from_numpy(codes)[:, :, :used], torch.from_numpy(counts)[:, :, :used]
