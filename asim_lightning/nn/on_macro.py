"""What layers on a macro share: the macro, and the choice between its quantised and its simulated product."""

import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.engine import Product, exact, run
from asim_lightning.nn.quantized import QuantizedLayer


class OnMacro(QuantizedLayer):
    """A quantised layer whose product a macro computes."""

    @property
    def macro(self) -> MacroConfig:
        """The macro; another one may be assigned."""
        return self._macro

    @macro.setter
    def macro(self, macro: MacroConfig) -> None:
        if not isinstance(macro, MacroConfig):
            raise ValueError(f"`macro` must be a MacroConfig, got {macro!r}")
        transfer(macro, self.signed_input)  # refuses what the macro cannot take
        self._macro = macro

    @property
    def transfer(self) -> Transfer:
        """Schedule and column of the macro for this layer's input."""
        return transfer(self.macro, self.signed_input)

    @property
    def weight_bits(self) -> int:
        """Bits of a weight, sign included."""
        return self.macro.weight_bits

    @property
    def input_bits(self) -> int:
        """Bits of an input, sign included where it is signed."""
        return self.macro.input_bits

    def extra_repr(self) -> str:
        """Geometry, quantiser settings and the macro's main figures."""
        m = self.macro
        return f"{super().extra_repr()}, W{m.weight_bits}A{m.input_bits} rows={m.rows} adc_bits={m.adc_bits}"

    def _multiply(self, product: Product, x: Tensor, w: Tensor) -> Tensor:
        """Product of integers in counts: exact for the quantised fidelity, else what the macro makes of it."""
        if self.fidelity == "simulated":
            return self._simulate(product, x, w)
        return exact.run(product, self.macro, self.signed_input, x, w)

    @torch.compiler.disable
    def _simulate(self, product: Product, x: Tensor, w: Tensor) -> Tensor:
        return run(product, self.transfer, x, w, self._noise(x.shape[0], x.device))
