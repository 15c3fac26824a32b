"""Recognition of the network of a state dict: layout, timm's name, stem and class count, from keys and shapes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from asim_lightning.backbone import BackboneConfig
from asim_lightning.backbone.build import check_name
from asim_lightning.exchange.network import EFFICIENTNETS, Network, classes_of, fitting
from asim_lightning.exchange.published_networks import published_resnet_of, transformer_of, vgg_of
from asim_lightning.exchange.read import WeightFile
from asim_lightning.exchange.timm_networks import timm_network_of


def recognise(
    file: WeightFile, name: str | None = None, small: bool | None = None, kwargs: Mapping[str, Any] | None = None
) -> Network:
    """The network that a state dict belongs to.

    Args:
        file: The state dict.
        name: timm's name of the network, where the user says so.
        small: Whether the network is made for images of about 32 pixels, where the user says so.
        kwargs: Arguments of the network's constructor, where the user gives them with its name.

    Raises:
        ValueError: The network is not recognised, or is not the one that the user names.
    """
    if name is not None:
        check_name("--network", name)
    found = _recognised(file, name, small, kwargs or {})
    if not kwargs or found.layout == "timm":
        return found
    backbone = replace(found.backbone, kwargs={**found.backbone.kwargs, **kwargs})
    return replace(found, backbone=backbone)


def _recognised(file: WeightFile, name: str | None, small: bool | None, kwargs: Mapping[str, Any]) -> Network:
    state = file.state
    if "encoder.pos_embedding" in state:
        return transformer_of(file, name)
    if "layer1.0.conv1.weight" in state and "conv2.weight" in state:
        return published_resnet_of(file, name, small)
    if "features.0.weight" in state and "classifier.0.weight" in state:
        return vgg_of(file, name, small)
    if "_conv_stem.weight" in state:
        names = [name] if name else EFFICIENTNETS
        classes = classes_of(file, "_fc.weight")
        candidates = (Network("efficientnet_pytorch", BackboneConfig(each), classes) for each in names)
        return fitting(file, candidates, name is not None)
    return timm_network_of(file, name, small, kwargs)
