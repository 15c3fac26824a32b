"""Sums of digits over the rows of each tile, and sums over digits of tabulated functions of these sums."""

from collections.abc import Sequence
from ctypes import c_float, c_int32, c_int64
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.integer import digits
from asim_lightning.engine.native import passes
from asim_lightning.engine.product import Product, Tile

Bits = tuple[int, ...]
"""Consecutive bit numbers, ascending."""
_MANY = 2**14
"""Table entries that occupy a thread much longer than it takes to wake it."""


def weight_digit_sums(
    product: Product, tiles: Sequence[Tile], w: Tensor, groups: Sequence[tuple[Bits, bool]]
) -> Tensor:
    """Sum of each digit of a tile's weights, for every output.

    `groups` has the bits of each digit, and whether the digit's last bit counts negatively.

    # (*weight) to (outputs, tiles, digits), or (batch, ..., n, tiles, digits), float32
    """
    found = product.geometry(None, w)
    flat = w.flatten(1) if product.is_image else w
    return _range_sums(flat, _ranges(tiles, found.elements), groups)


def input_digit_sums(
    product: Product, tiles: Sequence[Tile], x: Tensor, w: Tensor, groups: Sequence[tuple[Bits, bool]]
) -> Tensor:
    """Sum of each digit of the inputs on a tile's rows, at every output position; of w only the shape matters.

    # (batch, *inputs) to (batch, groups of channels, tiles, digits, out height * out width), or (batch, ..., m, tiles,
    digits), float32
    """
    if not product.is_image:
        return _range_sums(x, _ranges(tiles, 1), groups)
    found, batch = product.geometry(x, w), x.shape[0]
    firsts = range(0, found.groups * found.channels, found.channels)
    channels = [(first + tile.channels.start, first + tile.channels.stop) for first in firsts for tile in tiles]
    planes = _channel_sums(x.flatten(2), channels, groups)  # (batch, groups * tiles, digits, height * width)
    kernel = torch.zeros(len(tiles), found.elements, dtype=planes.dtype, device=x.device)
    for mask, tile in zip(kernel, tiles, strict=True):
        mask[tile.kernel] = 1
    window = kernel.repeat(found.groups, 1).repeat_interleave(len(groups), 0).view(-1, 1, *found.kernel)
    stacked = planes.view(batch, -1, *found.size)
    sums = F.conv2d(stacked, window, None, found.stride, found.padding, found.dilation, stacked.shape[1])
    return sums.view(batch, found.groups, len(tiles), len(groups), -1)


def _ranges(tiles: Sequence[Tile], elements: int) -> list[tuple[int, int]]:
    """Range of elements of each tile in a flattened kernel: first, and one past the last."""
    return [
        (tile.channels.start * elements + tile.kernel.start, (tile.channels.stop - 1) * elements + tile.kernel.stop)
        for tile in tiles
    ]


def _range_sums(x: Tensor, ranges: list[tuple[int, int]], groups: Sequence[tuple[Bits, bool]]) -> Tensor:
    """Digit sums over ranges of the last dimension. # (..., k) to (..., ranges, digits)"""
    sums = _channel_sums(x.reshape(-1, x.shape[-1], 1), ranges, groups)
    return sums.view(*x.shape[:-1], len(ranges), len(groups))


def _channel_sums(x: Tensor, channels: list[tuple[int, int]], groups: Sequence[tuple[Bits, bool]]) -> Tensor:
    """Digit sums over ranges of channels. # (batch, channels, pixels) to (batch, ranges, digits, pixels)"""
    if x.dtype == torch.float32 and passes.is_there(x):
        count = len(groups)
        out = torch.empty(len(x), len(channels), count, x.shape[2], dtype=torch.float32, device="cpu")
        edges = (c_int64 * (2 * len(channels)))(*chain(*channels))
        shifts = (c_int32 * count)(*(bits[0] for bits, _ in groups))
        # if its last bit counts negatively, a digit keeps all bits of the two's complement above
        masks = (c_int32 * count)(*(-1 if signed else 2 ** len(bits) - 1 for bits, signed in groups))
        sizes = *x.shape, len(channels), count, passes.threads_for(len(x), 1)
        passes.call("asim_digit_sums", "DigitSums", x.contiguous(), out, edges, shifts, masks, *sizes)
        return out
    integers = x.to(torch.int32)
    planes = [digits(integers, *group) for group in groups]
    sums = [torch.stack([plane[:, low:high].sum(1) for plane in planes], 1) for low, high in channels]
    return torch.stack(sums, 1).to(torch.float32)


@dataclass(frozen=True, eq=False)
class Table:
    """Several functions of an integer, tabulated from `low` on."""

    low: int
    values: Tensor
    """float32. # (numbers, functions)"""

    @classmethod
    def interpolated(cls, nodes: Tensor, values: Tensor) -> "Table":
        """The table at all integers between the nodes.

        Args:
            nodes: Integers, ascending, float64. # (nodes,)
            values: Values at the nodes. # (nodes, functions)
        """
        x = np.arange(int(nodes[0]), int(nodes[-1]) + 1, dtype=np.float64)
        lines = [np.interp(x, nodes.numpy(), line.numpy()) for line in values.T]
        return cls(int(nodes[0]), torch.from_numpy(np.stack(lines, 1).astype(np.float32)))


def table_sums(sums: Tensor, table: Table, factors: Sequence[float]) -> Tensor:
    """``out[row, position, tile, term] = sum over digits of factor * table[sums[row, tile, digit, position], term]``.

    Args:
        sums: Integers within the table, float32. # (rows, tiles, digits, positions)

    Returns:
        float32. # (rows, positions, tiles, functions)
    """
    if not passes.is_there(sums):
        values = table.values.to(sums.device)[sums.long() - table.low]  # (rows, tiles, digits, positions, functions)
        of_digits = torch.tensor(list(factors), dtype=torch.float32, device=sums.device)
        return torch.einsum("rtdpf,d->rptf", values, of_digits)
    rows, tiles, digits, positions = sums.shape
    functions = table.values.shape[1]
    out = torch.empty(rows, positions, tiles, functions, dtype=torch.float32, device="cpu")
    weights = (c_float * digits)(*factors)
    addressed = sums.contiguous(), table.values.contiguous(), weights, out
    threads = passes.threads_for(sums.numel(), _MANY)
    passes.call("asim_table_sums", "TableSums", *addressed, *sums.shape, functions, -table.low, threads)
    return out
