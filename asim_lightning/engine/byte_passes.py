"""Quantising and scaling on the CPU, each in one pass over memory: floats to integers, and sums of integers to
floats."""

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
"""Added to signed integers, so that they become bytes."""
_THREAD = 2**17
_MOST_UNITS = 64
"""Most units of work, shared among threads, where the tensor has no natural division but its size."""
_LEAST_UNIT = 1024
"""Fewest numbers of a sample for which the sample is a unit of work."""


@lru_cache(maxsize=2)
def _quantizers(kind: str) -> Any:
    from asim_lightning.engine.byte_passes_numba import compile_quantizers  # Numba takes half a second to import

    return compile_quantizers(kind)


@lru_cache(maxsize=1)
def _scalers() -> Any:
    from asim_lightning.engine.byte_passes_numba import compile_scalers  # Numba takes half a second to import

    return compile_scalers()


def to_integers(
    x: Tensor, scale: float, bits: int, signed: bool, channels_last: bool = False
) -> tuple[Tensor, bool, bool]:
    """Quantise as `quant.quantize` does, and check the values in the same pass.

    Args:
        x: Floating point, on the CPU, not empty. # any shape; images (batch, channels, height, width)
        scale: Scale of the quantiser, which float32 holds exactly.
        bits: Bits of the quantiser.
        signed: Whether it is signed.
        channels_last: Whether images are returned as channels_last.

    Returns:
        The integers in float32, of the shape of x, channels_last where asked for or where x is, without negative zeros;
        whether all values are finite; whether any is below 0.
    """
    return _quantized(x, torch.float32, scale, bits, signed, 0, channels_last)


def to_bytes(x: Tensor, scale: float, bits: int, signed: bool, channels_last: bool) -> tuple[Tensor, bool, bool]:
    """Quantise to uint8, as `Int8Product.sums` takes it: as `to_integers`, with 128 added to signed integers; 8 bits at
    most."""
    return _quantized(x, torch.uint8, scale, bits, signed, SHIFT if signed else 0, channels_last)


def _quantized(
    x: Tensor, dtype: torch.dtype, scale: float, bits: int, signed: bool, shift: int, channels_last: bool
) -> tuple[Tensor, bool, bool]:
    import numpy as np

    x = x.detach().float()
    is_channels_last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    image = channels_last or is_channels_last
    form = torch.channels_last if image else torch.contiguous_format
    out = torch.empty_like(x, dtype=dtype, memory_format=form)
    as_it_lies, turned = _quantizers("u1" if dtype == torch.uint8 else "f4")
    if channels_last and not is_channels_last:
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


def to_floats(sums: Tensor, step: Tensor, bias: Tensor | None, image: bool, contiguous: bool) -> Tensor:
    """``sums * step + bias`` in float32, rounded twice, as two operations of torch are.

    Args:
        sums: Counts of any type, on the CPU, rounded to float32 first.
            # (batch, ..., outputs), or (batch, outputs, height, width)
        step: Value of one count in each output, float32. # (outputs,)
        bias: # (outputs,)
        image: Whether sums are images.
        contiguous: Whether images that are channels_last are returned contiguous.
    """
    import numpy as np

    sums, outputs = sums.float(), len(step)
    if image and sums.is_contiguous():
        y = sums * step.view(-1, 1, 1)
        return y if bias is None else y.add_(bias.detach().float().view(-1, 1, 1))
    added = _nothing(outputs) if bias is None else bias.detach().float().contiguous().numpy()
    worth = step.numpy()
    if image and contiguous and sums.shape[2] * sums.shape[3] > 1:
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
    """A bias of -0, which changes no number: adding 0 would change -0."""
    import numpy as np

    return np.full(outputs, -0.0, np.float32)


def _rows(x: Tensor, rows: int, image: bool) -> Any:
    """The elements in the order in which memory holds them. # (rows, elements)"""
    values = x.numpy()
    return (values.transpose(0, 2, 3, 1) if image else values).reshape(rows, -1)
