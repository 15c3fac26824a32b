"""Finds the network of a state dict: layout, timm's name, stem and class count, from keys and shapes."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

from torch import Tensor

from asim_lightning.backbone import BackboneConfig
from asim_lightning.backbone.build import check_name
from asim_lightning.exchange.account import imported
from asim_lightning.exchange.keys import plain_relus
from asim_lightning.exchange.network import (
    EFFICIENTNETS,
    PUBLISHED_VITS,
    RESNETS,
    SMALL_IMAGE,
    VGGS,
    Network,
    classes_of,
    image_argument,
    published_dropout,
)
from asim_lightning.exchange.read import WeightFile

_FAMILIES = (  # a key that a timm family has, and its names
    ("conv_stem.weight", ("efficientnet_lite*", "tf_efficientnet_lite*", "mobilenetv2_*", "mnasnet_*", "semnasnet_*",
                          "fbnetc_*", "spnasnet_*", "efficientnet_b*", "tf_efficientnet_b*", "mobilenetv3*",
                          "tf_mobilenetv3*", "mobilenetv1_*")),
    ("stages.0.blocks.0.conv_dw.weight", ("convnext*",)),
    ("layer1.0.conv1.weight", ("resnet*", "resnext*", "wide_resnet*", "seresnet*", "ecaresnet*")),
)  # fmt: skip
_CIFAR = (10, 100)
_WIDTHS = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1280: "huge"}


def recognise(
    file: WeightFile, name: str | None = None, small: bool | None = None, kwargs: Mapping[str, Any] | None = None
) -> Network:
    """The network of a state dict; the user may give its name, form (`small`) and constructor's arguments.

    Raises:
        ValueError: The network is not recognised, or is not the named one.
    """
    if name is not None:
        check_name("--network", name)
    state = file.state
    if "encoder.pos_embedding" in state:
        found = _transformer_of(file, name)
    elif "layer1.0.conv1.weight" in state and "conv2.weight" in state:
        found = _published_resnet_of(file, name, small)
    elif "features.0.weight" in state and "classifier.0.weight" in state:
        found = _vgg_of(file, name, small)
    elif "_conv_stem.weight" in state:
        classes = classes_of(file, "_fc.weight")
        backbones = map(BackboneConfig, [name] if name else EFFICIENTNETS)
        candidates = (Network("efficientnet_pytorch", backbone, classes) for backbone in backbones)
        found = _fitting(file, candidates, name is not None)
    else:
        return _timm_network_of(file, name, small, kwargs or {})
    return (
        replace(found, backbone=replace(found.backbone, kwargs={**found.backbone.kwargs, **kwargs}))
        if kwargs
        else found
    )


def _transformer_of(file: WeightFile, name: str | None) -> Network:
    """The transformer of a state dict of the published code or of torchvision."""
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


def _published_resnet_of(file: WeightFile, name: str | None, small: bool | None) -> Network:
    """The ResNet of a state dict of the published code, which has two stems and uses one."""
    small, why = _stem_in_use(file) if small is None else (small, "--small says so")
    clips = () if any(key.endswith("relu.alpha") for key in file.state) else None
    size, classes = SMALL_IMAGE if small else None, classes_of(file, "fc.weight")
    stem = "3x3 (conv1), for images of about 32 pixels" if small else "7x7 (conv2), for large images"
    said = (f"both stems are in the file; taken is {stem}: {why}",)
    backbones = [BackboneConfig(each, small=small, image_size=size) for each in ([name] if name else RESNETS[:5])]
    candidates = (Network("published", each, classes, clips, said) for each in backbones)
    return _fitting(file, candidates, name is not None)


def _stem_in_use(file: WeightFile) -> tuple[bool, str]:
    """Whether the 3x3 stem is in use, and the reason: the unused stem is never trained."""
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


def _vgg_of(file: WeightFile, name: str | None, small: bool | None) -> Network:
    """The VGG of a state dict of the published code or of torchvision."""
    clips = any(key.endswith(".alpha") for key in file.state)
    published = clips or file.wrapper == "model_state_dict"
    names = [name] if name else [each for each in VGGS if each.endswith("_bn") == ("features.1.weight" in file.state)]
    classes = classes_of(file, "classifier.6.weight")
    candidates = []
    for each, is_small in product(names, (False, True) if small is None else (small,)):
        layout, size = "published" if published or is_small else "torchvision", SMALL_IMAGE if is_small else None
        backbone = BackboneConfig(each, published_dropout(each), small=is_small, image_size=size)  # torchvision's too
        candidates.append(Network(layout, backbone, classes, plain_relus(each) if clips else None))
    return _fitting(file, candidates, name is not None)


def _timm_network_of(file: WeightFile, name: str | None, small: bool | None, kwargs: Mapping[str, Any]) -> Network:
    """The network of a state dict with timm's keys."""
    state = file.state
    if name is None and file.architecture is not None:
        import timm

        name = file.architecture if timm.is_model(file.architecture.split(".")[0]) else None
    if "layer1.0.conv1.weight" in state and small is None:
        stem = state.get("conv1.weight")
        small = stem is not None and stem.shape[-1] == 3
    names = [name] if name else list(dict.fromkeys(_candidates(state)))
    if not names:
        shown = ", ".join(list(state)[:3])
        raise ValueError(
            f"{file.path} is of no network that its keys tell ({shown}, ...); `--network` names one of timm"
        )
    return _fitting(file, (_timm_network(file, each, bool(small), kwargs) for each in names), name is not None)


def _timm_network(file: WeightFile, name: str, small: bool, given: Mapping[str, Any]) -> Network:
    import timm

    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    head = config.classifier if config is not None else None
    key = f"{head}.weight" if isinstance(head, str) else "head.weight"
    kwargs = dict(given)
    tokens, patch = file.state.get("pos_embed"), file.state.get("patch_embed.proj.weight")
    # the patch embedding of a hybrid network reads features, not pixels
    pixels = patch is not None and (f"patch{patch.shape[-1]}_" in name or "patch_size" in kwargs)
    if tokens is not None and patch is not None and pixels and tokens.dim() == 3 and patch.dim() == 4:
        kwargs = {**image_argument(name, tokens.shape[1], patch.shape[2]), **kwargs}
    size = SMALL_IMAGE if small else kwargs.get("img_size")
    classes = classes_of(file, key) if key in file.state else 0  # weights without a classifier
    return Network("timm", BackboneConfig(name, kwargs, small=small, image_size=size), classes)


def _candidates(state: Mapping[str, Tensor]) -> Iterable[str]:
    import timm

    if "pre_logits.fc1.weight" in state:
        yield from VGGS
    if "layer1.0.conv1.weight" in state:
        yield from RESNETS
    if "blocks.0.attn.qkv.weight" in state:
        yield from _transformers(state)
        return
    for key, patterns in _FAMILIES:
        if key in state:
            yield from (each for each in timm.list_models() if any(fnmatchcase(each, p) for p in patterns))
            return


def _transformers(state: Mapping[str, Tensor]) -> Iterable[str]:
    """Transformers of timm with this width in their name, the plainest first; for other widths, transformers without
    a width."""
    import timm

    width = state["blocks.0.attn.qkv.weight"].shape[-1]
    patch = state["patch_embed.proj.weight"].shape[-1] if "patch_embed.proj.weight" in state else 16
    size = _WIDTHS.get(width)
    if size is not None and timm.is_model(f"vit_{size}_patch{patch}_224"):
        yield f"vit_{size}_patch{patch}_224"
    for name in (*timm.list_models("deit*"), *timm.list_models("vit_*")):
        said = next((word for word in _WIDTHS.values() if f"_{word}_" in name), None)
        if said == size:
            yield name


def _fitting(file: WeightFile, candidates: Iterable[Network], named: bool) -> Network:
    """The first candidate with the keys and shapes of the file, else the one with the fewest differences.

    The likeliest come first. If the user has not named the network, a candidate that differs in more than half of the
    keys is refused. A named network that cannot be built is refused, too.
    """
    shapes = replace(file, state={key: value.to("meta") for key, value in file.state.items()})
    best: tuple[int, Network] | None = None
    failure: Exception | None = None
    for network in candidates:
        try:
            found = len(imported(shapes, network).open)
        except (ValueError, RuntimeError, TypeError) as error:  # these arguments cannot build it
            failure = error
            continue
        if best is None or found < best[0]:
            best = (found, network)
        if found == 0:
            break
    if best is None and failure is not None and named:
        raise failure
    if best is None or (best[0] > len(file.state) / 2 and not named):
        near = f"; nearest is {best[1].backbone.name}, with {best[0]} differences" if best else ""
        raise ValueError(
            f"{file.path} fits no network that its keys tell{near}; `--network`, and `--kwargs` for its constructor's "
            "arguments, name one of timm"
        )
    return _with_twin(best[1])


def _with_twin(network: Network) -> Network:
    """The network, with a note on other networks with the same keys and another function."""
    import timm

    name = network.backbone.name
    others = (f"tf_{name}", name.replace("resnet", "resnetblur", 1), name.replace("resnet", "resnetaa", 1),
              name.replace("_clip_", "_clip_quickgelu_", 1))  # fmt: skip
    twins = [other for other in others if other != name and timm.is_model(other)]
    if network.layout != "timm" or not twins:
        return network
    said = f"{', '.join(twins)}: the same keys, but another function (padding, blur, activation); --network takes it"
    return replace(network, said=(*network.said, said))
