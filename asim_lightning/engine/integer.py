"""Exact products of integers in floating point.

float32 is exact if no partial sum reaches 2^24. Products are therefore split over the summed dimension into chunks that
stay below it and are added as integers. If a chunk would be tiny, float64 (exact to 2^53, about 10 times slower) is
used instead. `float32` bounds the sums more tightly, because it knows the weights.
torch.compile does not look into the two operations, which keeps `exact_float32` around them.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.torch_modes import exact_float32

FLOAT32_LIMIT = 2**24
_FEWEST_TERMS = 16


def digits(integers: Tensor, bits: tuple[int, ...], signed: bool) -> Tensor:
    """Value of consecutive two's complement bits of int32 integers: ``sum over p in bits of 2^(p - bits[0]) * bit_p``.

    If signed, the last of them is the sign bit and counts negatively. float32, of the same shape.
    """
    shifted = integers >> bits[0]
    if not signed:
        shifted = shifted & (2 ** len(bits) - 1)
    return shifted.to(torch.float32)


def conv2d(
    x: Tensor, w: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    """`torch.nn.functional.conv2d` in floating point, without torch's read out of bounds.

    With AVX-512 and a horizontal stride, torch reads past the end of images that have one channel, one column of
    outputs and the strides of channels_last.
    """
    if x.shape[1] == 1:
        x = x.clone(memory_format=torch.contiguous_format)  # `contiguous` would keep the strides
    return F.conv2d(x, w, None, [*stride], [*padding], [*dilation], groups)


def largest_sum(w: Tensor, signed: bool) -> int:
    """Largest magnitude of any partial sum of an output's weights, for inputs 0..1, or -1..1 if signed."""
    rows = w.detach().flatten(1).double()
    positive, negative = rows.clamp_min(0.0).sum(1), rows.clamp_max(0.0).sum(1).neg()
    return int((positive + negative if signed else torch.maximum(positive, negative)).max())


def edges_below_limit(w: Tensor, largest: int, signed: bool, most: int) -> tuple[int, ...] | None:
    """Edges that divide the input channels into the fewest parts whose sums stay below 2^24.

    Args:
        w: Integers in floating point. # (outputs, channels, ...)
        largest: Largest magnitude of an input.

    Returns:
        First channel of each part, and the end of the last part; None if more than `most` parts are needed.
    """
    channels = w.shape[1]
    for parts in range(1, min(most, channels) + 1):
        edges = tuple(channels * i // parts for i in range(parts + 1))
        if all(largest * largest_sum(w[:, low:high], signed) < FLOAT32_LIMIT for low, high in pairwise(edges)):
            return edges
    return None


def added(parts: Iterable[Tensor]) -> Tensor:
    """Sum of the sums over parts of the input channels, int32."""
    first, *others = (part.int() for part in parts)
    for other in others:
        first += other
    return first


def sum_dtype(terms: int, limit: int, unit: int = 1) -> torch.dtype:
    """Type of an exact sum of `terms` products of at most `limit` each, computed in steps of `unit` terms."""
    bound = terms * limit
    if bound < FLOAT32_LIMIT:
        return torch.float32
    if (FLOAT32_LIMIT - 1) // (limit * unit) * unit < min(_FEWEST_TERMS, terms):
        return torch.float64
    return torch.int32 if bound < 2**31 else torch.int64


def _accumulate(part: Callable[[int, int], Tensor], size: int, limit: int, unit: int, dtype: torch.dtype) -> Tensor:
    if not dtype.is_floating_point:
        step = (FLOAT32_LIMIT - 1) // (limit * unit)
        total = part(0, step).to(dtype)
        for low in range(step, size, step):
            total += part(low, min(low + step, size)).to(dtype)
        return total
    return part(0, size)


@torch.library.custom_op("asim_lightning::integer_matmul", mutates_args=())
def integer_matmul(x: Tensor, w: Tensor, limit: int) -> Tensor:
    """``x @ w^T`` of integers, exactly; one operation for torch.compile.

    Args:
        x: Integers in float32. # (..., m, k)
        w: Integers in float32. # (n, k) or (..., n, k)
        limit: Largest |x| times largest |w|.

    Returns:
        Integers in float32, int32, int64 or float64: the first type that is sure to hold the sums. # (..., m, n)
    """
    terms = x.shape[-1]
    dtype = sum_dtype(terms, limit)
    if dtype is torch.float64:
        x, w = x.double(), w.double()

    def part(low: int, high: int) -> Tensor:
        a, b = x[..., low:high], w[..., low:high]
        return F.linear(a, b) if w.dim() == 2 else a @ b.transpose(-1, -2)

    with exact_float32(x.device.type):
        return _accumulate(part, terms, limit, 1, dtype)


@integer_matmul.register_fake
def _(x: Tensor, w: Tensor, limit: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], w.shape[-2], dtype=sum_dtype(x.shape[-1], limit))


@torch.library.custom_op("asim_lightning::integer_conv2d", mutates_args=())
def integer_conv2d(
    x: Tensor, w: Tensor, stride: list[int], padding: list[int], dilation: list[int], groups: int, limit: int
) -> Tensor:
    """Convolution of integers, exactly; see `integer_matmul`.

    # (batch, groups * channels, height, width) and (outputs, channels, kernel height, kernel width)
    """
    channels, unit = w.shape[1], w.shape[2] * w.shape[3]
    dtype = sum_dtype(channels * unit, limit, unit)
    if dtype is torch.float64:
        x, w = x.double(), w.double()

    def part(low: int, high: int) -> Tensor:
        a = x if high - low == channels else x.unflatten(1, (groups, channels))[:, :, low:high].flatten(1, 2)
        return conv2d(a, w[:, low:high], stride, padding, dilation, groups)

    with exact_float32(x.device.type):
        return _accumulate(part, channels, limit, unit, dtype)


@integer_conv2d.register_fake
def _(
    x: Tensor, w: Tensor, stride: list[int], padding: list[int], dilation: list[int], groups: int, limit: int
) -> Tensor:
    shape = conv2d(x, w, stride, padding, dilation, groups)
    unit = w.shape[2] * w.shape[3]
    return torch.empty_like(shape, dtype=sum_dtype(w.shape[1] * unit, limit, unit))
