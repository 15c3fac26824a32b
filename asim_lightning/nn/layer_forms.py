"""Whether a layer computes the same as torch's class, and how timm's special convolutions change weight and padding.

timm's classes are recognised by their names, because layers do not import timm.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

_SAME = ("Conv2dSame", "StdConv2dSame", "ScaledStdConv2dSame")
_STANDARDIZED = ("StdConv2d", "StdConv2dSame", "ScaledStdConv2d", "ScaledStdConv2dSame")
_TIMMS: dict[type[nn.Module], tuple[str, ...]] = {nn.Conv2d: (*_SAME, *_STANDARDIZED), nn.Linear: ("Linear",)}


def is_plain(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a layer computes the same as torch's class `kind`, or as a timm class that this module knows."""
    cls = type(layer)
    if not isinstance(layer, kind) or not is_called_plainly(layer):
        return False
    names = ("forward", "_conv_forward", "_output_padding")
    return _is_timms(cls, _TIMMS.get(kind, ())) or all(
        getattr(cls, name, None) is getattr(kind, name, None) for name in names
    )


def check_plain(layer: nn.Module, kind: type[nn.Module], taker: type[nn.Module]) -> None:
    """Refuse a layer for the `taker` if it may compute something else than torch's class `kind`."""
    if not is_plain(layer, kind):
        also = f" or timm's {', '.join(_TIMMS[kind])}" if kind in _TIMMS else ""
        raise ValueError(f"{taker.__name__} takes a torch.nn.{kind.__name__}{also}, got {type(layer).__name__}")


def is_called_plainly(module: nn.Module) -> bool:
    """Whether calling a module runs its class's forward: neither forward nor __call__ is replaced."""
    return "forward" not in vars(module) and type(module).__call__ is nn.Module.__call__


def _is_timms(kind: type, names: tuple[str, ...]) -> bool:
    return kind.__name__ in names and kind.__module__.split(".")[0] == "timm"


def standardization_of(conv: nn.Conv2d) -> tuple[float, float] | None:
    """Epsilon and factor of a convolution that standardises its weight, see `HeldWeight`; None if it does not."""
    layer: Any = conv
    return (layer.eps, getattr(layer, "scale", 1.0)) if _is_timms(type(conv), _STANDARDIZED) else None


def timms_form(layer: nn.Module) -> dict[str, Any]:
    """Attributes of a `HeldWeight` that computes the same as a convolution of timm's; none for another layer."""
    conv: Any = layer
    form: dict[str, Any] = {}
    if (standardization := standardization_of(conv)) is not None:
        form["standardization"] = standardization
    if _is_timms(type(conv), _SAME) and getattr(conv, "same_pad", True):
        form["padding"] = "same"
    return form


class HeldWeight(nn.Conv2d):
    """A convolution with an optional standardised weight, and with padding "same" for any stride.

    A standardised weight is ``(w - mean) / sqrt(var + eps) * gain * factor``, mean and variance over all weights of an
    output channel (arXiv 1903.10520; with gain and factor arXiv 2101.08692).
    """

    standardization: tuple[float, float] | None = None
    """Epsilon, and the factor next to a learned gain; None: the weight is not standardised."""
    gain: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        # torch allows "same" only with stride 1
        given = 0 if padding == "same" else padding
        super().__init__(in_channels, out_channels, kernel_size, stride, given, *args, **kwargs)
        if padding == "same":
            self.padding = "same"

    def held_weight(self) -> Tensor:
        """The weight that the macro holds. # (outputs, channels a group, kernel height, kernel width)"""
        if self.standardization is None:
            return self.weight
        eps, factor = self.standardization
        gain = getattr(self, "gain", None)
        gain = None if gain is None else (gain * factor).view(-1)
        flat = self.weight.reshape(1, self.weight.shape[0], -1)
        y = F.batch_norm(flat, None, None, gain, training=True, momentum=0.0, eps=eps)
        return y.reshape_as(self.weight)

    def convolved(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution of an input with a weight and a bias."""
        x, padding = self.padded(x, for_any_size=True)
        return F.conv2d(x, w, bias, self.stride, padding, self.dilation, self.groups)

    def padded(self, x: Tensor, for_any_size: bool = False) -> tuple[Tensor, tuple[int, int]]:
        """The input with the padding that a convolution cannot add itself, and the zeros that it adds on each side.

        Padding "same" gives ``ceil(size / stride)`` outputs an axis; an odd element goes behind, as in TensorFlow and
        torch. With `for_any_size` the input always has this padding, so that a graph recorded here fits other sizes.
        """
        before, behind = [0, 0], [0, 0]
        if self.padding == "same":
            for axis, size in enumerate(x.shape[-2:]):
                kernel, stride, dilation = self.kernel_size[axis], self.stride[axis], self.dilation[axis]
                total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
                before[axis], behind[axis] = total // 2, total - total // 2
        elif self.padding != "valid":
            before = behind = [int(count) for count in self.padding]
        pads_here = for_any_size and self.padding == "same"
        if self.padding_mode == "zeros" and not pads_here and before == behind:
            return x, (before[0], before[1])
        if pads_here or any(before) or any(behind):
            pads = [before[1], behind[1], before[0], behind[0]]
            x = F.pad(x, pads, mode="constant" if self.padding_mode == "zeros" else self.padding_mode)
        return x, (0, 0)
