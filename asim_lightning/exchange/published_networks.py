"""Networks of the published simulator, and those of torchvision whose keys are close to the published ones."""

import math
from dataclasses import replace

from torch import Tensor

from asim_lightning.backbone import BackboneConfig
from asim_lightning.exchange.keys import plain_relus
from asim_lightning.exchange.network import (
    PUBLISHED_VITS,
    RESNETS,
    SMALL_IMAGE,
    VGGS,
    Network,
    classes_of,
    fitting,
    image_argument,
    published_dropout,
)
from asim_lightning.exchange.read import WeightFile

_CIFAR = (10, 100)


def transformer_of(file: WeightFile, name: str | None) -> Network:
    """The transformer of a state dict of the published code or of torchvision.

    Args:
        file: The state dict.
        name: timm's name of the network, where the user says so.

    Raises:
        ValueError: Its size is not known, or it has no patch embedding or classifier.
    """
    state = file.state
    layout = "published" if "patch_embedding.conv_proj.weight" in state else "torchvision"
    patch = state.get("patch_embedding.conv_proj.weight", state.get("conv_proj.weight"))
    tokens = state["encoder.pos_embedding"]
    if patch is None or patch.dim() != 4 or tokens.dim() != 3:
        raise ValueError(f"{file.path} looks like a transformer, but its patch embedding is missing or has no size")
    width, size = patch.shape[0], patch.shape[2]
    found = name or PUBLISHED_VITS.get((width, size))
    if found is None:
        known = ", ".join(f"{w} with patches of {s}" for w, s in PUBLISHED_VITS)
        raise ValueError(
            f"{file.path} holds a transformer of width {width} with patches of {size}; known are {known}; "
            "`--network` names another one"
        )
    image = image_argument(found, tokens.shape[1], size)
    backbone = BackboneConfig(found, image, image_size=image.get("img_size"))
    if layout == "torchvision":
        return Network(layout, backbone, classes_of(file, "heads.head.weight"))
    kwargs = {**backbone.kwargs, **published_dropout(found)}
    published = replace(backbone, kwargs=kwargs, attention_scale="embed_dim", norm_eps=1e-5)
    said = ("attention scale 1/sqrt(width) and LayerNorm epsilon 1e-5, as published",)
    return Network(layout, published, classes_of(file, "heads.weight"), None, said)


def published_resnet_of(file: WeightFile, name: str | None, small: bool | None) -> Network:
    """The ResNet of a state dict of the published code, which holds two stems and uses one.

    Args:
        file: The state dict.
        name: timm's name of the network, where the user says so.
        small: Whether the stem for small images is in use, where the user says so.

    Raises:
        ValueError: It has no classifier.
    """
    if small is None:
        small, why = _stem_in_use(file)
    else:
        why = "--small says so"
    clips = () if any(key.endswith("relu.alpha") for key in file.state) else None
    size = SMALL_IMAGE if small else None
    stem = "3x3 (conv1), for images of about 32 pixels" if small else "7x7 (conv2), for large images"
    said = (f"both stems are in the file; taken is {stem}: {why}",)
    names = [name] if name else list(RESNETS[:5])
    candidates = (
        Network(
            "published", BackboneConfig(each, small=small, image_size=size), classes_of(file, "fc.weight"), clips, said
        )
        for each in names
    )
    return fitting(file, candidates, name is not None)


def _stem_in_use(file: WeightFile) -> tuple[bool, str]:
    """Whether the 3x3 stem is the one in use, and the reason: the other one is never trained."""
    if file.stepped is not None and (0 in file.stepped) != (1 in file.stepped):
        return 0 in file.stepped, "the optimizer's state has moved no other"
    untouched = [_is_initial(file.state[key]) for key in ("conv1.weight", "conv2.weight")]
    if untouched[0] != untouched[1]:
        return untouched[1], "the other one still has its initial distribution"
    classes = classes_of(file, "fc.weight")
    return classes in _CIFAR, f"a guess by the {classes} classes, which --small true or false overrules"


def _is_initial(weight: Tensor) -> bool:
    """Whether a convolution looks untrained: normal, with variance 2 / (outputs * kernel elements)."""
    deviation = math.sqrt(2.0 / (weight.shape[0] * weight.shape[2:].numel()))
    sampled = 4.0 / math.sqrt(2.0 * weight.numel())
    return abs(float(weight.double().std()) / deviation - 1.0) < sampled


def vgg_of(file: WeightFile, name: str | None, small: bool | None) -> Network:
    """The VGG of a state dict of the published code or of torchvision.

    Args:
        file: The state dict.
        name: timm's name of the network, where the user says so.
        small: Whether it is made for small images, where the user says so.

    Raises:
        ValueError: It has no classifier.
    """
    clips = any(key.endswith(".alpha") for key in file.state)
    published = clips or file.wrapper == "model_state_dict"
    names = [name] if name else [each for each in VGGS if each.endswith("_bn") == ("features.1.weight" in file.state)]
    classes = classes_of(file, "classifier.6.weight")
    candidates = (
        Network(
            "published" if published or is_small else "torchvision",
            BackboneConfig(
                each,
                published_dropout(each),  # torchvision's too
                small=is_small,
                image_size=SMALL_IMAGE if is_small else None,
            ),
            classes,
            plain_relus(each) if clips else None,
        )
        for each in names
        for is_small in ((False, True) if small is None else (small,))
    )
    return fitting(file, candidates, name is not None)
