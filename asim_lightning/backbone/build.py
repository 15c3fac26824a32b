"""Networks from their configuration: timm's, or a user's."""

import re
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from inspect import signature
from pkgutil import resolve_name
from typing import Any

from torch import nn

from asim_lightning.backbone.config import BackboneConfig
from asim_lightning.hub import asked_once
from asim_lightning.resources import PACKAGE, local_path

_MISSING = {"transformers": "; pip install '.[lm]' in the checkout installs it"}
"""How to install a package of networks that may be missing."""


def build_backbone(config: BackboneConfig, num_classes: int) -> nn.Module:
    """Create the network with random weights; a user's network keeps the weights that it makes.

    Args:
        config: The network; `exchange.load_pretrained_` loads its pretrained weights.
        num_classes: Number of classes.

    Raises:
        ValueError: There is no such class or function; timm has no such network (the message gives the nearest names);
            it does not take the arguments; `small` is set for a network other than a ResNet or VGG; or
            `attention_scale` or `norm_eps` is set for a network without attention or LayerNorm.
        FileNotFoundError: An argument of a user's network is in a package (`local_path`) that is not installed.
    """
    if config.network is not None:
        return _own_network(str(config.network), config.kwargs, num_classes)
    import timm  # half of the command line's start-up time, and not needed for --help

    check_name("model.backbone.name", config.name)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")  # the probe refuses them
            model: nn.Module = timm.create_model(config.name, num_classes=num_classes, **config.kwargs)
    except Exception as error:  # values of any kind provoke errors of any kind in timm's and torch's code
        raise ValueError(_misfit(config.name, config.kwargs, error)) from None
    if config.small and isinstance(model, timm.models.VGG):
        _make_vgg_small_(model)
    elif config.small:
        _make_stem_small_(model, config.name)
    if config.attention_scale == "embed_dim":
        _scale_by_embedding_(model, config.name)
    if config.norm_eps is not None:
        _set_norm_eps_(model, config.norm_eps, config.name)
    return model


def _own_network(path: str, arguments: Mapping[str, Any], num_classes: int) -> nn.Module:
    try:
        make = resolve_name(path)
    except Exception as error:  # the user's file may raise anything
        how = _MISSING.get(error.name or "", "") if isinstance(error, ModuleNotFoundError) else ""
        reason = f"{type(error).__name__}: {_reason(error)}{how}"
        raise ValueError(f"`model.backbone.network` {path} cannot be imported: {reason}") from None
    if not callable(make):
        raise ValueError(f"`model.backbone.network` must be a class or function, got a {type(make).__name__} {path}")
    if "num_classes" in signature(make).parameters:
        arguments = {"num_classes": num_classes, **arguments}
    inside = {name: each for name, each in arguments.items() if isinstance(each, str) and each.startswith(PACKAGE)}
    arguments = {**arguments, **{name: str(local_path(each)) for name, each in inside.items()}}
    try:
        with asked_once():
            model = make(**arguments)
    except Exception as error:  # of any kind, as in timm's code
        raise ValueError(_misfit(path, arguments, error)) from None
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"`model.backbone.network` must make a torch.nn.Module, got a {type(model).__name__} of {path}"
        )
    # transformers gives networks for evaluation, which would train without fake quantisation and noise
    return model if model.training else model.train()


def image_channels(config: BackboneConfig, network: nn.Module) -> int | None:
    """Channels of the images for a network: the argument `in_chans`, else timm's configuration, else the first
    convolution; None if none of them says it."""
    size = (getattr(network, "pretrained_cfg", None) or {}).get("input_size")
    first = next((each.in_channels for each in network.modules() if isinstance(each, nn.Conv2d)), None)
    return config.kwargs.get("in_chans", size[0] if size else first)


def _misfit(network: str, given: Mapping[str, Any], error: Exception) -> str:
    """A sentence with the arguments, because an error of the wrong type of a value often names nothing."""
    values = ", ".join(f"{name} {value!r}"[:60] for name, value in given.items()) or "none"
    return f"`model.backbone.kwargs` does not fit {network}: {_reason(error)}; got {values}"


def _reason(error: Exception) -> str:
    """The message of an error, without the source code that torch adds."""
    if isinstance(error, KeyError):
        return f"{error} is no name that timm knows"
    if found := re.search(r"tried to allocate (\d+) bytes", str(error)):
        return f"it takes more memory than there is, {found[1]} bytes at once"
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].split(" Exception raised from ")[0][:300]


def check_name(setting: str, name: str) -> None:
    """Refuse a name, with or without a tag, that timm does not know; `setting` is the setting's name for the user."""
    import timm

    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        near = get_close_matches(name, timm.list_models(), n=3, cutoff=0.4)
        raise ValueError(f"`{setting}` must be a network of timm, got {name!r}; nearest: {', '.join(near) or 'none'}")
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:  # the network is known, the tag is not
        raise ValueError(f"`{setting}`: {unknown_tag(base, tag)}") from None


def unknown_tag(name: str, tag: str) -> str:
    """Sentence that timm has no weights with this tag, and the tags that it has."""
    import timm

    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{name}.*")]
    has = f"has the tags {', '.join(tags)}" if tags else "has no pretrained weights"
    near = get_close_matches(tag, tags, n=1)
    return f"{name} {has}, got {tag!r}" + (f"; nearest: {near[0]}" if near else "")


def _make_vgg_small_(model: nn.Module) -> None:
    """Published layout at 32 pixels: only the max-pools after the 128-channel convolutions and at the end stay."""
    layers = list(model.features)  # type: ignore[arg-type]
    pools = [layer for layer in layers if isinstance(layer, nn.MaxPool2d)]
    kept = [layer for layer in layers if layer not in pools or layer in (pools[1], pools[-1])]
    # the classifier's 7x7 kernel would slide over 8x8 pixels
    model.features = nn.Sequential(*kept, nn.AdaptiveAvgPool2d(7))


def _make_stem_small_(model: nn.Module, name: str) -> None:
    stem, pool = getattr(model, "conv1", None), getattr(model, "maxpool", None)
    first = stem[0] if isinstance(stem, nn.Sequential) else stem
    if not isinstance(first, nn.Conv2d) or pool is None:
        raise ValueError(f"`model.backbone.small` needs a ResNet with conv1 and maxpool, or a VGG, got {name}")
    if first.kernel_size == (7, 7):
        small = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=first.bias is not None)
        nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
        model.conv1 = small
    else:
        first.stride = (1, 1)
    model.maxpool = nn.Identity()


def _scale_by_embedding_(model: nn.Module, name: str) -> None:
    from timm.layers.attention import Attention

    found: list[Any] = [module for module in model.modules() if type(module) is Attention]
    if not found:
        raise ValueError(f"`model.backbone.attention_scale` needs a network with timm's Attention, got {name}")
    for attention in found:
        attention.scale = float(attention.num_heads * attention.head_dim) ** -0.5
        attention.fused_attn = False  # the fused product takes no scale


def _set_norm_eps_(model: nn.Module, eps: float, name: str) -> None:
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    if not norms:
        raise ValueError(f"`model.backbone.norm_eps` needs a network with LayerNorm, got {name}")
    for norm in norms:
        norm.eps = eps
