"""Float layers between simulated ones, whose output for a sample does not depend on the rest of its batch.

The last bit of a float32 product depends on batch and threads, and a quantiser behind it can turn that bit into a whole
step. Sums in float64 that are rounded to float32 once do not depend on either.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning.nn.layer_forms import HeldWeight, conv_form, same_padding


def reproducible(x: Tensor) -> Tensor:
    """The tensor in the type in which float layers sum: float64 where the device has it."""
    return x if x.device.type == "mps" else x.double()


class FloatConv2d(HeldWeight):
    """A convolution that stays in floating point."""

    same_padding: bool = False
    """Whether padding follows TensorFlow's "same" for any stride."""

    @classmethod
    def from_float(cls, conv: nn.Conv2d) -> "FloatConv2d":
        """The same convolution; parameters are shared.

        Raises:
            ValueError: Its class may compute something else.
        """
        form = conv_form(conv)
        if form is None:
            raise ValueError(f"{cls.__name__} takes a convolution that it knows, got {type(conv).__name__}")
        layer = cls.__new__(cls)
        layer.__dict__ = conv.__dict__.copy()
        layer.same_padding, layer.standardization = form.same, form.standardization
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Convolve. # (batch, in channels, height, width) to (batch, out channels, out height, out width)"""
        if self.same_padding:
            x = F.pad(x, self._same_pads(x))
        if self.training:
            return self._conv_forward(x, self.held_weight(), self.bias)
        bias = None if self.bias is None else reproducible(self.bias)
        with torch.autocast(x.device.type, enabled=False):
            return self._conv_forward(reproducible(x), reproducible(self.held_weight()), bias).to(x.dtype)

    def _same_pads(self, x: Tensor) -> list[int]:
        pads: list[int] = []
        for axis in (1, 0):  # F.pad starts with the last axis
            pads += same_padding(x.shape[2 + axis], self.kernel_size[axis], self.stride[axis], self.dilation[axis])
        return pads


class Reproducible(nn.Module):
    """Base of a layer of torch's that stays in floating point: put before torch's class."""

    @classmethod
    def from_float(cls, module: nn.Module) -> Any:
        """The same layer; parameters are shared."""
        layer = cls.__new__(cls)
        layer.__dict__ = module.__dict__.copy()
        return layer

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's own answer, with sums in float64 in evaluation."""
        if self.training:
            return super().forward(input, *args, **kwargs)  # type: ignore[misc,no-any-return]
        exact = copy.copy(self)
        exact._parameters = {}
        for name in ("weight", "bias"):  # a weight that a hook has computed is no parameter
            value = getattr(self, name)
            vars(exact)[name] = None if value is None else reproducible(value)
        with torch.autocast(input.device.type, enabled=False):
            return super(Reproducible, exact).forward(reproducible(input), *args, **kwargs).to(input.dtype)  # type: ignore[misc,no-any-return]


class FloatLinear(nn.Linear):
    """A linear layer that stays in floating point."""

    @classmethod
    def from_float(cls, linear: nn.Linear) -> "FloatLinear":
        """The same layer; parameters are shared."""
        layer = cls.__new__(cls)
        layer.__dict__ = linear.__dict__.copy()
        return layer

    def forward(self, x: Tensor, with_bias: bool = True) -> Tensor:
        """Multiply, with the layer's bias or without. # (..., in features) to (..., out features)"""
        bias: Any = self.bias if with_bias else None
        if self.training:
            return F.linear(x, self.weight, bias)
        bias = None if bias is None else reproducible(bias)
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(reproducible(x), reproducible(self.weight), bias).to(x.dtype)
