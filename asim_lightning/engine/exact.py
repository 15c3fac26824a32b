"""The exact engine: if every cycle returns its count without noise, the schedule is one integer product.

It also computes quantised layers without a macro.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine import float32, int8
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product
from asim_lightning.engine.program import Program, runs_everywhere
from asim_lightning.engine.quantizer import Quantizer
from asim_lightning.engine.stored_weights import Weights
from asim_lightning.engine.torch_modes import is_recorded
from asim_lightning.quant import levels

ALGORITHM = "exact"
SAME_NOISE = True
why_not_on = runs_everywhere


def refuses(transfer: Transfer) -> str | None:
    """Why a macro's outputs differ from the integer product; None if they are equal."""
    if transfer.exact:
        return None
    if any(transfer.noisy):
        return "conversions are noisy"
    why = ", because the column depends on the number of driven rows" if transfer.column.depends_on_driven else ""
    return f"some cycles do not return their count{why}"


def prefers(transfer: Transfer) -> str | None:
    """See `Engine.prefers`; preferred if nothing is lost."""
    return "every cycle returns its count, without noise: one integer product" if transfer.exact else None


def prepare(product: Product, transfer: Transfer, weights: Weights | None, chip: Chip = Chip()) -> "ExactProgram":
    """See `Engine.prepare`; the program is the integer product for any macro."""
    macro = transfer.macro
    return ExactProgram(product, weights, macro.input_bits, macro.weight_bits, transfer.signed_input)


@dataclass(eq=False)
class ExactProgram(Program):
    """A product of integers by the fastest kernel that is exact for these weights on this device.

    8-bit instructions are tried first, then float32 in as few parts as the weights need, then `Product.integer`.

    Attributes:
        input_bits: Bits of inputs, sign included if they are signed.
        weight_bits: Bits of weights, sign included.
    """

    input_bits: int
    weight_bits: int
    signed_input: bool

    def quantized(self, x: Tensor, quantizer: Quantizer) -> Tensor:
        """See `Program.quantized`."""
        kernel = self._kernel(x)
        if isinstance(kernel, int8.Int8Product):
            return quantizer.bytes(x, kernel.image)
        return quantizer.integers(x, kernel is not None and kernel.prefers_channels_last)

    def sums(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """The integer product itself, in float32, int32, int64 or float64. # (batch, *outputs)"""
        # `quantized` gives bytes for the byte kernel
        kernel = self._in_bytes() if x.dtype == torch.uint8 else self._kernel(x)
        if kernel is None:
            # a stuck sign plane gives weights of -2^(bits - 1), one beyond the quantiser's range
            limit = levels(self.input_bits, self.signed_input) * 2 ** (self.weight_bits - 1)
            return self.product.integer(x, self.w, limit)
        if isinstance(kernel, float32.Float32Product):
            return kernel.sums(x, self.w)
        if x.dtype == torch.uint8:
            return kernel.sums(x)
        sums = kernel.sums(kernel.bytes_of(x))
        return sums.contiguous() if x.is_contiguous() else sums

    def _kernel(self, x: Tensor) -> int8.Int8Product | float32.Float32Product | None:
        """The kernel for inputs of this shape; None: `Product.integer` computes the product."""
        if is_recorded() or x.numel() == 0 or self.product.batched_weight:
            return None
        in_bytes = self._in_bytes() if x.device.type == "cpu" else None
        if in_bytes is not None and in_bytes.is_exact(x.shape):
            return in_bytes
        given, bits = self.given_weights, (self.input_bits, self.signed_input)
        return given.form(("float32", self.product, *bits), lambda w: float32.float32_product(self.product, w, *bits))

    def _in_bytes(self) -> int8.Int8Product | None:
        product, bits = self.product, (self.input_bits, self.weight_bits, self.signed_input)
        return self.given_weights.form(("int8", product, *bits), lambda w: int8.int8_product(product, w, *bits))
