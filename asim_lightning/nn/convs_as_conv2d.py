"""1-D and transposed convolutions, which a macro computes as convolutions of images."""

from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning.engine import Conv2dProduct
from asim_lightning.nn.assignment import Assignment
from asim_lightning.nn.conv import QuantizedConv
from asim_lightning.nn.on_macro import OnMacro


class CimConv1d(OnMacro, QuantizedConv, nn.Conv1d):
    """1-D convolution on a macro, as a convolution of images with one row: groups, dilation, every padding mode.

    It takes the arguments of torch.nn.Conv1d and of `OnMacro`.
    """

    def _held_weight(self, w: Tensor) -> Tensor:
        return w.unsqueeze(2)

    def _convolution(self, x: Tensor, w: Tensor) -> tuple[Conv2dProduct, Tensor, Tensor]:
        padding = 0
        if self.padding_mode != "zeros" or isinstance(self.padding, str):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = F.pad(x, self._reversed_padding_repeated_twice, mode=mode)
        else:
            padding = int(self.padding[0])
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
    """

    def check_assignment(self, assignment: Assignment) -> tuple[int, int]:
        """See `QuantizedLayer.check_assignment`; refuses a geometry that the layer cannot compute."""
        if not meets_inputs(self):
            raise ValueError(
                f"Layer `{self.name}` needs a kernel of at least its stride, and a dilation that shares no factor with "
                f"the stride, so that every output meets an input, got kernel {self.kernel_size}, stride "
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
