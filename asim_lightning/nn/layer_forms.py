"""Layer classes that compute a plain product, of torch, timm, and subclasses that change nothing; and what special
convolutions do to weight and padding.

timm's classes are recognised by their names, as layers do not import timm.
"""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

_SAME = ("Conv2dSame", "StdConv2dSame", "ScaledStdConv2dSame")
_STANDARDIZED = ("StdConv2d", "StdConv2dSame", "ScaledStdConv2d", "ScaledStdConv2dSame")


@dataclass(frozen=True)
class Standardization:
    """Weight standardisation: each output channel's weights less their mean, over their deviation, times a gain.

    ``w' = (w - mean) / sqrt(var + eps) * gain * scale``, mean and variance over all weights of the output channel
    (arXiv 1903.10520; with gain and scale arXiv 2101.08692). A macro holds w'.

    Attributes:
        eps: What is added to a variance.
        scale: Factor beside a learned gain.
    """

    eps: float
    scale: float = 1.0

    def apply(self, weight: Tensor, gain: Tensor | None) -> Tensor:
        """The standardised weight. # (outputs, ...)"""
        factor = None if gain is None else (gain * self.scale).view(-1)
        flat = weight.reshape(1, weight.shape[0], -1)
        return F.batch_norm(flat, None, None, factor, training=True, momentum=0.0, eps=self.eps).reshape_as(weight)


@dataclass(frozen=True)
class ConvForm:
    """How a convolution differs from torch.nn.Conv2d.

    Attributes:
        same: Whether it pads as TensorFlow does, for any stride.
        standardization: Standardisation of its weight; None where there is none.
    """

    same: bool = False
    standardization: Standardization | None = None


def conv_form(conv: nn.Conv2d) -> ConvForm | None:
    """How a convolution differs from torch.nn.Conv2d; None where its class may compute something else."""
    kind = type(conv)
    if not is_called_plainly(conv):
        return None
    if kind.forward is nn.Conv2d.forward and kind._conv_forward is nn.Conv2d._conv_forward:
        return ConvForm()
    if not _is_timms(kind, (*_SAME, *_STANDARDIZED)):
        return None
    layer: Any = conv
    same = kind.__name__ in _SAME and getattr(layer, "same_pad", True)
    if kind.__name__ not in _STANDARDIZED:
        return ConvForm(same)
    return ConvForm(same, Standardization(layer.eps, getattr(layer, "scale", 1.0)))


def is_plain_linear(linear: nn.Linear) -> bool:
    """Whether a linear layer computes what torch.nn.Linear does."""
    plain = type(linear).forward is nn.Linear.forward or _is_timms(type(linear), ("Linear",))
    return plain and is_called_plainly(linear)


def is_plain_conv(conv: nn.Module, kind: type) -> bool:
    """Whether a convolution computes what a class of torch's does."""
    names = ("forward", "_conv_forward", "_output_padding")
    same = all(getattr(type(conv), name, None) is getattr(kind, name, None) for name in names)
    return isinstance(conv, kind) and same and is_called_plainly(conv)


def is_called_plainly(module: nn.Module) -> bool:
    """Whether calling a module runs its class's forward: neither forward nor __call__ is replaced."""
    return "forward" not in vars(module) and type(module).__call__ is nn.Module.__call__


def _is_timms(kind: type, names: tuple[str, ...]) -> bool:
    return kind.__name__ in names and kind.__module__.split(".")[0] == "timm"


class HeldWeight(nn.Conv2d):
    """A convolution whose macro holds its weight, standardised where the convolution standardises it."""

    standardization: Standardization | None = None
    gain: nn.Parameter | None

    def take_form(self, conv: nn.Conv2d, form: ConvForm) -> None:
        """Take over another convolution's form and its gain."""
        self.standardization = form.standardization
        if isinstance(gain := getattr(conv, "gain", None), nn.Parameter) and form.standardization is not None:
            self.gain = gain

    def held_weight(self) -> Tensor:
        """The weight that the macro holds. # (outputs, channels a group, kernel height, kernel width)"""
        if self.standardization is None:
            return self.weight
        return self.standardization.apply(self.weight, getattr(self, "gain", None))


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Padding before and after one axis so that the output has ``ceil(size / stride)`` elements.

    An odd total puts the extra element behind, as TensorFlow and torch do.
    """
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2
