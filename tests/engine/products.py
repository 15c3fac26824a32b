"""Products of whole numbers as tests ask for them: kinds of them, in plain integers, and prepared for one call."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Size, Tensor

from asim_lightning.engine import Conv2dProduct, MatmulProduct, Noise, Product, int8, noise_context
from asim_lightning.engine.exact import ExactProgram
from asim_lightning.engine.stored_weights import Weights

PRODUCTS: dict[str, Product] = {
    "convolution": Conv2dProduct((2, 1), (1, 2), (1, 2), 2),
    "linear": MatmulProduct(),
    "attention": MatmulProduct(batched_weight=True),
}
NOISY: dict[str, Any] = {"random_noise": 0.2, "nonlinear_noise": 0.05}
"""Of a macro that every conversion is made for."""


def noise_of(rows: int, ids: range | None = None, **read: Any) -> Noise:
    """Noise of so many samples, by default from number 5 on."""
    with noise_context(seed=3, sample_ids=ids or range(5, 5 + rows), **read) as scope:
        return scope.source("layer", rows, torch.device("cpu"))


def silent(rows: int) -> Noise:
    """What an engine is given where nothing is noisy."""
    return Noise(0, "", 0, 0, 0, torch.arange(rows), torch.zeros(rows).long())


def in_integers(product: Product, x: Tensor, w: Tensor) -> Tensor:
    """The product in torch's 64-bit integers."""
    if isinstance(product, Conv2dProduct):
        return F.conv2d(x.long(), w.long(), None, product.stride, product.padding, product.dilation, product.groups)
    return x.long() @ w.long().T


def exact_sums(product: Product, x: Tensor, w: Tensor, input_bits: int, weight_bits: int, signed: bool) -> Tensor:
    """The exact product, by the fastest way that is exact."""
    return ExactProgram(product, Weights(w), input_bits, weight_bits, signed).sums(x)


def in_bytes(
    product: Product, x_shape: Size, w: Tensor, input_bits: int, weight_bits: int, signed: bool
) -> int8.Int8Product | None:
    """The product by 8-bit instructions, where they are exact for inputs of this shape."""
    found = int8.int8_product(product, w, input_bits, weight_bits, signed)
    return found if found is not None and found.is_exact(x_shape) else None
