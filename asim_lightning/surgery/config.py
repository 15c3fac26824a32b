"""What timm's configuration of a network says of it."""

from typing import Any

from torch import nn


def configured_layers(model: nn.Module, key: str) -> tuple[str, ...]:
    """Layer names that timm's pretrained_cfg gives for "first_conv" or "classifier"; empty where there are none."""
    value = network_config(model).get(key)
    names = (value,) if isinstance(value, str) else tuple(value or ())
    modules = dict(model.named_modules())
    return tuple(name for name in names if isinstance(modules.get(name), (nn.Conv2d, nn.Linear)))


def network_config(model: nn.Module) -> dict[str, Any]:
    """timm's pretrained_cfg as a mapping; empty for other networks."""
    value = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    return dict(value) if isinstance(value, dict) else vars(value)
