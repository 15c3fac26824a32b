"""Networks without values, on the meta device, for their keys and shapes."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from asim_lightning.backbone import BackboneConfig, build_backbone

_FILLING = frozenset(
    {
        Tensor.add_, Tensor.clamp_, Tensor.copy_, Tensor.div_, Tensor.erfinv_, Tensor.fill_, Tensor.mul_,
        Tensor.normal_, Tensor.sub_, Tensor.uniform_, Tensor.zero_, nn.init.constant_, nn.init.kaiming_uniform_,
        nn.init.normal_, nn.init.uniform_,
    }
)  # fmt: skip
"""Functions by which initialisers fill tensors in place, and those that pass themselves to a mode."""
_MOST_STEPS = 10**7
"""Most values of a torch.linspace that is computed."""


class _WithoutFilling(TorchFunctionMode):
    """Skips operations that only fill tensors, which have no values on the meta device: they take most of the time to
    build a transformer."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.linspace and "device" not in kwargs and (args[2] if len(args) > 2 else 0) <= _MOST_STEPS:
            # older versions of timm ask for its values: the rates at which paths are dropped
            return func(*args, **kwargs, device="cpu")
        filled = args[0] if args else kwargs.get("tensor")
        if func in _FILLING and isinstance(filled, Tensor) and filled.is_meta:
            return filled
        return func(*args, **kwargs)


def skeleton_of(backbone: BackboneConfig, num_classes: int) -> nn.Module:
    """The network on the meta device.

    Args:
        backbone: Configuration of the network.
        num_classes: Number of classes.

    Raises:
        ValueError: It cannot be built (see `build_backbone`).
    """
    with torch.device("meta"), _WithoutFilling():
        return build_backbone(backbone, num_classes)
