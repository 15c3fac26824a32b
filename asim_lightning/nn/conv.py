"""Quantised convolutions: digital, and on a macro."""

from functools import cache
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from asim_lightning.circuit import MacroConfig, schedule
from asim_lightning.engine import Conv2dProduct, MatmulProduct, Product
from asim_lightning.engine.torch_modes import is_exported
from asim_lightning.nn.assignment import Assignment
from asim_lightning.nn.layer_forms import HeldWeight
from asim_lightning.nn.on_macro import OnMacro
from asim_lightning.nn.quantized import QuantizedLayer


class QuantizedConv(QuantizedLayer):
    """Base of quantised convolutions."""

    weight: Tensor
    bias: Tensor | None
    in_channels: int
    kernel_size: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Any
    transposed: bool

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; the output has the type and device of x.

        # (batch, in channels, *size) to (batch, out channels, *out size), or without batch
        """
        batch, weight = self._called_with(x)
        y = self.rearranged(self._answer(batch, weight, self.held_bias))
        return y if x.dim() == batch.dim() else y.squeeze(0)

    def _called_with(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        x, axes = inputs[0], len(self.kernel_size)
        fits = x.dim() in (axes + 1, axes + 2) and x.shape[-axes - 1] == self.in_channels
        size = "height, width" if axes == 2 else "length"
        self._check_inputs(fits, f"(batch, {self.in_channels}, {size})", x)
        for axis in range(0 if self.transposed else axes):
            span = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            pad = 0 if isinstance(self.padding, str) else 2 * int(self.padding[axis])
            if self.padding != "same" and x.shape[axis - axes] + pad < span:
                raise ValueError(
                    f"Layer `{self.name}` needs images of at least its kernel's {span} rows or columns, padding "
                    f"included, got {tuple(x.shape[-axes:])} and padding {pad}"
                )
        return (x.unsqueeze(0) if x.dim() == axes + 1 else x), self.weight

    def _convolution(self, x: Tensor, w: Tensor) -> tuple[Conv2dProduct, Tensor, Tensor]:
        """The convolution of images that the layer computes, and its operands."""
        raise NotImplementedError

    def _product(self, x: Tensor, w: Tensor) -> tuple[Product, Tensor, Tensor]:
        return self._convolution(x, w)

    def _float(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        conv, x, w = self._convolution(x, w)
        w, bias = self._in_type_of(x, w, bias)
        return F.conv2d(x, w, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


class _QuantizedConv2d(QuantizedConv, HeldWeight):
    """Convolution of integers; subclasses multiply them digitally or on a macro."""

    def _held_weight(self, w: Tensor) -> Tensor:
        return self.held_weight()

    def _convolution(self, x: Tensor, w: Tensor) -> tuple[Conv2dProduct, Tensor, Tensor]:
        x, padding = self.padded(x)
        return Conv2dProduct(self.stride, padding, self.dilation, self.groups), x, w  # type: ignore[arg-type]


class QuantConv2d(_QuantizedConv2d):
    """Digital convolution of integers, without macro, noise or ADC, such as a network's first.

    It takes the arguments of torch.nn.Conv2d, with padding "same" for any stride, and of `OnMacro`, with the bits of
    weights and inputs (signs included) instead of a macro.
    """

    def _setup(  # type: ignore[override]
        self,
        weight_bits: int = 8,
        input_bits: int = 8,
        signed_input: bool = True,
        input_range: str = "batch",
        per_channel: bool = False,
        name: str = "",
        device: Any = None,
    ) -> None:
        self._bits = _checked_bits(weight_bits, input_bits, signed_input)
        super()._setup(signed_input, input_range, per_channel, name, device)

    def check_assignment(self, assignment: Assignment) -> tuple[int, int]:
        """See `QuantizedLayer.check_assignment`."""
        return _checked_bits(*assignment.digital_bits, self.signed_input)


@cache
def _checked_bits(weight_bits: int, input_bits: int, signed_input: bool) -> tuple[int, int]:
    """The bits; refuses bits that no macro takes, because a digital convolution has the same limits."""
    schedule(MacroConfig(weight_bits=weight_bits, input_bits=input_bits), signed_input)
    return weight_bits, input_bits


class CimConv2d(OnMacro, _QuantizedConv2d):
    """Convolution on a macro: groups, depthwise, rectangular kernels, dilation, every padding mode, "same".

    A tile holds whole kernels of as many input channels as fit its rows; no input channel is left out. It takes the
    arguments of torch.nn.Conv2d, with padding "same" for any stride, and of `OnMacro`.
    """

    def _product(self, x: Tensor, w: Tensor) -> tuple[Product, Tensor, Tensor]:
        conv, x, w = self._convolution(x, w)
        dense = all(d == 1 or k == 1 for d, k in zip(self.dilation, self.kernel_size, strict=True))
        is_linear = dense and self.groups == 1 and conv.padding == (0, 0) and x.shape[2:] == w.shape[2:]
        # a recorded network may get larger images; layers that share macros are placed before there is an image
        if not is_linear or is_exported() or self.macro.static.is_reused:
            return conv, x, w
        # a kernel as large as its input is a linear layer, and fills rows like a linear layer
        return MatmulProduct(), x.flatten(1), w.flatten(1)
