"""Published quantisers: integers from floats, per tensor or per output channel, and their straight-through forms."""

from typing import Any

import torch
from torch import Tensor

_EPSILON = 1e-7


def levels(bits: int, signed: bool) -> int:
    """Largest integer of a quantiser: 2^(bits - 1) - 1 signed, 2^bits - 1 unsigned."""
    return 2 ** (bits - signed) - 1


def scale_of(largest: Tensor) -> Tensor:
    """Scale of a range: the largest value plus 1e-7, as published, but plus at most a thousandth of it, so that tensors
    of tiny numbers keep their values. An empty range (0 or below) has the scale 1e-7, so that zeros stay zeros."""
    largest = largest.float()
    scale = largest + torch.clamp(largest / 1024.0, max=_EPSILON)
    return torch.where(largest <= 0, torch.full_like(scale, _EPSILON), scale)


def largest_value(x: Tensor, signed: bool) -> Tensor:
    """Range of a tensor: max(|x|) signed, max(x) unsigned; float32, no dimensions."""
    low, high = torch.aminmax(x.detach())
    return (torch.maximum(-low, high) if signed else high).float()


def weight_scale(weight: Tensor, per_channel: bool) -> Tensor:
    """Scale of weights from max(|w|): one for all, or one for each output channel.

    Returns:
        float32. # () or (outputs, 1, ...)
    """
    magnitude = weight.detach().abs()
    if per_channel:
        return scale_of(magnitude.amax(dim=tuple(range(1, weight.dim())), keepdim=True))
    return scale_of(magnitude.amax())


def quantize(x: Tensor, scale: Tensor, bits: int, signed: bool) -> Tensor:
    """Integers ``round_half_even(clamp(x / scale, low, 1) * L)`` with ``L = levels(bits, signed)``.

    low is -1 signed and 0 unsigned (ASiM, arXiv 2411.11022). Always float32, whatever the type of x and autocast.

    Returns:
        Whole numbers in float32, -L..L signed, 0..L unsigned, of the shape of x.
    """
    with torch.autocast(x.device.type, enabled=False):
        integers = x.detach().float() / scale  # a new tensor, so the rest may work in place
        return integers.clamp_(-1.0 if signed else 0.0, 1.0).mul_(levels(bits, signed)).round_()


class _LargestWithGradient(torch.autograd.Function):
    """The largest value (or magnitude); its gradient goes to the element that has it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, signed: bool) -> Tensor:
        rows = x.detach().reshape(len(x), -1)
        largest, columns = (rows.abs() if signed else rows).max(1)  # torch's argmax over all takes four times as long
        row = largest.argmax()
        # take and scatter_, because an index without dimensions waits for the device
        place = row * rows.shape[1] + columns.take(row)  # ()
        value = rows.take(place)  # ()
        ctx.save_for_backward(place, value)
        ctx.shape, ctx.signed, ctx.dtype = x.shape, signed, x.dtype
        return (value.abs() if signed else value).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        place, value = ctx.saved_tensors
        sign = value.sign() if ctx.signed else torch.ones_like(value)
        full = torch.zeros(ctx.shape.numel(), dtype=ctx.dtype, device=gradient.device)
        most = torch.finfo(ctx.dtype).max  # the sum over all outputs can exceed half precision
        full.scatter_(0, place.view(1), (gradient * sign).clamp(-most, most).to(ctx.dtype).view(1))
        return full.view(ctx.shape), None


def scale_with_gradient(x: Tensor, signed: bool) -> Tensor:
    """`scale_of` the tensor's largest value (signed: magnitude), with gradients. # ()"""
    largest: Tensor = _LargestWithGradient.apply(x, signed)
    return scale_of(largest)


class _FakeQuantize(torch.autograd.Function):
    """Rounds to a quantiser's grid, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, bits: int, signed: bool) -> Tensor:
        return quantize(x, scale, bits, signed).div_(levels(bits, signed)).mul_(scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        return gradient, None, None, None


def fake_quantize(x: Tensor, scale: Tensor, bits: int, signed: bool) -> Tensor:
    """``quantize(x) / L * scale`` in the type of x, with the gradient of the identity (straight-through).

    The gradient also passes outside of the range, as published, and at exactly 0. There the published quantiser has no
    gradient, so that a weight of 0 could never be trained.
    """
    rounded: Tensor = _FakeQuantize.apply(x, scale, bits, signed)
    return rounded
