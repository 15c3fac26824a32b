"""The exact engine: where every cycle returns its count and nothing is noisy, the schedule is one integer product."""

from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine.product import Product


def largest_term(macro: MacroConfig, signed_input: bool) -> int:
    """Largest magnitude of an input times a weight."""
    return (2 ** (macro.input_bits - signed_input) - 1) * (2 ** (macro.weight_bits - 1) - 1)


def run(product: Product, macro: MacroConfig, signed_input: bool, x: Tensor, w: Tensor) -> Tensor:
    """The integer product itself, in counts; the type is the narrowest that holds it. # (batch, *outputs)"""
    return product.integer(x, w, largest_term(macro, signed_input))
