"""Whether a layer computes the same as torch's class, and how timm's special convolutions change weight and padding.

timm's classes are recognised by their names, because layers do not import timm.
"""

from inspect import signature
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


def torchs_class(kind: type[nn.Module]) -> type[nn.Module]:
    """torch's class that a class inherits; nn.Module if torch has no such layer."""
    return next(each for each in kind.__mro__ if each.__module__.startswith("torch."))


def check_plain(layer: nn.Module, taker: type[nn.Module]) -> None:
    """Refuse a layer for the `taker` if it may compute something else than torch's class that the taker inherits."""
    kind = torchs_class(taker)
    if not is_plain(layer, kind):
        also = f" or timm's {', '.join(_TIMMS[kind])}" if kind in _TIMMS else ""
        raise ValueError(f"{taker.__name__} takes a torch.nn.{kind.__name__}{also}, got {type(layer).__name__}")


def is_called_plainly(module: nn.Module) -> bool:
    """Whether calling a module runs its class's forward: neither forward nor __call__ is replaced."""
    return "forward" not in vars(module) and type(module).__call__ is nn.Module.__call__


def _is_timms(kind: type, names: tuple[str, ...]) -> bool:
    return kind.__name__ in names and kind.__module__.split(".")[0] == "timm"


def standardization_of(layer: Any) -> tuple[float, float] | None:
    """Epsilon and factor of a convolution that standardises its weight, see `HeldWeight`; None if it does not."""
    return (layer.eps, getattr(layer, "scale", 1.0)) if _is_timms(type(layer), _STANDARDIZED) else None


def timms_form(layer: nn.Module) -> dict[str, Any]:
    """Attributes of a `HeldWeight` that computes the same as a convolution of timm's; none for another layer."""
    standardization = standardization_of(layer)
    form: dict[str, Any] = {} if standardization is None else {"standardization": standardization}
    if _is_timms(type(layer), _SAME) and getattr(layer, "same_pad", True):
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = signature(nn.Conv2d).bind(*args, **kwargs)
        padding = given.arguments.get("padding")
        if padding == "same":
            given.arguments["padding"] = 0  # torch allows "same" only with stride 1
        super().__init__(*given.args, **given.kwargs)
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

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x, padding = padded(self, input, for_any_size=True)
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, self.groups)


def padded(conv: Any, x: Tensor, for_any_size: bool = False) -> tuple[Tensor, tuple[int, ...]]:
    """The input with the padding that a convolution cannot add itself, and the zeros that it adds on each side.

    Padding "same" gives ``ceil(size / stride)`` outputs an axis; an odd element goes behind, as in TensorFlow and
    torch. With `for_any_size` the input always has this padding, so that a graph recorded here fits other sizes.
    """
    is_same, sides = conv.padding == "same", []  # elements before and behind, for each axis
    for axis, kernel in enumerate(conv.kernel_size):
        if is_same:
            size, stride = x.shape[axis - len(conv.kernel_size)], conv.stride[axis]
            total = max((-(-size // stride) - 1) * stride + conv.dilation[axis] * (kernel - 1) + 1 - size, 0)
            sides.append((total // 2, total - total // 2))
        else:
            sides.append((0, 0) if conv.padding == "valid" else (int(conv.padding[axis]),) * 2)
    pads_here = for_any_size and is_same
    if conv.padding_mode == "zeros" and not pads_here and all(before == behind for before, behind in sides):
        return x, tuple(before for before, _ in sides)
    pads = [count for side in reversed(sides) for count in side]  # F.pad starts with the last axis
    if pads_here or any(pads):
        x = F.pad(x, pads, mode="constant" if conv.padding_mode == "zeros" else conv.padding_mode)
    return x, (0,) * len(sides)
