"""The exact engine: where every cycle returns its count and nothing is noisy, the schedule is one integer product."""

from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import float32, int8
from asim_lightning.engine.product import Product
from asim_lightning.engine.recording import is_recorded
from asim_lightning.quant import levels


def run(product: Product, macro: MacroConfig, signed_input: bool, x: Tensor, w: Tensor) -> Tensor:
    """The integer product itself, in counts; the type is the narrowest that holds it. # (batch, *outputs)"""
    return multiply(product, x, w, macro.input_bits, macro.weight_bits, signed_input)


def multiply(product: Product, x: Tensor, w: Tensor, input_bits: int, weight_bits: int, signed_input: bool) -> Tensor:
    """The exact product of integers by the fastest way that is exact for these weights on this device: 8-bit
    instructions, else float32 in as few chunks as the weights need, else float64.

    Args:
        product: The linear map.
        x: Whole numbers in float32. # (batch, *inputs)
        w: Whole numbers in float32, which must not change in place in inference mode. # (*weight), or (batch, *weight)
            where the product says so
        input_bits: Bits of x, sign included where it is signed.
        weight_bits: Bits of w, sign included.
        signed_input: Whether x is signed.

    Returns:
        Whole numbers in float32, int32, int64 or float64. # (batch, *outputs)
    """
    largest = levels(input_bits, signed_input)
    limit = largest * levels(weight_bits, True)
    if is_recorded() or product.batched_weight or x.numel() == 0:
        return product.integer(x, w, limit)
    packed = int8.prepare(product, x.shape, w, input_bits, weight_bits, signed_input)
    if packed is not None:
        sums = packed.sums(packed.bytes_of(x))
        return sums.contiguous() if x.is_contiguous() else sums
    whole = float32.prepare(product, w, input_bits, signed_input)
    return product.integer(x, w, limit) if whole is None else whole.sums(x, w)
