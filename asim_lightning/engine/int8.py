"""Exact products of 8-bit integers by the processor's 8-bit instructions, if a test finds them exact.

Inputs are bytes. Signed inputs are shifted by 128 to 1..255, and ``128 * sum(w)`` is subtracted again. Sums come in
float32, so each must stay below 2^24. If the weights could exceed this, the input channels are split into parts, and
their sums are added in int32.

A processor without VNNI adds pairs of products in 16 bits and saturates. Each kind of kernel is therefore tested once a
process with the largest values. oneDNN's convolutions for AMX are wrong for some images, batches and numbers of threads
(such as one column of outputs with a horizontal stride), so they are also tested once for each shape.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.byte_passes import SHIFT
from asim_lightning.engine.integer import added, edges_below_limit
from asim_lightning.engine.product import Geometry, Product
from asim_lightning.engine.threads import whole_team
from asim_lightning.engine.torch_modes import exact_float32

_BYTE, _LARGEST_WEIGHT = 255, 127
_MOST_PARTS = 4
_TRIED_AT_A_TIME = 2**22
"""Outputs that a test compares at a time: 16 MB."""


def byte_kernel(w: Tensor, bias: Tensor | None, geometry: Geometry) -> Callable[[Tensor], Tensor]:
    """oneDNN's product of bytes with these weights: (batch, channels, height, width) or (rows, k), uint8, to float32
    sums."""
    one, zero = torch.ones(1, dtype=torch.float32, device="cpu"), torch.zeros(1, dtype=torch.int64, device="cpu")
    as_sums: tuple[Any, ...] = 1.0, 0, torch.float32, "none", [], ""
    if geometry.is_image:
        layout = _listed(geometry)
        packed = torch.ops.onednn.qconv_prepack(w, one, 1.0, 0, *layout, None)
        convolve = torch.ops.onednn.qconv2d_pointwise.default
        return lambda x: convolve(x, 1.0, 0, packed, one, zero, bias, *layout, *as_sums)
    packed = torch.ops.onednn.qlinear_prepack(w, None)
    multiply = torch.ops.onednn.qlinear_pointwise.default
    return lambda x: multiply(x, 1.0, 0, packed, one, zero, bias, *as_sums)


@lru_cache(maxsize=1024)
def is_exact(shape: tuple[int, ...], geometry: Geometry, kernel: Any = byte_kernel) -> bool:
    """Whether a kernel multiplies the largest bytes with the largest weights of this shape exactly."""
    if geometry.is_image:
        spans = [d * (k - 1) + 1 + 2 * s for d, k, s in zip(geometry.dilation, shape[2:], geometry.stride, strict=True)]
        x = torch.full((2, shape[1] * geometry.groups, *spans), _BYTE, dtype=torch.uint8, device="cpu")
        x = x.contiguous(memory_format=torch.channels_last)
        # all inputs and all weights are equal, so a sum depends only on the number of taps inside the image
        image, taps = (torch.ones(1, 1, *size, dtype=torch.float64, device="cpu") for size in (spans, shape[2:]))
        terms = shape[1] * F.conv2d(image, taps, None, geometry.stride, geometry.padding, geometry.dilation)
    else:
        x = torch.full((2, shape[1]), _BYTE, dtype=torch.uint8, device="cpu")
        terms = torch.full((1, 1), shape[1], dtype=torch.float64, device="cpu")
    sign = torch.ones(shape[0], dtype=torch.float64, device="cpu")
    sign[1::2] = -1
    w = (sign * _LARGEST_WEIGHT).view(-1, *[1] * (len(shape) - 1)).expand(shape).to(torch.int8).contiguous()
    expected = terms * _BYTE * _LARGEST_WEIGHT * sign.view(-1, *[1] * (terms.dim() - 2))
    try:
        got = kernel(w, None, geometry)(x)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError):
        return False  # this build of torch has no such kernel
    return got.dtype == torch.float32 and bool((got == expected.to(torch.float32)).all())


@lru_cache(maxsize=1024)
def conv2d_is_exact_on(
    shape: tuple[int, ...], geometry: Geometry, images: tuple[int, ...], threads: int, kernel: Any = byte_kernel
) -> bool:
    """Whether a kernel convolves images of a shape exactly, tested with small random numbers; `threads` is the number
    of torch's threads."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 16, images, dtype=torch.uint8, generator=generator, device="cpu")
    w = torch.randint(-7, 8, shape, dtype=torch.int8, generator=generator, device="cpu")
    x = x.contiguous(memory_format=torch.channels_last)
    got = kernel(w, None, geometry)(x)
    some = max(1, _TRIED_AT_A_TIME // max(1, got[:1].numel()))
    with exact_float32("cpu"):
        return all(
            torch.equal(F.conv2d(part.float(), w.float(), None, *_listed(geometry)), sums)
            for part, sums in zip(x.split(some), got.split(some), strict=True)
        )


def _listed(geometry: Geometry) -> tuple[list[int], list[int], list[int], int]:
    return [*geometry.stride], [*geometry.padding], [*geometry.dilation], geometry.groups


@dataclass(frozen=True, eq=False)
class Int8Product:
    """A product whose weights are packed for 8-bit instructions."""

    kernels: tuple[Callable[[Tensor], Tensor], ...]
    """Kernel of each part of the input channels."""
    edges: tuple[int, ...]
    """First input channel of each part, and the end of the last part."""
    border: tuple[int, int]
    """Zeros added around an image beforehand: rows and columns on each side."""
    signed: bool
    shapes: tuple[tuple[int, ...], ...]
    """Weight shape of each part."""
    geometry: Geometry
    """Geometry without that border."""

    @property
    def image(self) -> bool:
        """Whether operands are images, else rows of a matrix product."""
        return self.geometry.is_image

    def is_exact(self, inputs: torch.Size) -> bool:
        """Whether the kernels are exact for inputs of this shape with torch's threads; tested once."""
        if not self.image:
            # oneDNN leaves out rows if the system grants fewer threads than torch asks for
            return whole_team(torch.get_num_threads())
        batch, _, height, width = inputs
        size = height + 2 * self.border[0], width + 2 * self.border[1]
        threads = torch.get_num_threads()
        return all(
            conv2d_is_exact_on(shape, self.geometry, (batch, shape[1] * self.geometry.groups, *size), threads)
            for shape in self.shapes
        )

    def sums(self, x: Tensor) -> Tensor:
        """The exact product.

        Args:
            x: Integers 0..255, or -127..127 shifted by 128, uint8. # (batch, *inputs), images as channels_last

        Returns:
            Integers, float32 or int32. # (batch, *outputs), images as channels_last
        """
        if any(self.border):
            rows, columns = self.border
            x = F.pad(x, [columns, columns, rows, rows], value=SHIFT if self.signed else 0)
        terms = x if self.image else x.reshape(-1, x.shape[-1])
        if len(self.kernels) == 1:
            total = self.kernels[0](terms)
        else:
            parts = zip(self.kernels, pairwise(self.edges), strict=True)
            total = added(kernel(self._laid_out(terms[:, low:high])) for kernel, (low, high) in parts)
        return total if self.image else total.view(*x.shape[:-1], total.shape[-1])

    def bytes_of(self, x: Tensor) -> Tensor:
        """The argument of `sums`, from integers in floating point."""
        return self._laid_out((x + SHIFT if self.signed else x).to(torch.uint8))

    def _laid_out(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last if self.image else torch.contiguous_format)


def int8_product(product: Product, w: Tensor, input_bits: int, weight_bits: int, signed: bool) -> Int8Product | None:
    """The product with weights packed for 8-bit instructions; None if integers have more than 8 bits (sign included),
    the kernels are not exact, or sums are too large."""
    if w.device.type != "cpu" or product.batched_weight or input_bits > 8 or weight_bits > 8 or w.numel() == 0:
        return None
    found = product.geometry(None, w)
    if product.is_image and found.channels == 1:
        return None  # oneDNN's kernels for one channel a group are wrong for some strides of images one output wide
    w = w.detach()
    shape, border, inner = tuple(w.shape), (0, 0), found
    largest = _BYTE if signed else 2**input_bits - 1
    if product.is_image:
        # a dilation means nothing for a kernel of one row or column, and oneDNN's kernel may crash with it
        dilation = tuple(d if size > 1 else 1 for d, size in zip(found.dilation, found.kernel, strict=True))
        # oneDNN's kernel may crash if all its elements lie in the padding, such as a dilated kernel's on both sides
        spans = [size - 1 if d == 1 else 0 for d, size in zip(dilation, found.kernel, strict=True)]
        if signed or any(p > span for p, span in zip(found.padding, spans, strict=True)):
            border = found.padding
        inner = replace(found, padding=(0, 0) if any(border) else found.padding, dilation=dilation)  # type: ignore[arg-type]
    exact = (product.is_image or whole_team(torch.get_num_threads())) and is_exact(shape, inner)
    most = _MOST_PARTS if inner.groups == 1 else 1
    # signed inputs are shifted to 1..255
    edges = edges_below_limit(w, largest, False, most) if exact else None
    if edges is None:
        return None
    kernels, parts = [], [w[:, low:high] for low, high in pairwise(edges)]
    for part in parts:
        bias = part.flatten(1).sum(1, dtype=torch.float64).mul(-SHIFT).float() if signed else None
        kernels.append(byte_kernel(part.to(torch.int8).contiguous(), bias, inner))
    return Int8Product(tuple(kernels), edges, border, signed, tuple(tuple(part.shape) for part in parts), inner)
