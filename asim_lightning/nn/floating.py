"""Float layers between simulated layers; a sample's output does not depend on the rest of its batch.

The last bit of a float32 product depends on batch and threads, and a quantiser behind it can turn that bit into a whole
step. Sums in float64, rounded to float32 once, depend on neither.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning.nn.layer_forms import HeldWeight, check_plain, timms_form


def product(in_training: bool, function: Callable[..., Tensor], x: Tensor, *others: Tensor | None) -> Tensor:
    """A function of tensors, in the type of the first one; in evaluation with sums in float64 if the device has it."""
    if in_training:
        return function(x, *others)
    wide = [each if each is None or x.device.type == "mps" else each.double() for each in (x, *others)]
    with torch.autocast(x.device.type, enabled=False):
        return function(*wide).to(x.dtype)


class Reproducible(nn.Module):
    """Base of torch's layers that stay in floating point: inherit it before torch's class."""

    @classmethod
    def from_float(cls, module: nn.Module) -> Any:
        """The same layer, if its class is known; parameters are shared."""
        check_plain(module, cls)
        layer = cls.__new__(cls)
        layer.__dict__ = module.__dict__ | timms_form(module)
        return layer

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The output of a convolution, with sums in float64 in evaluation."""
        conv: Any = self

        def convolved(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return conv._conv_forward(x, weight, bias, *args, **kwargs)  # type: ignore[no-any-return]

        weight = conv.held_weight() if isinstance(conv, HeldWeight) else conv.weight
        return product(self.training, convolved, input, weight, conv.bias)


class FloatConv2d(Reproducible, HeldWeight):
    """A convolution that stays in floating point.

    Examples:
        >>> import torch
        >>> from asim_lightning.nn import FloatConv2d
        >>> FloatConv2d(3, 8, kernel_size=3)(torch.rand(1, 3, 9, 9)).shape
        torch.Size([1, 8, 7, 7])
    """


class FloatLinear(Reproducible, nn.Linear):
    """A linear layer that stays in floating point.

    Examples:
        >>> import torch
        >>> from asim_lightning.nn import FloatLinear
        >>> FloatLinear(4, 2)(torch.rand(3, 4)).shape
        torch.Size([3, 2])
    """

    def forward(self, x: Tensor, with_bias: bool = True) -> Tensor:
        """Multiply, with the layer's bias or without. # (..., in features) to (..., out features)"""
        return product(self.training, F.linear, x, self.weight, self.bias if with_bias else None)


class FloatConv1d(Reproducible, nn.Conv1d):
    """A 1-D convolution that stays in floating point."""


class FloatConvTranspose2d(Reproducible, nn.ConvTranspose2d):
    """A transposed convolution that stays in floating point."""

    def _conv_forward(self, x: Tensor, w: Tensor, bias: Tensor | None, output_size: Any = None) -> Tensor:
        conv: Any = self
        padding = conv._output_padding(x, output_size, conv.stride, conv.padding, conv.kernel_size, 2, conv.dilation)
        return F.conv_transpose2d(x, w, bias, conv.stride, conv.padding, padding, conv.groups, conv.dilation)


class FloatMatmul(nn.Module):
    """``x @ w^T`` in floating point; a sample's output depends only on the sample.

    Examples:
        >>> import torch
        >>> from asim_lightning.nn import FloatMatmul
        >>> FloatMatmul()(torch.eye(2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[1., 3.],
                [2., 4.]])
    """

    def forward(self, x: Tensor, w: Tensor, ends: Tensor | None = None) -> Tensor:
        """Multiply. # (batch, ..., m, k), (batch, ..., n, k) to (batch, ..., m, n)

        With `ends`, rows of x belong to groups, see `of_groups`. # (rows, k), (groups, n, k), (groups,) to (rows, n)
        """
        if ends is None:
            return product(self.training, torch.matmul, x, w.transpose(-1, -2))
        return of_groups(lambda group, rows: product(self.training, F.linear, rows, w[group]), x, ends)


def of_groups(multiply: Callable[[int, Tensor], Tensor], x: Tensor, ends: Tensor) -> Tensor:
    """Results of consecutive groups of rows, one after the other; group g ends before row ``ends[g]``.

    `multiply` gets the number of each group and its rows, also of a group without rows. Rows after the last group give
    0. # (rows, k), (groups,) to (rows, n)
    """
    limits = [0, *ends.tolist()]
    parts = [multiply(group, x[low:high]) for group, (low, high) in enumerate(pairwise(limits))]
    parts.append(parts[0].new_zeros(len(x) - limits[-1], parts[0].shape[-1]))
    return torch.cat(parts)
