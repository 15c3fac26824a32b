"""Product of two activations on a macro: QK^T and AV of attention."""

from typing import ClassVar

from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import MatmulProduct, Product
from asim_lightning.nn.on_macro import OnMacro


class CimMatmul(OnMacro):
    """``x @ w^T`` of two activations: w is written into the macro's cells, x is applied to its rows and encoded.

    w has `weight_bits` signed bits, x has `input_bits`, signed or not; each has a range per tensor. Every matrix of the
    leading dimensions has its own macro. The layer takes the arguments of `OnMacro`.
    """

    ranges: ClassVar = {"input_max": "has_range", "weight_max": "has_weight_range"}

    def __init__(
        self, macro: MacroConfig, signed_input: bool = True, input_range: str = "batch", name: str = ""
    ) -> None:
        super().__init__(macro=macro, signed_input=signed_input, input_range=input_range, name=name)

    def calibrate(self, x: Tensor, w: Tensor, method: str = "max") -> None:  # type: ignore[override]
        """Fit the ranges of both operands to one batch, store them, and use them from now on."""
        for values in (x, w if self.signed_input else w.abs()):
            self.check_values(values)
        self._fit(method, x, w)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Multiply an encoded and a stored operand; the output has the type and device of x.

        # (batch, ..., m, k), (batch, ..., n, k) to (batch, ..., m, n)
        """
        return self._answer(*self._called_with(x, w))

    def _float(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        return x @ w.transpose(-1, -2)

    def _product(self, x: Tensor, w: Tensor) -> tuple[Product, Tensor, Tensor]:
        return MatmulProduct(batched_weight=True), x, w

    def _called_with(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        x, w = inputs
        fits = 2 < x.dim() == w.dim() and x.shape[:-2] == w.shape[:-2] and x.shape[-1] == w.shape[-1]
        self._check_inputs(fits, "(batch, ..., m, k) and (batch, ..., n, k)", x, w)
        return x, w
