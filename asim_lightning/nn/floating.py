"""Float layers between simulated layers; a sample's output does not depend on the rest of its batch.

The last bit of a float32 product depends on batch and threads, and a quantiser behind it can turn that bit into a whole
step. Sums in float64, rounded to float32 once, depend on neither.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning.nn.layer_forms import HeldWeight, check_plain, pads_same, standardization_of


def reproducible(x: Tensor) -> Tensor:
    """The tensor in the type in which float layers sum: float64 if the device has it."""
    return x if x.device.type == "mps" else x.double()


class Reproducible(nn.Module):
    """Base of torch's layers that stay in floating point: inherit it before torch's class."""

    @classmethod
    def from_float(cls, module: nn.Module) -> Any:
        """The same layer; parameters are shared."""
        layer = cls.__new__(cls)
        layer.__dict__ = module.__dict__.copy()
        return layer

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output, with sums in float64 in evaluation."""
        if self.training:
            return super().forward(input, *args, **kwargs)  # type: ignore[misc,no-any-return]
        exact = copy.copy(self)
        exact._parameters = {}
        for name in ("weight", "bias"):  # a weight that a hook has computed is no parameter
            value = getattr(self, name)
            vars(exact)[name] = None if value is None else reproducible(value)
        with torch.autocast(input.device.type, enabled=False):
            return super(Reproducible, exact).forward(reproducible(input), *args, **kwargs).to(input.dtype)  # type: ignore[misc,no-any-return]


class FloatConv2d(Reproducible, HeldWeight):
    """A convolution that stays in floating point."""

    same_padding: bool = False
    """Whether padding follows TensorFlow's "same" for any stride."""

    @classmethod
    def from_float(cls, module: Any) -> "FloatConv2d":
        """The same convolution, if its class is known; parameters are shared."""
        check_plain(module, nn.Conv2d, cls)
        layer: FloatConv2d = super().from_float(module)
        layer.same_padding, layer.standardization = pads_same(module), standardization_of(module)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Convolve. # (batch, in channels, height, width) to (batch, out channels, out height, out width)"""
        if self.same_padding:
            (top, left), (bottom, right) = self.same_pads(x)
            x = F.pad(x, [left, right, top, bottom])
        if self.training:
            return self._conv_forward(x, self.held_weight(), self.bias)
        bias = None if self.bias is None else reproducible(self.bias)
        with torch.autocast(x.device.type, enabled=False):
            return self._conv_forward(reproducible(x), reproducible(self.held_weight()), bias).to(x.dtype)


class FloatLinear(Reproducible, nn.Linear):
    """A linear layer that stays in floating point."""

    def forward(self, x: Tensor, with_bias: bool = True) -> Tensor:
        """Multiply, with the layer's bias or without. # (..., in features) to (..., out features)"""
        bias: Any = self.bias if with_bias else None
        if self.training:
            return F.linear(x, self.weight, bias)
        bias = None if bias is None else reproducible(bias)
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(reproducible(x), reproducible(self.weight), bias).to(x.dtype)


class FloatConv1d(Reproducible, nn.Conv1d):
    """A 1-D convolution that stays in floating point."""


class FloatConvTranspose2d(Reproducible, nn.ConvTranspose2d):
    """A transposed convolution that stays in floating point."""


class FloatMatmul(nn.Module):
    """``x @ w^T`` in floating point; a sample's output depends only on the sample."""

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Multiply. # (batch, ..., m, k), (batch, ..., n, k) to (batch, ..., m, n)"""
        if self.training:
            return x @ w.transpose(-1, -2)
        with torch.autocast(x.device.type, enabled=False):
            return (reproducible(x) @ reproducible(w).transpose(-1, -2)).to(x.dtype)
