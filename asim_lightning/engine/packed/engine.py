"""The packed engine: every conversion on a CPU, counted by popcount of bit planes in 32-bit words, look-ups or AMX.

Counts are ones of ``input plane & weight plane`` (`conversion`), or sums of products of digits, looked up
(`conversion_look_ups`) or multiplied (`conversion_amx`); `counting` says which. Noise, ADC and shift-add follow for
blocks of 16 singles by 16 lanes (`block`). Lanes are output pixels (rows of a
matrix) or output channels, whichever fills them better, and singles are the others.
"""

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
from asim_lightning.engine.packed.counting import Counting, counting
from asim_lightning.engine.packed.kernels import Kernel, kernel_of
from asim_lightning.engine.packed.operand import Lanes, few, packed
from asim_lightning.engine.packed.schedule import applies, packed_schedule
from asim_lightning.engine.per_thread import PerThread
from asim_lightning.engine.product import Product
from asim_lightning.engine.remembered import remembered
from asim_lightning.engine.threads import spread_kernel

__all__ = ["applies", "run"]

_BYTES = 2**26
"""Bytes in use at a time, where more than one sample is: 64 MB."""
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
    how, rows, step = _plan(product, transfer, x.shape, w.shape)
    parts = []
    for low in range(0, len(x), step):
        part, weight = x[low : low + step], w[low : low + step] if product.batched_weight else w
        parts.append(_run(product, transfer, how, rows, part, weight, noise.rows(low, low + step)))
    return torch.cat(parts) if len(parts) != 1 else parts[0]


@lru_cache(maxsize=512)
def _plan(
    product: Product, transfer: Transfer, x_shape: torch.Size, w_shape: torch.Size
) -> tuple[Counting, layout.Rows, int]:
    """How conversions are counted, the rows of all tiles, and samples at a time."""
    shape = w_shape[1:] if product.batched_weight else w_shape
    x, w = torch.empty(x_shape, device="meta"), torch.empty(shape, device="meta")
    how = counting(product, transfer, x, w)
    rows = layout.rows_of(product, shape, transfer.macro.rows, how.inputs.width)
    return how, rows, max(1, _BYTES // _bytes_a_sample(product, rows, how, x, w))


def _bytes_a_sample(product: Product, rows: layout.Rows, how: Counting, x: Tensor, w: Tensor) -> int:
    """Bytes of a sample's integers, packed planes, planes that are arranged at once and outputs; what threads have of
    their own comes on top."""
    positions, integers, planes = product.positions(x, w), x.shape[1:].numel(), how.inputs
    lanes = positions // layout.weight_lanes(product, w)  # of all problems
    words = integers // max(1, int(rows.chunks[:, 1].max())) + 1
    arranged = 0 if how.arranges_inputs else lanes * len(rows.words) * planes.whole(int(rows.words.max()))
    return 4 * integers + 4 * len(planes.digits) * (words + arranged) + 16 * positions


def _run(
    product: Product, transfer: Transfer, how: Counting, rows: layout.Rows, x: Tensor, w: Tensor, noise: Noise
) -> Tensor:
    macro = transfer.macro
    inputs, outputs, by_input = layout.inputs(product, x, w), layout.weight_lanes(product, w), how.by_input
    packed_inputs = packed(inputs, rows, how.inputs)

    def weights() -> Any:
        operand = packed(layout.weights(product, w), rows, how.weights)
        if how.look_ups is not None:
            from asim_lightning.engine.packed.nibbles import nibbles  # Numba takes half a second to import

            return nibbles(operand)
        if by_input:
            return operand.one_by_one()
        return operand.lanes_in_turn() if product.batched_weight else operand.all_in_lanes()

    key = ("packed", product, macro.rows, how.weights, how.look_ups is None, by_input)
    packed_weights = weights() if product.batched_weight else remembered(w, key, weights)
    places = _places(product, inputs, outputs, noise, by_input)
    shape = (inputs.problems, outputs, inputs.lanes) if by_input else (inputs.problems, inputs.lanes, outputs)
    if not inputs.problems:
        total = torch.zeros(shape, dtype=torch.float64)
        return layout.in_shape(product, x, w, total if by_input else total.transpose(1, 2))
    ones = None
    if how.look_ups is not None:
        singles, ones = packed_weights
    else:
        singles = packed_weights if by_input else packed_inputs.one_by_one()
    lanes = packed_inputs.lanes_in_turn() if how.arranges_inputs else packed_weights
    kernel = kernel_of(how, transfer, places, packed_inputs, ones)
    total = _convert(transfer, kernel, rows, singles, lanes, shape)
    return layout.in_shape(product, x, w, total if by_input else total.transpose(1, 2))


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
    kernel: Kernel,
    rows: layout.Rows,
    singles: np.ndarray,
    lanes: Lanes,
    shape: tuple[int, int, int],
) -> Tensor:
    """Outputs in counts, float64. # (problems, singles, lanes)"""
    out = np.empty((shape[0], shape[1], -(-shape[2] // LANES) * LANES))
    scale = np.array([transfer.macro.rows, (transfer.macro.top_code or 1) * transfer.most_votes], np.float64)
    works = lanes.units * kernel.parts
    conversions = out.size * len(rows.words) * len(transfer.cycles)
    fewest = few(conversions / LANES / works * _NANOSECONDS_A_CONVERSION)
    rooms, digital = (PerThread(room) for room in kernel.rooms), packed_schedule(transfer).digital
    arguments = singles, *lanes.arguments, rows.words, *kernel.tables, scale, *rooms, digital, out
    spread_kernel(kernel.function, arguments, works, fewest)
    return torch.from_numpy(out)[:, :, : shape[2]]
