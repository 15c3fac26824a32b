"""Memory layout of the fused engine's operands: one byte a digit, a tile's rows together, no im2col.

A tile's rows are ordered (kernel element, channel). The input has channels last, too, so that runs of channels go
straight into shared memory as operands of tensor cores. Digits are split once, here. In the kernel every cycle would
shift, mask and pack each digit anew, about ten operations a conversion.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine.fused.tables import Tables
from asim_lightning.engine.product import Geometry, Product

SHORTEST_DEPTH = 32
"""Rows of one int8 tensor core instruction."""


class Form(NamedTuple):
    """Shapes that the kernel is compiled for."""

    CHANNELS: int
    """Channels of a tile, padded."""
    TAPS: int
    """Kernel elements."""
    KERNEL_WIDTH: int
    DEPTH: int
    """Rows of a tile, padded: a multiple of `BLOCK_K`."""
    TILES_A_CHANNEL: int
    """More than 1 if a kernel has more elements than a tile has rows."""
    TAPS_A_TILE: int
    BLOCK_K: int
    SHARED: bool
    """Whether four cycles that are converted together have the same input digit."""
    BLOCK_M: int
    BLOCK_N: int


class Numbers(NamedTuple):
    """Numbers of a product, whatever its batch; steps in the input are in units of `CHANNELS` digits.

    Triton compiles anew if a number becomes 1 or a multiple of 16, or ceases to be so.
    """

    w_plane: int
    """Steps of `DEPTH` digits from one weight bit to the next."""
    x_row: int
    x_group: int
    x_down: int
    x_right: int
    tap_down: int
    tap_right: int
    inner_groups: int
    """Products within one row of the batch that share no operand."""
    row_pixels: int
    """Output pixels, or rows of x, of one product in a row of the batch."""
    out_width: int
    outputs: int
    """Output channels of one product."""
    positions: int
    """Outputs of a row of the batch."""
    out_group: int
    out_pixel: int
    out_channel: int
    tiles: int


class Operands(NamedTuple):
    """Digits of both operands and their layout."""

    x: Tensor
    """Input digits, int8. # (input groups, batch, ...)"""
    w: Tensor
    """Weight bits, int8. # (weight bits, ..., tiles, depth)"""
    shape: tuple[int, ...]
    """Shape of the output. # (batch, *outputs)"""
    groups: int
    """Products that share no operand, over the whole batch if both operands have the batch dimension."""
    pixels: int
    """Output pixels, or rows of x, of one product."""
    form: Form
    numbers: Numbers


def operands(product: Product, macro: MacroConfig, tables: Tables, x: Tensor, w: Tensor) -> Operands:
    """The operands of a product.

    Args:
        x: Integers, int32. # (batch, *inputs)
        w: Integers, int32. # (*weight), or (batch, *weight) if the product says so
    """
    found, batch = product.geometry(x, w), len(x)
    if product.is_image:
        shape, out_steps = (batch, *found.columns, *found.output_size), (1, found.windows)
        x, w, sizes, steps = _convolution(found, macro.rows, x, w)
    else:
        shape, out_steps = (*x.shape[:-1], found.outputs), (found.outputs, 1)
        x, w, sizes, steps = _matmul(found, macro.rows, x, w)
    groups, pixels = found.groups, batch * found.windows
    if product.batched_weight:
        groups, pixels = batch * found.groups, found.windows
    depth, tiles = w.shape[-1], w.shape[-2]
    numbers = Numbers(
        w.numel() // depth, *steps, found.groups, found.windows, found.output_size[1], found.outputs,
        found.positions, found.outputs * found.windows, *out_steps, tiles,
    )  # fmt: skip
    form = Form(*sizes, tables.shared, *blocks(pixels, tables.form.VOTE))
    bits = [(bit,) for bit in range(macro.weight_bits)]
    return Operands(_planes(x, tables.groups), _planes(w, bits), shape, groups, pixels, form, numbers)


def blocks(pixels: int, vote: str) -> tuple[int, int]:
    """Pixels and channels of a block.

    One Philox call serves four conversions, so an output has four counts in registers at a time. With 8 outputs a
    thread, counts and noise fit in 168 registers (sm_80), and 3 blocks share a processor. Electing a code needs more
    registers, hence 4 outputs, in 32 channels: Triton 3.4 multiplies at least 16. Four weight bits share one input
    digit, so blocks that are long in pixels read the fewest operands. Triton puts its warps along the longer side; each
    warp needs 16 pixels or 8 channels, or it repeats another warp's work.
    """
    if vote in ("mode", "median"):
        return 16, 32
    return (64, 16) if pixels > 32 else (16, 64)


_Arranged = tuple[Tensor, Tensor, tuple[int, int, int, int, int, int, int], tuple[int, int, int, int, int, int]]
"""Integers of x and w in the kernel's order, the first sizes of a `Form`, and the steps `x_row` to `tap_right`."""


def _matmul(found: Geometry, rows: int, x: Tensor, w: Tensor) -> _Arranged:
    """Each row of x is a pixel, below the previous one."""
    step, tiles = min(rows, found.channels), -(-found.channels // rows)
    block, depth = _depth(step)
    steps = found.groups * found.windows * tiles, found.windows * tiles, tiles, 0, 0, 0
    w = _slots(w, step, depth).unflatten(-1, (tiles, depth))
    return _slots(x, step, depth), w, (depth, 1, 1, depth, 1, 1, block), steps


def _convolution(found: Geometry, rows: int, x: Tensor, w: Tensor) -> _Arranged:
    terms, taps, count = found.channels, found.elements, found.groups
    split = -(-taps // rows)  # tiles of one channel
    step = 1 if split > 1 else min(rows // taps, terms)
    block, depth = _depth(step * taps if split == 1 else rows)
    channels = depth if taps == 1 else _run_length(step)
    if split == 1:
        block, depth = _depth(channels * taps)

    (down, right), (pad_y, pad_x) = found.stride, found.padding
    x = F.pad(x, [pad_x, pad_x, pad_y, pad_y]).unflatten(1, (count, terms))
    x = _slots(x.permute(0, 3, 4, 1, 2), step, channels)  # (batch, height, width, groups, slots * channels)
    slots = x.shape[-1] // channels
    wide = x.shape[2] * count * slots  # one line of the image

    w = w.flatten(2)  # (outputs, channels, kernel elements)
    if split > 1:
        w = _padded(w, split * rows).unflatten(2, (split, rows)).flatten(1, 2)  # (outputs, tiles, rows)
    else:
        w = _slots(w.transpose(1, 2), step, channels).unflatten(2, (slots, channels))
        w = w.transpose(1, 2).flatten(2)  # (outputs, tiles, kernel elements * channels)
    sizes = channels, taps, found.kernel[1], depth, split, rows if split > 1 else taps, block
    pixel = count * slots
    steps = (
        x.shape[1] * wide, slots, down * wide, right * pixel, found.dilation[0] * wide, found.dilation[1] * pixel
    )  # fmt: skip
    return x, _padded(w, depth), sizes, steps


def _depth(rows: int) -> tuple[int, int]:
    """Rows of one step of the kernel's product, and rows of a padded tile."""
    block = SHORTEST_DEPTH if rows <= SHORTEST_DEPTH else 2 * SHORTEST_DEPTH
    return block, -(-rows // block) * block


def _run_length(channels: int) -> int:
    """Padded channels of a tile, so that one load of up to 16 bytes takes a run."""
    return -(-channels // 16) * 16 if channels > 8 else 1 << (channels - 1).bit_length()


def _padded(x: Tensor, size: int) -> Tensor:
    return F.pad(x, [0, size - x.shape[-1]])


def _slots(x: Tensor, step: int, size: int) -> Tensor:
    """The last dimension in pieces of `step`, each padded to `size`."""
    pieces = -(-x.shape[-1] // step)
    return _padded(_padded(x, pieces * step).unflatten(-1, (pieces, step)), size).flatten(-2)


def _planes(integers: Tensor, digits: Sequence[tuple[int, ...]]) -> Tensor:
    """The digits of integers, int8. # (digits, *integers)"""
    planes = torch.empty(len(digits), *integers.shape, dtype=torch.int8, device=integers.device)
    for plane, bits in zip(planes, digits, strict=True):
        plane.copy_((integers >> bits[0]) & (2 ** len(bits) - 1))
    return planes
