"""Quantised convolutions, digital and on a macro, which computes 1-D and transposed ones as convolutions of images."""

from functools import cache
from math import gcd
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig, schedule
from asim_lightning.engine import Conv2dProduct, MatmulProduct, Product
from asim_lightning.engine.torch_modes import is_exported
from asim_lightning.nn.assignment import Assignment
from asim_lightning.nn.layer_forms import HeldWeight, padded
from asim_lightning.nn.on_macro import OnMacro
from asim_lightning.nn.quantized import QuantizedLayer


class QuantizedConv(QuantizedLayer):
    """Base of quantised convolutions."""

    weight: Tensor
    in_channels: int
    kernel_size: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Any
    transposed: bool
    has_rows = False

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
        x, padding = padded(self, x)
        return Conv2dProduct(self.stride, padding, self.dilation, self.groups), x, w  # type: ignore[arg-type]


class QuantConv2d(_QuantizedConv2d):
    """Digital convolution of integers, without macro, noise or ADC, such as a network's first.

    It takes the arguments of torch.nn.Conv2d, with padding "same" for any stride, and of `OnMacro`, with the bits of
    weights and inputs (signs included) instead of a macro.

    Examples:
        >>> import torch
        >>> from asim_lightning.nn import QuantConv2d
        >>> stem = QuantConv2d(3, 8, kernel_size=3, weight_bits=8, input_bits=8, signed_input=True).eval()
        >>> stem(torch.randn(1, 3, 9, 9)).shape
        torch.Size([1, 8, 7, 7])
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

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.nn import CimConv2d
        >>> layer = CimConv2d(3, 8, kernel_size=3, stride=2, macro=MacroConfig(rows=63)).eval()
        >>> layer(torch.rand(1, 3, 9, 9)).shape
        torch.Size([1, 8, 4, 4])
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


class CimConv1d(OnMacro, QuantizedConv, nn.Conv1d):
    """1-D convolution on a macro, as a convolution of images with one row: groups, dilation, every padding mode.

    It takes the arguments of torch.nn.Conv1d and of `OnMacro`.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.nn import CimConv1d
        >>> layer = CimConv1d(3, 8, kernel_size=3, padding=1, macro=MacroConfig(rows=63)).eval()
        >>> layer(torch.rand(1, 3, 10)).shape
        torch.Size([1, 8, 10])
    """

    def _held_weight(self, w: Tensor) -> Tensor:
        return w.unsqueeze(2)

    def _convolution(self, x: Tensor, w: Tensor) -> tuple[Conv2dProduct, Tensor, Tensor]:
        x, (padding,) = padded(self, x, for_any_size=True)
        conv = Conv2dProduct((1, self.stride[0]), (0, padding), (1, self.dilation[0]), self.groups)
        return conv, x.unsqueeze(2), w

    def rearranged(self, y: Tensor) -> Tensor:
        """See `QuantizedLayer.rearranged`."""
        return y.squeeze(2)


class CimConvTranspose2d(OnMacro, QuantizedConv, nn.ConvTranspose2d):  # type: ignore[misc]
    """Transposed convolution on a macro, without inserted zeros: a convolution with ``stride * stride`` outputs for
    each output channel.

    A transposed convolution inserts zeros between pixels. At every ``stride``-th output, a window meets the same zeros.
    So a macro holds a column for each of the ``stride * stride`` neighbouring outputs of an output channel, with all
    input channels and the kernel elements that meet pixels. These columns read the same window of
    ``ceil(kernel / stride)`` pixels a side (a dilated kernel counts with its gaps). If the stride does not divide the
    kernel, some outputs meet fewer pixels, and their other cells hold weights of 0. Outputs of the first and last
    windows that are outside the output image are converted, too.

    It takes the arguments of torch.nn.ConvTranspose2d and of `OnMacro`. With `per_channel`, each neighbouring output
    also has its own scale.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.nn import CimConvTranspose2d
        >>> layer = CimConvTranspose2d(8, 3, kernel_size=2, stride=2, macro=MacroConfig(rows=63)).eval()
        >>> layer(torch.rand(1, 8, 4, 4)).shape
        torch.Size([1, 3, 8, 8])
    """

    def check_assignment(self, assignment: Assignment) -> tuple[int, int]:
        """See `QuantizedLayer.check_assignment`; refuses a geometry that the layer cannot compute."""
        if not meets_inputs(self):
            raise ValueError(
                "a transposed convolution needs a kernel of at least its stride, and a dilation that shares no factor "
                f"with the stride, so that every output meets an input, got kernel {self.kernel_size}, stride "
                f"{self.stride}, dilation {self.dilation}"
            )
        return super().check_assignment(assignment)

    def _taps(self, axis: int) -> tuple[list[list[int]], int]:
        """Kernel element that meets each pixel of a window, for each neighbouring output (one past the last element: no
        element), and the first pixel of the first window. # (stride, pixels)"""
        kernel, stride, dilation = self.kernel_size[axis], self.stride[axis], self.dilation[axis]
        first = -(dilation * (kernel - 1) // stride)
        met = {element * dilation: element for element in range(kernel)}
        taps = [[met.get(output - stride * pixel, kernel) for pixel in range(first, 1)] for output in range(stride)]
        return taps, first + int(self.padding[axis]) // stride

    def _held_weight(self, w: Tensor) -> Tensor:
        down, right = (torch.tensor(self._taps(axis)[0], device=w.device) for axis in (0, 1))
        w = w.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1)  # (outputs, channels of a group, kernel)
        w = F.pad(w, (0, 1, 0, 1))[:, :, down][..., right]  # (outputs, channels, stride, height, stride, width)
        return w.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)

    def _outside(self, axis: int, size: int) -> tuple[int, int, int]:
        """Outputs of an image of `size` pixels, and outputs of the first and last windows outside the image."""
        stride, padding = self.stride[axis], int(self.padding[axis])
        span = self.dilation[axis] * (self.kernel_size[axis] - 1) + self.output_padding[axis] + 1
        outputs, before = (size - 1) * stride - 2 * padding + span, padding % stride
        return outputs, before, -(before + outputs) % stride

    def _convolution(self, x: Tensor, w: Tensor) -> tuple[Conv2dProduct, Tensor, Tensor]:
        pads: list[int] = []
        for axis in (1, 0):  # F.pad starts with the last axis
            (taps, first), size = self._taps(axis), x.shape[2 + axis]
            windows = sum(self._outside(axis, size)) // self.stride[axis]
            pads += [-first, first + windows + len(taps[0]) - 1 - size]
        return Conv2dProduct((1, 1), (0, 0), (1, 1), self.groups), F.pad(x, pads), w

    def rearranged(self, y: Tensor) -> Tensor:
        """See `QuantizedLayer.rearranged`."""
        y = y.unflatten(1, (self.out_channels, *self.stride)).permute(0, 1, 4, 2, 5, 3).flatten(4).flatten(2, 3)
        (_, top, bottom), (_, left, right) = (self._outside(axis, 0) for axis in (0, 1))
        return F.pad(y, (-left, -right, -top, -bottom))


def meets_inputs(conv: nn.ConvTranspose2d) -> bool:
    """Whether every output of a transposed convolution meets an input, which `CimConvTranspose2d` needs."""
    axes = zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)
    return all(kernel >= stride and gcd(dilation, stride) == 1 for kernel, stride, dilation in axes)
