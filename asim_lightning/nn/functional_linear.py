"""Linear map on a macro with a weight that comes with each call: another module's parameter, or computed from one."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import MatmulProduct, Product
from asim_lightning.nn.on_macro import OnMacro


class CimFunctionalLinear(OnMacro):
    """``x @ weight^T`` on a macro, with a weight that is not a parameter of this layer and has no batch dimension.

    Args:
        macro: The macro.
        signed_input: Whether inputs are signed (unsigned: 0 or more).
        input_range: "batch" or "calibrated".
        per_channel: Whether each output's weights have a scale of their own.
        name: Full name in the network; keys the noise.
    """

    def __init__(
        self,
        macro: MacroConfig,
        signed_input: bool = True,
        input_range: str = "batch",
        per_channel: bool = False,
        name: str = "",
        device: Any = None,
    ) -> None:
        super().__init__()
        self._setup(signed_input, input_range, per_channel, name, device)
        self.macro = macro

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Multiply.

        Args:
            x: Floating point; the first axis is the batch. # (batch, ..., in features)
            weight: Floating point. # (out features, in features)

        Returns:
            Same type and device as x. # (batch, ..., out features)

        Raises:
            ValueError: Shapes or types do not fit, or a value is not finite.
        """
        return self._answer(*self._called_with(x, weight))

    def _float(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, *self._in_type_of(x, w))

    def _called_with(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        x, w = inputs
        if not (x.is_floating_point() and w.is_floating_point()):
            raise ValueError(f"Layer `{self.name}` needs floating-point operands, got {x.dtype} and {w.dtype}")
        if x.dim() < 2 or w.dim() != 2 or x.shape[-1] != w.shape[-1]:
            raise ValueError(
                f"Layer `{self.name}` needs operands of shapes (batch, ..., k) and (n, k), got {tuple(x.shape)} and "
                f"{tuple(w.shape)}"
            )
        return x, w

    def _product(self, x: Tensor, w: Tensor) -> tuple[Product, Tensor, Tensor]:
        return MatmulProduct(), x, w
