"""Products of whole numbers as tests ask for them: prepared for one call."""

from torch import Size, Tensor

from asim_lightning.engine import Product, int8
from asim_lightning.engine.exact import ExactProgram
from asim_lightning.engine.weights import Weights


def exact_sums(product: Product, x: Tensor, w: Tensor, input_bits: int, weight_bits: int, signed: bool) -> Tensor:
    """The exact product, by the fastest way that is exact."""
    return ExactProgram(product, Weights(w), input_bits, weight_bits, signed).sums(x)


def in_bytes(
    product: Product, x_shape: Size, w: Tensor, input_bits: int, weight_bits: int, signed: bool
) -> int8.Int8Product | None:
    """The product by 8-bit instructions, where they are exact for inputs of this shape."""
    found = int8.int8_product(product, w, input_bits, weight_bits, signed)
    return found if found is not None and found.is_exact(x_shape) else None
