"""Linear layers on a macro: with a weight of their own, or one that comes with each call."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import MatmulProduct, Product
from asim_lightning.nn.layer_forms import is_plain_linear
from asim_lightning.nn.on_macro import OnMacro


class _LinearOnMacro(OnMacro):
    """``x @ w^T + bias``."""

    def _float(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, *self._in_type_of(x, w, bias))

    def _product(self, x: Tensor, w: Tensor) -> tuple[Product, Tensor, Tensor]:
        return MatmulProduct(), x, w


class CimLinear(_LinearOnMacro, nn.Linear):
    """Linear layer on a macro, with any leading dimensions; a tile holds `rows` consecutive input features.

    Args:
        in_features: Input features.
        out_features: Output features.
        bias: Whether a bias is added, in floating point.
        macro: The macro.
        signed_input: Whether inputs are signed (unsigned: 0 or more).
        input_range: "batch", "calibrated" or "pact".
        per_channel: Whether each output's weights have a scale of their own.
        name: Full name in the network; keys the noise.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        macro: MacroConfig,
        signed_input: bool = False,
        input_range: str = "batch",
        per_channel: bool = False,
        name: str = "",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        nn.Linear.__init__(self, in_features, out_features, bias, device=device, dtype=dtype)
        self._setup(signed_input, input_range, per_channel, name, device)
        self.macro = macro

    @classmethod
    def from_float(
        cls,
        linear: nn.Linear,
        macro: MacroConfig,
        signed_input: bool = False,
        input_range: str = "batch",
        **settings: Any,
    ) -> "CimLinear":
        """A linear layer on a macro that shares a float layer's parameters.

        Raises:
            ValueError: The layer is of a subclass, whose forward may compute something else.
        """
        if not is_plain_linear(linear):
            raise ValueError(f"{cls.__name__} takes a torch.nn.Linear or timm's, got {type(linear).__name__}")
        layer = cls(
            linear.in_features,
            linear.out_features,
            linear.bias is not None,
            macro=macro,
            signed_input=signed_input,
            input_range=input_range,
            device="meta",
            **settings,
        )
        shared: CimLinear = layer._with_parameters_of(linear)
        return shared

    def forward(self, x: Tensor, with_bias: bool = True) -> Tensor:
        """Multiply.

        Args:
            x: Floating point. # (..., in features)
            with_bias: Whether the layer's bias is added, where it has one; modules that call a function on the layer's
                weight may add another.

        Returns:
            Same type and device as x. # (..., out features)

        Raises:
            ValueError: x has another shape or type, is not finite, or is negative where the layer is unsigned.
        """
        batch, weight = self._called_with(x)
        y = self._answer(batch, weight, self.bias if with_bias else None)
        return y if x.dim() > 1 else y.squeeze(0)

    def _called_with(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        x = inputs[0]
        self._check_input(x, x.dim() > 0 and x.shape[-1] == self.in_features, f"(..., {self.in_features})")
        return (x.unsqueeze(0) if x.dim() == 1 else x), self.weight


class CimFunctionalLinear(_LinearOnMacro):
    """``x @ weight^T`` on a macro, with a weight that comes with each call, such as another module's parameter.

    The weight has no batch dimension.

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
