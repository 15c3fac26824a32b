"""Quantising and scaling on the CPU, floats to integers and sums to floats: one pass each with the C++ kernels."""

import torch
from torch import Tensor

from asim_lightning.engine.native import passes
from asim_lightning.quant import levels, quantize

SHIFT = 128
"""Added to signed integers, so that they become bytes."""
_INFINITE_BITS = 0x7F800000
_MANY = 2**17
"""Numbers that occupy a thread much longer than it takes to wake it."""


def quantized(
    x: Tensor, dtype: torch.dtype, scale: float, bits: int, signed: bool, channels_last: bool
) -> tuple[Tensor, bool, bool]:
    """Quantise as `quant.quantize` does, and check the values in the same pass.

    Args:
        x: Floating point, on the CPU, not empty. # any shape; images (batch, channels, height, width)
        dtype: float32; or uint8 for integers of at most 8 bits, which adds 128 to signed ones.
        scale: Scale of the quantiser; float32 must hold it exactly.
        channels_last: Whether images are returned as channels_last; they always are if x is.

    Returns:
        The integers, without negative zeros; whether all values are finite; whether any value is below 0.
    """
    x = x.detach().float()
    shift = SHIFT if signed and dtype == torch.uint8 else 0
    is_channels_last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    form = torch.channels_last if channels_last or is_channels_last else torch.contiguous_format
    if passes.best_library() is None:
        integers = quantize(x, torch.tensor(scale, device="cpu"), bits, signed) + shift
        out = integers.to(dtype).contiguous(memory_format=form)
        return out, bool(x.isfinite().all()), bool((x < 0).any())
    is_turned = channels_last and not is_channels_last
    x = x.contiguous() if is_turned else x.contiguous(memory_format=form)
    out = torch.empty_like(x, dtype=dtype, memory_format=form)
    sizes = (x.shape[0], x.shape[1], x.shape[2] * x.shape[3]) if is_turned else (1, 1, x.numel())
    numbers = scale, -1.0 if signed else 0.0, levels(bits, signed), shift
    threads = passes.threads_for(x.numel(), _MANY)
    job = passes.call("asim_quantize", "Quantize", x, out, *sizes, *numbers, dtype == torch.uint8, is_turned, threads)
    return out, job.largest < _INFINITE_BITS, job.negative > 0


def to_floats(sums: Tensor, step: Tensor, bias: Tensor | None, image: bool, contiguous: bool) -> Tensor:
    """``sums * step + bias`` in float32, rounded twice like two operations of torch.

    Args:
        sums: Counts of any type, on the CPU. # (batch, ..., outputs), or (batch, outputs, height, width)
        step: Value of one count in each output. # (outputs,)
        bias: # (outputs,)
        contiguous: Whether channels_last images are returned contiguous.
    """
    sums, step = sums.float(), step.detach().float().contiguous()
    bias = None if bias is None else bias.detach().float().contiguous()
    if passes.best_library() is None or (image and sums.is_contiguous()):
        shape = (-1, 1, 1) if image else (-1,)
        y = sums * step.view(shape)
        y = y if bias is None else y.add_(bias.view(shape))
        return y.contiguous() if contiguous else y
    form = torch.channels_last if image else torch.contiguous_format
    sums = sums.contiguous(memory_format=form)
    is_turned = image and contiguous and sums.shape[2] * sums.shape[3] > 1
    out = torch.empty_like(sums, memory_format=torch.contiguous_format if is_turned else form)
    images, outputs = len(sums) if is_turned else 1, len(step)
    sizes = images, sums.numel() // (outputs * images), outputs
    threads = passes.threads_for(sums.numel(), _MANY)
    passes.call("asim_scale", "Scale", sums, step, bias, out, *sizes, is_turned, threads)
    return out
