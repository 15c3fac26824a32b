"""Exact products of integers in float32, for weights whose sums stay below 2^24, in a few parts where they must."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.integer import added, conv2d, edges_below_limit
from asim_lightning.engine.product import Conv2dProduct, MatmulProduct, Product
from asim_lightning.engine.torch_modes import exact_float32
from asim_lightning.quant import levels

_MOST_PARTS = 8


class LaidOutConv2d:
    """oneDNN's convolution of images that are channels_last, with weights laid out as it takes them for batches of the
    last shape, where a plain convolution lays them out at each call. Other shapes may ask for another layout."""

    def __init__(self, product: Conv2dProduct) -> None:
        self._geometry = [*product.padding], [*product.stride], [*product.dilation], product.groups
        self._of_shape: tuple[torch.Size, Tensor] | None = None

    def __call__(self, x: Tensor, w: Tensor) -> Tensor:
        """The convolution, channels_last; w is the same at each call. # (batch, outputs, out height, out width)"""
        known = self._of_shape
        if known is None or known[0] != x.shape:
            reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # type: ignore[attr-defined]
            known = x.shape, reorder(w.contiguous().to_mkldnn(), *self._geometry, [*x.shape])
            self._of_shape = known
        convolve = torch.ops.mkldnn._convolution_pointwise.default
        return convolve(x, known[1], None, *self._geometry, "none", [], "")


@dataclass(frozen=True, eq=False)
class Float32Product:
    """How a linear map is computed exactly: at once, or in parts of the input channels."""

    product: Conv2dProduct | MatmulProduct
    edges: tuple[int, ...]
    """Input channels at which parts begin and end."""
    convolutions: tuple[LaidOutConv2d, ...]
    """One for each part, for images that are channels_last, where they can be had."""

    @property
    def image(self) -> bool:
        """Whether operands are images."""
        return isinstance(self.product, Conv2dProduct)

    @property
    def inward(self) -> bool:
        """Whether images that are channels_last are convolved faster than others."""
        return len(self.convolutions) > 0

    @torch.no_grad()
    def sums(self, x: Tensor, w: Tensor) -> Tensor:
        """The exact product, float32 or of several parts int32, without a gradient. # (batch, *outputs)

        Args:
            x: Whole numbers in float32; images that are channels_last give such ones. # (batch, *inputs)
            w: The weights that this was made for. # (*weight)
        """
        laid_out = self.inward and x.is_contiguous(memory_format=torch.channels_last)
        with exact_float32(x.device.type):
            if len(self.edges) == 2:
                return self._part(0, x, w, laid_out)
            axis = 1 if self.image else -1
            form = torch.channels_last if laid_out else torch.preserve_format
            parts = (
                (x.narrow(axis, low, high - low).clone(memory_format=form), w[:, low:high])
                for low, high in pairwise(self.edges)
            )
            return added(self._part(i, *part, laid_out) for i, part in enumerate(parts))

    def _part(self, i: int, x: Tensor, w: Tensor, laid_out: bool) -> Tensor:
        if laid_out and not self._is_misread(x, w):
            return self.convolutions[i](x, w)
        return _multiplied(self.product, x, w)

    def _is_misread(self, x: Tensor, w: Tensor) -> bool:
        """Whether oneDNN's kernel may read past the end; see `integer.conv2d`."""
        return x.shape[1] == 1 and isinstance(self.product, Conv2dProduct) and self.product.output_size(x, w)[1] == 1


def _multiplied(product: Conv2dProduct | MatmulProduct, x: Tensor, w: Tensor) -> Tensor:
    if isinstance(product, MatmulProduct):
        return F.linear(x, w)
    return conv2d(x, w, product.stride, product.padding, product.dilation, product.groups)


@lru_cache(maxsize=1024)
def _lays_out(product: Conv2dProduct, shape: tuple[int, ...]) -> bool:
    """Whether such a convolution can be had, and gives what a plain one does."""
    spans = [d * (k - 1) + 1 + 2 * s for d, k, s in zip(product.dilation, shape[2:], product.stride, strict=True)]
    generator = torch.Generator().manual_seed(0)
    # small enough for sums below 2^24
    x = torch.randint(0, 8, (2, shape[1] * product.groups, *spans), generator=generator, device="cpu").float()
    w = torch.randint(-3, 4, shape, generator=generator, device="cpu").float()
    with exact_float32("cpu"):
        expected = _multiplied(product, x, w)
        try:
            return torch.equal(LaidOutConv2d(product)(x.contiguous(memory_format=torch.channels_last), w), expected)
        except (RuntimeError, TypeError, AttributeError, NotImplementedError):
            return False  # this build of torch has no such kernel


def divided(product: Product, w: Tensor, input_bits: int, signed: bool) -> Float32Product | None:
    """How to compute a product exactly, in as few parts as its weights need.

    Args:
        product: The linear map.
        w: Whole numbers in float32. # (*weight)
        input_bits: Bits of the inputs, sign included.
        signed: Whether inputs are signed.

    Returns:
        None where it takes too many parts.
    """
    if product.batched_weight or w.numel() == 0 or not isinstance(product, Conv2dProduct | MatmulProduct):
        return None
    has_groups = isinstance(product, Conv2dProduct) and product.groups > 1
    edges = edges_below_limit(w, levels(input_bits, signed), signed, 1 if has_groups else _MOST_PARTS)
    if edges is None:
        return None
    convolutions: tuple[LaidOutConv2d, ...] = ()
    if isinstance(product, Conv2dProduct) and w.device.type == "cpu" and _lays_out(product, tuple(w.shape)):
        convolutions = tuple(LaidOutConv2d(product) for _ in edges[1:])
    return Float32Product(product, edges, convolutions)
