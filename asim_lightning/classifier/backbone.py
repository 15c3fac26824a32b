"""The network: a timm model by name."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from torch import nn


@dataclass(frozen=True)
class BackboneConfig:
    """A timm network.

    Raises:
        ValueError: The image size is below 1.
    """

    name: str = "resnet18"
    """timm's name of the network, such as resnet18 or vit_base_patch32_224."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """More arguments of the network's constructor, such as in_chans, stem_width, img_size, depth."""
    pretrained: bool = False
    """Whether timm downloads pretrained weights."""
    small: bool = False
    """Whether the network is made for images of about 32 pixels, as published. A ResNet: first stride 1 (a 7x7 kernel
    becomes 3x3), no max-pool. A VGG: of its five max-pools the second and the last alone, then a pooling to 7x7."""
    image_size: int | None = None
    """Height and width of the images, pixels; for the sizes in the report. Default: the network's own."""

    def __post_init__(self) -> None:
        size = self.image_size
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
            raise ValueError(f"`model.backbone.image_size` must be 1 or more pixels or null, got {size!r}")
        if not isinstance(self.kwargs, dict):
            raise ValueError(f"`model.backbone.kwargs` must be a mapping of argument names, got {self.kwargs!r}")


def build_backbone(config: BackboneConfig, num_classes: int) -> nn.Module:
    """Create the network.

    Raises:
        ValueError: timm has no such network (the nearest names are given), it does not take the arguments, or `small`
            is asked of a network that is neither a ResNet nor a VGG.
    """
    import timm  # half of the command line's start-up time, and not needed for --help

    if not timm.is_model(config.name.split(".")[0]):
        near = get_close_matches(config.name, timm.list_models(), n=3, cutoff=0.4)
        raise ValueError(
            f"`model.backbone.name` must be a network of timm, got {config.name!r}; "
            f"nearest: {', '.join(near) or 'none'}"
        )
    try:
        model: nn.Module = timm.create_model(
            config.name, pretrained=config.pretrained, num_classes=num_classes, **config.kwargs
        )
    except (TypeError, AssertionError) as error:
        raise ValueError(f"`model.backbone.kwargs` does not fit {config.name}: {error}") from None
    if config.small and isinstance(model, timm.models.VGG):
        _make_vgg_small_(model)
    elif config.small:
        _make_stem_small_(model, config.name)
    return model


def _make_vgg_small_(model: nn.Module) -> None:
    """Published layout at 32 pixels: the max-pools behind the 128-channel convolutions and at the end stay."""
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
