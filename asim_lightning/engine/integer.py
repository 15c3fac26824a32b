"""Exact products of integers that are held in floating point.

float32 is exact as long as no partial sum reaches 2^24, so products are split over the summed dimension into chunks
that stay below and are added as integers; where a chunk would be tiny, float64 (exact to 2^53, about 10 times slower)
is used. The two operations are opaque to torch.compile, which keeps `exact_float32` around them.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.precision import exact_float32

_FLOAT32_LIMIT = 2**24
_FEWEST_TERMS = 16


def sum_dtype(terms: int, limit: int, unit: int = 1) -> torch.dtype:
    """Type of an exact sum of `terms` products of at most `limit` each, computed in steps of `unit` terms."""
    if terms * limit < _FLOAT32_LIMIT:
        return torch.float32
    if (_FLOAT32_LIMIT - 1) // (limit * unit) * unit < min(_FEWEST_TERMS, terms):
        return torch.float64
    return torch.int32 if terms * limit < 2**31 else torch.int64


def _accumulate(part: Callable[[int, int], Tensor], size: int, limit: int, unit: int) -> Tensor:
    """Sum part(low, high) over chunks of `size` steps of `unit` terms each."""
    dtype = sum_dtype(size * unit, limit, unit)
    if not dtype.is_floating_point:
        step = (_FLOAT32_LIMIT - 1) // (limit * unit)
        total = part(0, step).to(dtype)
        for low in range(step, size, step):
            total += part(low, min(low + step, size)).to(dtype)
        return total
    return part(0, size)


@torch.library.custom_op("asim_lightning::integer_matmul", mutates_args=())
def integer_matmul(x: Tensor, w: Tensor, limit: int) -> Tensor:
    """``x @ w^T`` of integers, exactly.

    Args:
        x: Whole numbers in float32. # (..., m, k)
        w: Whole numbers in float32. # (n, k) or (..., n, k)
        limit: Bound of |x| times bound of |w|.

    Returns:
        Whole numbers in float32, int32, int64 or float64, whichever holds any such sum. # (..., m, n)
    """
    terms = x.shape[-1]
    if sum_dtype(terms, limit) is torch.float64:
        x, w = x.double(), w.double()

    def part(low: int, high: int) -> Tensor:
        a, b = x[..., low:high], w[..., low:high]
        return F.linear(a, b) if w.dim() == 2 else a @ b.transpose(-1, -2)

    with exact_float32(x.device.type):
        return _accumulate(part, terms, limit, 1)


@integer_matmul.register_fake
def _(x: Tensor, w: Tensor, limit: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], w.shape[-2], dtype=sum_dtype(x.shape[-1], limit))


@torch.library.custom_op("asim_lightning::integer_conv2d", mutates_args=())
def integer_conv2d(
    x: Tensor, w: Tensor, stride: list[int], padding: list[int], dilation: list[int], groups: int, limit: int
) -> Tensor:
    """Convolution of integers, exactly.

    Args:
        x: Whole numbers in float32. # (batch, groups * channels, height, width)
        w: Whole numbers in float32. # (outputs, channels, kernel height, kernel width)
        stride: Two strides.
        padding: Zeros on each side, rows and columns.
        dilation: Two dilations.
        groups: Number of groups.
        limit: Bound of |x| times bound of |w|.

    Returns:
        Whole numbers in float32, int32, int64 or float64, whichever holds any such sum.
        # (batch, outputs, out height, out width)
    """
    channels, unit = w.shape[1], w.shape[2] * w.shape[3]
    if sum_dtype(channels * unit, limit, unit) is torch.float64:
        x, w = x.double(), w.double()

    def part(low: int, high: int) -> Tensor:
        a = x if high - low == channels else x.unflatten(1, (groups, channels))[:, :, low:high].flatten(1, 2)
        return F.conv2d(a, w[:, low:high], None, stride, padding, dilation, groups)

    with exact_float32(x.device.type):
        return _accumulate(part, channels, limit, unit)


@integer_conv2d.register_fake
def _(
    x: Tensor, w: Tensor, stride: list[int], padding: list[int], dilation: list[int], groups: int, limit: int
) -> Tensor:
    shape = F.conv2d(x, w, None, stride, padding, dilation, groups)
    unit = w.shape[2] * w.shape[3]
    return torch.empty_like(shape, dtype=sum_dtype(w.shape[1] * unit, limit, unit))
