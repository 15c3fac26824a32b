"""1-D and transposed convolutions, which a macro computes as convolutions of images."""

from math import gcd, prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning.engine import Conv2dProduct, Product
from asim_lightning.nn.conv import QuantizedConv
from asim_lightning.nn.on_macro import OnMacro


class _AsConv2d(OnMacro, QuantizedConv):
    """A convolution rearranged to a convolution of images; the macro holds the rearranged weight."""

    def _product(self, x: Tensor, w: Tensor) -> tuple[Product, Tensor, Tensor]:
        return self._conv2d, self._images(x), w

    def _float(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        conv, (w, bias) = self._conv2d, self._in_type_of(x, w, bias)
        return F.conv2d(self._images(x), w, bias, conv.stride, conv.padding, conv.dilation, conv.groups)

    @property
    def _conv2d(self) -> Conv2dProduct:
        """The convolution of images."""
        raise NotImplementedError

    def _images(self, x: Tensor) -> Tensor:
        """Its input. # (batch, in channels, height, width)"""
        raise NotImplementedError


class CimConv1d(_AsConv2d, nn.Conv1d):
    """1-D convolution on a macro, as a convolution of images with one row: groups, dilation, every padding mode.

    It takes the arguments of torch.nn.Conv1d and of `OnMacro`.
    """

    _torchs = nn.Conv1d

    def _held_weight(self, w: Tensor) -> Tensor:
        return w.unsqueeze(2)

    @property
    def held_shape(self) -> torch.Size:
        """See `OnMacro.held_shape`."""
        outputs, channels, elements = self.weight.shape
        return torch.Size((outputs, channels, 1, elements))

    @property
    def _is_padded_before(self) -> bool:
        return self.padding_mode != "zeros" or isinstance(self.padding, str)

    @property
    def _conv2d(self) -> Conv2dProduct:
        padding = 0 if self._is_padded_before else int(self.padding[0])
        return Conv2dProduct((1, self.stride[0]), (0, padding), (1, self.dilation[0]), self.groups)

    def _images(self, x: Tensor) -> Tensor:
        if self._is_padded_before:
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = F.pad(x, self._reversed_padding_repeated_twice, mode=mode)
        return x.unsqueeze(2)

    def rearranged(self, y: Tensor) -> Tensor:
        """See `QuantizedLayer.rearranged`."""
        return y.squeeze(2)


class CimConvTranspose2d(_AsConv2d, nn.ConvTranspose2d):  # type: ignore[misc]
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
    """

    _torchs = nn.ConvTranspose2d

    def _setup(self, *args: Any, **settings: Any) -> None:
        super()._setup(*args, **settings)
        if not meets_inputs(self):
            raise ValueError(
                f"Layer `{self.name}` needs a kernel of at least its stride, and a dilation that shares no factor with "
                f"the stride, so that every output meets an input, got kernel {self.kernel_size}, stride "
                f"{self.stride}, dilation {self.dilation}"
            )

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

    @property
    def held_shape(self) -> torch.Size:
        """See `OnMacro.held_shape`."""
        size = [len(self._taps(axis)[0][0]) for axis in (0, 1)]
        return torch.Size((self.out_channels * prod(self.stride), self.in_channels // self.groups, *size))

    @property
    def held_bias(self) -> Tensor | None:
        """See `QuantizedLayer.held_bias`."""
        return None if self.bias is None else self.bias.repeat_interleave(prod(self.stride))

    @property
    def _conv2d(self) -> Conv2dProduct:
        return Conv2dProduct((1, 1), (0, 0), (1, 1), self.groups)

    def _outside(self, axis: int, size: int) -> tuple[int, int, int]:
        """Outputs of an image of `size` pixels, and outputs of the first and last windows outside the image."""
        stride, padding = self.stride[axis], int(self.padding[axis])
        span = self.dilation[axis] * (self.kernel_size[axis] - 1) + self.output_padding[axis] + 1
        outputs, before = (size - 1) * stride - 2 * padding + span, padding % stride
        return outputs, before, -(before + outputs) % stride

    def _images(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (1, 0):  # F.pad starts with the last axis
            (taps, first), size = self._taps(axis), x.shape[2 + axis]
            windows = sum(self._outside(axis, size)) // self.stride[axis]
            pads += [-first, first + windows + len(taps[0]) - 1 - size]
        return F.pad(x, pads)

    def rearranged(self, y: Tensor) -> Tensor:
        """See `QuantizedLayer.rearranged`."""
        y = y.unflatten(1, (self.out_channels, *self.stride)).permute(0, 1, 4, 2, 5, 3).flatten(4).flatten(2, 3)
        (_, top, bottom), (_, left, right) = (self._outside(axis, 0) for axis in (0, 1))
        return F.pad(y, (-left, -right, -top, -bottom))


def meets_inputs(conv: nn.ConvTranspose2d) -> bool:
    """Whether every output of a transposed convolution meets an input, which `CimConvTranspose2d` needs."""
    axes = zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)
    return all(kernel >= stride and gcd(dilation, stride) == 1 for kernel, stride, dilation in axes)
