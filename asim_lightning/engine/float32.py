"""Exact products of integers in float32, for weights whose sums stay below 2^24, in a few parts where they must."""

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.integer import added, edges_below_limit
from asim_lightning.engine.precision import exact_float32
from asim_lightning.engine.product import Conv2dProduct, MatmulProduct, Product
from asim_lightning.engine.remembered import remembered
from asim_lightning.quant import levels

_MOST_PARTS = 8


@dataclass(frozen=True, eq=False)
class Float32Product:
    """How a linear map is computed exactly: at once, or in parts of the input channels."""

    product: Conv2dProduct | MatmulProduct
    weights: tuple[Tensor, ...]
    """Those of each part; none where there is one, so that the whole weight is not held."""
    edges: tuple[int, ...]
    """Input channels at which parts begin and end."""

    @property
    def image(self) -> bool:
        """Whether operands are images."""
        return isinstance(self.product, Conv2dProduct)

    def sums(self, x: Tensor, w: Tensor) -> Tensor:
        """The exact product, float32 or of several parts int32. # (batch, *outputs)

        Args:
            x: Whole numbers in float32. # (batch, *inputs)
            w: The weights that this was made for. # (*weight)
        """
        with exact_float32(x.device.type):
            if not self.weights:
                return self._multiplied(x, w)
            axis = 1 if self.image else -1
            parts = zip(self.weights, pairwise(self.edges), strict=True)
            return added(self._multiplied(x.narrow(axis, low, high - low), part) for part, (low, high) in parts)

    def _multiplied(self, x: Tensor, w: Tensor) -> Tensor:
        if isinstance(self.product, MatmulProduct):
            return F.linear(x, w)
        product = self.product
        return F.conv2d(x, w, None, [*product.stride], [*product.padding], [*product.dilation], product.groups)


def prepare(product: Product, w: Tensor, input_bits: int, signed: bool) -> Float32Product | None:
    """How to compute a product, in as few parts as its weights need; remembered as long as the weight tensor lives.

    Args:
        product: The linear map.
        w: Whole numbers in float32, which must not change in place in inference mode. # (*weight)
        input_bits: Bits of the inputs, sign included.
        signed: Whether inputs are signed.

    Returns:
        None where it takes too many parts.
    """
    if product.batched_weight or w.numel() == 0 or not isinstance(product, Conv2dProduct | MatmulProduct):
        return None
    largest, known = levels(input_bits, signed), product
    return remembered(w, ("float32", product, largest, signed), lambda: _prepare(known, w, largest, signed))


def _prepare(product: Conv2dProduct | MatmulProduct, w: Tensor, largest: int, signed: bool) -> Float32Product | None:
    has_groups = isinstance(product, Conv2dProduct) and product.groups > 1
    edges = edges_below_limit(w, largest, signed, 1 if has_groups else _MOST_PARTS)
    if edges is None:
        return None
    parts = [w[:, low:high] for low, high in pairwise(edges)] if len(edges) > 2 else []
    return Float32Product(product, tuple(part.detach().clone() for part in parts), edges)
