"""Inputs as bytes beside each other, with the padding that a kernel meets (src/rare.cpp)."""

import ctypes as C

import torch
from torch import Tensor

from asim_lightning.engine.native.passes import ADDRESS, INT32, INT64, Structure, fields, threads_for
from asim_lightning.engine.rare.layout import Layout

_SHIFT = 128
"""Added to signed integers in bytes, whose highest bit it turns over."""
_PACKED = 2**16
"""Elements to pack that occupy a thread much longer than it takes to wake it."""
_SLACK = 8
"""Bytes past the end that may be read."""


class _InputPacking(Structure):
    _fields_ = fields(
        ("x out", ADDRESS), ("batch height width groups channels pad_y pad_x planes", INT64),
        ("is_bytes flipped threads", INT32),
    )  # fmt: skip


def bytes_of(bits: int) -> int:
    """Bytes that hold so many bits."""
    return (bits + 7) // 8


def padded_size(layout: Layout) -> tuple[int, int]:
    """Height and width of the input with padding."""
    padding = layout.geometry.padding
    return layout.height + 2 * padding[0], layout.geometry.size[1] + 2 * padding[1]


def padded_channels(layout: Layout) -> int:
    """Channels of a group up to a multiple of 8."""
    return (layout.geometry.channels + 7) // 8 * 8


def padded_inputs(kernels: C.CDLL, x: Tensor, layout: Layout, input_bits: int, signed: bool) -> Tensor:
    """Bytes of an input, with 8 more behind them that belong to nothing.

    Args:
        kernels: The library.
        x: Integers, as floats or as the bytes of `byte_passes.to_bytes`; fastest where images are channels_last.
        layout: Layout of a row of the batch.
        input_bits: Bits of an integer, sign included.
        signed: Whether inputs are signed.

    Returns:
        uint8. # (batch, groups, padded height, padded width, bytes * padded channels)
    """
    g = layout.geometry
    is_bytes, planes = x.dtype == torch.uint8, bytes_of(input_bits)
    x = x if is_bytes else x.to(torch.float32)
    x = (x.permute(0, 2, 3, 1) if g.is_image else x).contiguous()
    shape = torch.Size((len(x), layout.groups, *padded_size(layout), planes * padded_channels(layout)))
    out = torch.empty(shape.numel() + _SLACK, dtype=torch.uint8, device="cpu")
    sizes = len(x), layout.height, g.size[1], layout.groups, g.channels, *g.padding, planes
    flipped = _SHIFT if is_bytes and signed else 0
    job = _InputPacking(0, x.data_ptr(), out.data_ptr(), *sizes, is_bytes, flipped, threads_for(x.numel(), _PACKED))
    job.call(kernels.asim_pack_inputs)
    return out[: shape.numel()].view(shape)
