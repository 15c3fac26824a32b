"""Exact products of integers in float32: at once, or in a few parts with sums below 2^24."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from asim_lightning.engine.integer import added, edges_below_limit
from asim_lightning.engine.product import Geometry, Product
from asim_lightning.engine.torch_modes import exact_float32
from asim_lightning.quant import levels

_MOST_PARTS = 8


class PrepackedConv2d:
    """oneDNN's convolution of channels_last images with prepacked weights; a plain convolution packs at each call.

    The packing fits batches of the last shape, because another shape may need another packing.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = [*geometry.padding], [*geometry.stride], [*geometry.dilation], geometry.groups
        self._of_shape: tuple[torch.Size, Tensor] | None = None

    def __call__(self, x: Tensor, w: Tensor) -> Tensor:
        """The convolution, channels_last; w must be the same at each call. # (batch, outputs, out height, out width)"""
        known = self._of_shape
        if known is None or known[0] != x.shape:
            reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # type: ignore[attr-defined]
            known = x.shape, reorder(w.contiguous().to_mkldnn(), *self._geometry, [*x.shape])
            self._of_shape = known
        convolve = torch.ops.mkldnn._convolution_pointwise.default
        return convolve(x, known[1], None, *self._geometry, "none", [], "")


@dataclass(frozen=True, eq=False)
class Float32Product:
    """A product that float32 computes exactly: at once, or in parts of the input channels."""

    product: Product
    edges: tuple[int, ...]
    """First input channel of each part, and the end of the last part."""
    convolutions: tuple[PrepackedConv2d, ...]
    """Prepacked convolution of each part, for channels_last images; may be empty."""

    @property
    def prefers_channels_last(self) -> bool:
        """Whether channels_last images are convolved faster than contiguous ones."""
        return len(self.convolutions) > 0

    @torch.no_grad()
    def sums(self, x: Tensor, w: Tensor) -> Tensor:
        """The exact product, without a gradient: float32, of several parts int32. # (batch, *outputs)

        Args:
            x: Integers in float32; channels_last images give channels_last outputs. # (batch, *inputs)
            w: The weights that the product was made for. # (*weight)
        """
        laid_out = self.prefers_channels_last and x.is_contiguous(memory_format=torch.channels_last)
        with exact_float32(x.device.type):
            if len(self.edges) == 2:
                return self._part(0, x, w, laid_out)
            axis = 1 if self.product.is_image else -1
            form = torch.channels_last if laid_out else torch.preserve_format
            parts = (
                (x.narrow(axis, low, high - low).clone(memory_format=form), w[:, low:high])
                for low, high in pairwise(self.edges)
            )
            return added(self._part(i, *part, laid_out) for i, part in enumerate(parts))

    def _part(self, i: int, x: Tensor, w: Tensor, laid_out: bool) -> Tensor:
        # oneDNN's kernel may read past the end; see `integer.conv2d`
        is_misread = laid_out and x.shape[1] == 1 and self.product.geometry(x, w).output_size[1] == 1
        return self.convolutions[i](x, w) if laid_out and not is_misread else self.product.multiplied(x, w)


@lru_cache(maxsize=1024)
def _can_prepack(product: Product, shape: torch.Size) -> bool:
    """Whether torch has this convolution, with the same results as a plain one."""
    found = product.geometry_of(shape)
    spans = [d * (k - 1) + 1 + 2 * s for d, k, s in zip(found.dilation, found.kernel, found.stride, strict=True)]
    generator = torch.Generator().manual_seed(0)
    # small enough for sums below 2^24
    x = torch.randint(0, 8, (2, found.channels * found.groups, *spans), generator=generator, device="cpu").float()
    w = torch.randint(-3, 4, shape, generator=generator, device="cpu").float()
    with exact_float32("cpu"):
        expected = product.multiplied(x, w)
        try:
            return torch.equal(PrepackedConv2d(found)(x.contiguous(memory_format=torch.channels_last), w), expected)
        except (RuntimeError, TypeError, AttributeError, NotImplementedError):
            return False  # this build of torch has no such kernel


def float32_product(product: Product, w: Tensor, input_bits: int, signed: bool) -> Float32Product | None:
    """The exact product in float32, in as few parts as the weights need; None if more than 8 parts are needed."""
    if product.batched_weight or w.numel() == 0:
        return None
    found = product.geometry(None, w)
    edges = edges_below_limit(w, levels(input_bits, signed), signed, 1 if found.groups > 1 else _MOST_PARTS)
    if edges is None:
        return None
    convolutions: tuple[PrepackedConv2d, ...] = ()
    if product.is_image and w.device.type == "cpu" and _can_prepack(product, w.shape):
        convolutions = tuple(PrepackedConv2d(found) for _ in edges[1:])
    return Float32Product(product, edges, convolutions)
