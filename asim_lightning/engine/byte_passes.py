"""Floats to whole numbers and sums to floats on the CPU, each in one pass: what stands around a product of integers."""

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from asim_lightning.engine.lanes import INWARD_TILE, OUTWARD_TILE
from asim_lightning.engine.threads import spread_kernel
from asim_lightning.quant import levels

_INFINITE_BITS = 0x7F800000
SHIFT = 128
"""What is added to signed integers that become bytes."""
_THREAD = 2**17
_MOST_UNITS = 64
"""Most pieces of a tensor to share among threads, where nothing but its size divides it."""
_LEAST_UNIT = 1024
"""Numbers of a sample that are worth a piece of their own."""


@lru_cache(maxsize=2)
def _quantizers(kind: str) -> Any:
    from asim_lightning.engine.byte_passes_numba import compile_quantizers  # Numba takes half a second to import

    return compile_quantizers(kind)


@lru_cache(maxsize=1)
def _scalers() -> Any:
    from asim_lightning.engine.byte_passes_numba import compile_scalers  # Numba takes half a second to import

    return compile_scalers()


def to_whole(x: Tensor, scale: float, bits: int, signed: bool, inward: bool = False) -> tuple[Tensor, bool, bool]:
    """Quantise, as `quant.quantize` does, and see what values there are.

    Args:
        x: Floating point, on the CPU, not empty. # of any shape; (batch, channels, height, width) to be turned
        scale: Scale of the quantiser, a number of float32.
        bits: Bits of the quantiser.
        signed: Whether it is signed.
        inward: Whether x is an image that becomes channels_last.

    Returns:
        The integers in float32, zeros without a sign, in the shape of x, turned or as x lies in memory where that is
        one piece; whether all values are finite; whether any is below 0.
    """
    return _quantized(x, torch.float32, scale, bits, signed, 0, inward)


def to_bytes(x: Tensor, scale: float, bits: int, signed: bool, inward: bool) -> tuple[Tensor, bool, bool]:
    """The same, to what `Int8Product.sums` takes: uint8, where 128 is added to signed integers, of at most 8 bits."""
    return _quantized(x, torch.uint8, scale, bits, signed, SHIFT if signed else 0, inward)


def _quantized(
    x: Tensor, dtype: torch.dtype, scale: float, bits: int, signed: bool, shift: int, inward: bool
) -> tuple[Tensor, bool, bool]:
    import numpy as np

    x = x.detach().float()
    lies_inward = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    image = inward or lies_inward
    form = torch.channels_last if image else torch.contiguous_format
    out = torch.empty_like(x, dtype=dtype, memory_format=form)
    as_it_lies, turned = _quantizers("u1" if dtype == torch.uint8 else "f4")
    if inward and not lies_inward:
        kernel, batch, channels = turned, x.shape[0], x.shape[1]
        source = x.contiguous().numpy().reshape(batch, channels, -1)
        target = out.numpy().transpose(0, 2, 3, 1).reshape(batch, -1, channels)
        units, size = batch * math.ceil(source.shape[2] / INWARD_TILE), channels * INWARD_TILE
    else:
        kernel, units = as_it_lies, math.gcd(x.numel(), _MOST_UNITS)
        if x.numel() >= _LEAST_UNIT * len(x):
            units = max(units, len(x))
        source, target = _rows(x.contiguous(memory_format=form), units, image), _rows(out, units, image)
        size = source.shape[1]
    low, top = -1.0 if signed else 0.0, levels(bits, signed)
    found = np.empty((units, 2), np.int32)
    numbers = [np.float32(number) for number in (scale, low, top, shift)]
    spread_kernel(kernel, (source, target, found, *numbers), units, _THREAD // size + 1)
    largest, negative = (found[0] if units == 1 else found.max(0)).tolist()
    return out, largest < _INFINITE_BITS, negative > 0


def to_floats(sums: Tensor, step: Tensor, bias: Tensor | None, image: bool, turned: bool) -> Tensor:
    """``sums * step + bias`` in float32, rounded twice as two operations of torch are.

    Args:
        sums: Counts of any type, on the CPU, rounded to float32 first.
            # (batch, ..., outputs), or (batch, outputs, height, width)
        step: What a count is worth, for each output, float32. # (outputs,)
        bias: # (outputs,)
        image: Whether sums are images.
        turned: Whether images that are channels_last become contiguous.
    """
    import numpy as np

    sums, outputs = sums.float(), len(step)
    if image and sums.is_contiguous():
        y = sums * step.view(-1, 1, 1)
        return y if bias is None else y.add_(bias.detach().float().view(-1, 1, 1))
    added = _nothing(outputs) if bias is None else bias.detach().float().contiguous().numpy()
    worth = step.numpy()
    if image and turned and sums.shape[2] * sums.shape[3] > 1:
        kernel, batch = _scalers()[1], sums.shape[0]
        out = torch.empty(sums.shape, dtype=torch.float32, device="cpu")
        source = np.ascontiguousarray(sums.numpy().transpose(0, 2, 3, 1)).reshape(batch, -1, outputs)
        target = out.numpy().reshape(batch, outputs, -1)
        units, size = batch * math.ceil(source.shape[1] / OUTWARD_TILE), outputs * OUTWARD_TILE
    else:
        kernel, units, size = _scalers()[0], sums.numel() // outputs, outputs
        form = torch.channels_last if image else torch.contiguous_format
        out = torch.empty_like(sums, memory_format=form)
        source, target = _rows(sums.contiguous(memory_format=form), units, image), _rows(out, units, image)
    spread_kernel(kernel, (source, target, worth, added), units, _THREAD // size + 1)
    return out


@lru_cache(maxsize=64)
def _nothing(outputs: int) -> Any:
    """A bias that changes no number: adding 0 would change -0."""
    import numpy as np

    return np.full(outputs, -0.0, np.float32)


def _rows(x: Tensor, rows: int, image: bool) -> Any:
    """The elements in the order of memory. # (rows, elements)"""
    values = x.numpy()
    return (values.transpose(0, 2, 3, 1) if image else values).reshape(rows, -1)
