"""Memory layout of the fused engine's operands: one byte a digit, a tile's rows together, no im2col.

A tile's rows are ordered (kernel element, channel), with channels last in the input too, so that a tensor core's
operand is read in runs of channels straight into shared memory. Digits are split once, here: split in the kernel, every
cycle would shift, mask and pack each of them anew, some ten operations a conversion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine.product import Geometry, Product

Digits = Sequence[tuple[int, ...]]
"""Bits of each digit."""
SHORTEST_DEPTH = 32
"""Rows that one int8 tensor core instruction takes."""


@dataclass(frozen=True)
class Operands:
    """Digits of both operands and their layout; the input's strides are in units of `channels` digits."""

    x: Tensor
    """Input digits, int8. # (input groups, batch, ...)"""
    w: Tensor
    """Weight bits, int8. # (weight bits, groups * outputs, tiles, depth)"""
    shape: tuple[int, ...]
    """Shape of the output. # (batch, *outputs)"""
    channels: int
    """Channels of a tile, padded."""
    taps: int
    """Kernel elements."""
    kernel_width: int
    depth: int
    """Rows of a tile, padded: a multiple of `block_depth`."""
    block_depth: int
    tiles: int
    tiles_a_channel: int
    """More than 1 where a kernel has more elements than a tile has rows."""
    taps_a_tile: int
    groups: int
    """Products that share no operand, over the whole batch where both operands have it."""
    inner_groups: int
    """Such products of one row of the batch."""
    pixels: int
    """Output pixels, or rows of x, of one product."""
    row_pixels: int
    """Those of one row of the batch."""
    out_width: int
    outputs: int
    """Output channels of one product."""
    x_row: int
    x_group: int
    x_down: int
    x_right: int
    tap_down: int
    tap_right: int
    out_group: int
    out_pixel: int
    out_channel: int


def operands(product: Product, macro: MacroConfig, groups: Digits, x: Tensor, w: Tensor) -> Operands:
    """The operands of a product.

    Args:
        product: A convolution or a matrix product.
        macro: The macro.
        groups: Input bits of each input digit.
        x: Integers, int32. # (batch, *inputs)
        w: Integers, int32. # (*weight), or (batch, *weight) where the product says so
    """
    bits, found = [(bit,) for bit in range(macro.weight_bits)], product.geometry(x, w)
    if product.is_image:
        return _convolution(found, macro.rows, groups, bits, x, w)
    return _matmul(found, product.batched_weight, macro.rows, groups, bits, x, w)


def _matmul(
    found: Geometry, is_batched: bool, rows: int, groups: Digits, bits: Digits, x: Tensor, w: Tensor
) -> Operands:
    terms, outputs, batch, inner, row_pixels = found.channels, found.outputs, x.shape[0], found.groups, found.windows
    tiles, step = -(-terms // rows), min(rows, terms)
    block_depth, depth = _depth(step)
    return Operands(
        x=_planes(_slots(x, step, depth), groups),
        w=_planes(_slots(w, step, depth), bits),
        shape=(*x.shape[:-1], outputs),
        channels=depth,
        taps=1,
        kernel_width=1,
        depth=depth,
        block_depth=block_depth,
        tiles=tiles,
        tiles_a_channel=1,
        taps_a_tile=1,
        groups=batch * inner if is_batched else 1,
        inner_groups=inner,
        pixels=row_pixels if is_batched else batch * row_pixels,
        row_pixels=row_pixels,
        out_width=row_pixels,
        outputs=outputs,
        x_row=inner * row_pixels * tiles,
        x_group=row_pixels * tiles,
        x_down=0,
        x_right=tiles,
        tap_down=0,
        tap_right=0,
        out_group=row_pixels * outputs,
        out_pixel=outputs,
        out_channel=1,
    )


def _convolution(found: Geometry, rows: int, groups: Digits, bits: Digits, x: Tensor, w: Tensor) -> Operands:
    terms, taps, count = found.channels, found.elements, found.groups
    split = -(-taps // rows)  # tiles of one channel
    step = 1 if split > 1 else min(rows // taps, terms)
    block_depth, depth = _depth(step * taps if split == 1 else rows)
    channels = depth if taps == 1 else _run_length(step)
    if split == 1:
        block_depth, depth = _depth(channels * taps)

    (down, right), (pad_y, pad_x) = found.stride, found.padding
    x = F.pad(x, [pad_x, pad_x, pad_y, pad_y]).unflatten(1, (count, terms))
    x = _slots(x.permute(0, 3, 4, 1, 2), step, channels)  # (batch, height, width, groups, slots * channels)
    slots = x.shape[-1] // channels
    wide = x.shape[2] * count * slots  # one line of the image
    out_height, out_width = found.output_size

    w = w.flatten(2)  # (outputs, channels, kernel elements)
    if split > 1:
        w = _padded(w, split * rows).unflatten(2, (split, rows)).flatten(1, 2)  # (outputs, tiles, rows)
    else:
        w = _slots(w.transpose(1, 2), step, channels).unflatten(2, (slots, channels))
        w = w.transpose(1, 2).flatten(2)  # (outputs, tiles, kernel elements * channels)
    area = out_height * out_width
    return Operands(
        x=_planes(x, groups),
        w=_planes(_padded(w, depth), bits),
        shape=(x.shape[0], count * found.outputs, out_height, out_width),
        channels=channels,
        taps=taps,
        kernel_width=found.kernel[1],
        depth=depth,
        block_depth=block_depth,
        tiles=w.shape[1],
        tiles_a_channel=split,
        taps_a_tile=rows if split > 1 else taps,
        groups=count,
        inner_groups=count,
        pixels=x.shape[0] * area,
        row_pixels=area,
        out_width=out_width,
        outputs=found.outputs,
        x_row=x.shape[1] * wide,
        x_group=slots,
        x_down=down * wide,
        x_right=right * count * slots,
        tap_down=found.dilation[0] * wide,
        tap_right=found.dilation[1] * count * slots,
        out_group=found.outputs * area,
        out_pixel=1,
        out_channel=area,
    )


def _depth(rows: int) -> tuple[int, int]:
    """Rows of one step of the kernel's product, and of a padded tile."""
    block = SHORTEST_DEPTH if rows <= SHORTEST_DEPTH else 2 * SHORTEST_DEPTH
    return block, -(-rows // block) * block


def _run_length(channels: int) -> int:
    """Padded channels of a tile: runs that one load of up to 16 bytes takes."""
    return -(-channels // 16) * 16 if channels > 8 else 1 << (channels - 1).bit_length()


def _padded(x: Tensor, size: int) -> Tensor:
    """Zeros appended to the last dimension."""
    return F.pad(x, [0, size - x.shape[-1]])


def _slots(x: Tensor, step: int, size: int) -> Tensor:
    """The last dimension in pieces of `step`, each padded to `size`."""
    pieces = -(-x.shape[-1] // step)
    return _padded(_padded(x, pieces * step).unflatten(-1, (pieces, step)), size).flatten(-2)


def _planes(integers: Tensor, digits: Digits) -> Tensor:
    """The digits of integers, int8. # (digits, *integers)"""
    planes = torch.empty(len(digits), *integers.shape, dtype=torch.int8, device=integers.device)
    for plane, bits in zip(planes, digits, strict=True):
        plane.copy_((integers >> bits[0]) & (2 ** len(bits) - 1))
    return planes
