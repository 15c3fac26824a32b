"""What one call of a layer multiplies: operands as an engine takes them, and what is known of the inputs' values."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asim_lightning.engine import Product, Quantizer
from asim_lightning.nn.prepared import QuantizedWeight

_MATERIALLY_NEGATIVE = 0.01


class LayerOperands(NamedTuple):
    """The operands of a call in evaluation.

    Attributes:
        product: The linear map.
        x: Inputs, floating point, as the product takes them. # (batch, *inputs)
        integers: Integers of the weight, as the product takes them. # (*weight), or (batch, *weight)
        weight: The quantised weight, with what was prepared for it.
        quantizer: Turns x into integers.
        step: Value of one count in the output. # () or (outputs,)
    """

    product: Product
    x: Tensor
    integers: Tensor
    weight: QuantizedWeight
    quantizer: Quantizer
    step: Tensor


class InputRange(NamedTuple):
    """The values of a call's inputs; numbers, or tensors of no dimensions in a recorded graph.

    Attributes:
        signed: Whether the quantiser is signed.
        low: Smallest value.
        high: Largest value.
        stored: Range of the quantiser, where it does not depend on the batch.
    """

    signed: bool
    low: Any
    high: Any
    stored: Any = None

    @classmethod
    def read(
        cls, signed: bool, x: Tensor, stored: Tensor | None, others: Sequence[Tensor], with_ends: bool
    ) -> "tuple[InputRange, list[float]]":
        """The range of inputs, and other numbers, for which their device is waited for once.

        Args:
            signed: Whether the quantiser is signed.
            x: The inputs.
            stored: Range of the quantiser, where it does not depend on the batch. # ()
            others: What else is asked. # () each
            with_ends: Whether the smallest and largest value are asked even if the range is stored.
        """
        asked = [*others] if stored is None else [stored, *others]
        if with_ends or stored is None:
            asked = [*torch.aminmax(x.detach()), *asked]
        numbers = (
            torch.stack([each.float() for each in asked]).tolist() if with_ends else [float(x.float()) for x in asked]
        )
        own = len(numbers) - len(others)
        low, high = numbers[:2] if with_ends or stored is None else (0.0, 0.0)
        return cls(signed, low, high, None if stored is None else numbers[own - 1]), numbers[own:]

    @property
    def largest(self) -> float:
        """Largest magnitude that the quantiser covers."""
        if self.stored is not None:
            return float(self.stored)
        return float(max(-self.low, self.high) if self.signed else self.high)

    def check(self, name: str) -> None:
        """Refuse values that a layer does not take.

        Args:
            name: Full name of the layer.

        Raises:
            ValueError: A value is not finite, or is negative where the layer is unsigned.
        """
        low, high = float(self.low), float(self.high)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"Layer `{name}` needs finite inputs, got values of {low} to {high}")
        reach = max(abs(low), abs(high)) if self.stored is None else float(self.stored)
        if not self.signed and low < -_MATERIALLY_NEGATIVE * reach:
            raise ValueError(
                f"Layer `{name}` is unsigned, so its inputs must be 0 or more, got values down to {low:.4g}; set "
                "`signed_input` to true for it, in `plan.rules` or where the layer is made"
            )

    def check_recorded(self, name: str) -> None:
        """The same in a compiled or exported graph, which cannot say the values."""
        allowed, words = self.low.isfinite() & self.high.isfinite(), "finite inputs"
        if not self.signed:
            reach = self.high.abs().maximum(self.low.abs()) if self.stored is None else self.stored
            allowed, words = allowed & (self.low >= -_MATERIALLY_NEGATIVE * reach), "finite inputs of 0 or more"
        torch._assert_async(allowed, f"Layer `{name}` needs {words}")
