"""Finds the network of a state dict: layout, timm's name, stem and class count, from keys and shapes."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product
from typing import Any

from torch import Tensor

from asim_lightning.backbone import BackboneConfig
from asim_lightning.backbone.build import check_name
from asim_lightning.exchange.account import imported
from asim_lightning.exchange.layouts import (
    EFFICIENTNETS,
    PUBLISHED_VITS,
    RESNETS,
    SMALL_IMAGE,
    VGGS,
    Network,
    plain_relus,
    published_dropout,
    their_key,
)
from asim_lightning.exchange.read import WeightFile

_SIGNS: Sequence[tuple[str, str, Sequence[str]]] = (
    ("patch_embedding.conv_proj.weight", "published", PUBLISHED_VITS),
    ("encoder.pos_embedding", "torchvision", PUBLISHED_VITS),
    ("pre_logits.fc1.weight", "timm", VGGS),
    ("features.0.weight", "torchvision", VGGS),  # or published
    ("_conv_stem.weight", "efficientnet_pytorch", EFFICIENTNETS),
    ("layer1.0.conv1.weight", "timm", (*RESNETS, "resnet*", "resnext*", "wide_resnet*", "seresnet*", "ecaresnet*")),
    ("blocks.0.attn.qkv.weight", "timm", ()),  # see _transformers
    ("conv_stem.weight", "timm", (
        "efficientnet_b*", "efficientnet_lite*", "fbnetc_*", "mnasnet_*", "mobilenetv1_*", "mobilenetv2_*",
        "mobilenetv3*", "semnasnet_*", "spnasnet_*", "tf_efficientnet_b*", "tf_efficientnet_lite*", "tf_mobilenetv3*",
    )),
    ("stages.0.blocks.0.conv_dw.weight", "timm", ("convnext*",)),
)  # fmt: skip
"""A key that a file has, its layout, and timm's names of the networks, or patterns of names, the likeliest first."""
_PATCHES = ("patch_embed.proj.weight", "conv_proj.weight", "patch_embedding.conv_proj.weight")
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
    return _fitting(file, _candidates(file, name, small, kwargs or {}), name is not None)


def _candidates(file: WeightFile, name: str | None, small: bool | None, kwargs: Mapping[str, Any]) -> Iterator[Network]:
    """Networks that the file may be of, the likeliest first."""
    import timm

    state = file.state
    sign, layout, names = next((row for row in _SIGNS if row[0] in state), ("", "timm", ()))
    smalls, said = [bool(small)], ""
    if sign == "layer1.0.conv1.weight" and "conv2.weight" in state:
        layout, names = "published", RESNETS[:5]
        small, why = _stem_in_use(file) if small is None else (small, "--small says so")
        stem = "3x3 (conv1), for images of about 32 pixels" if small else "7x7 (conv2), for large images"
        smalls, said = [small], f"both stems are in the file; taken is {stem}: {why}"
    elif sign == "features.0.weight" and small is None:
        smalls = [False, True]
    elif sign == "layer1.0.conv1.weight" and small is None and "conv1.weight" in state:
        smalls = [state["conv1.weight"].shape[-1] == 3]
    elif sign == "layer1.0.conv1.weight" and small is None and "conv1.0.weight" in state:
        said = "keys do not tell the stem's stride: taken is the stem for large images, --small true takes the other"
    elif sign == "blocks.0.attn.qkv.weight":
        names = _transformers(state)
    if name is None and layout == "timm" and timm.is_model((file.architecture or "").split(".")[0]):
        name = file.architecture
    clipped = layout != "timm" and any(key.endswith(".alpha") for key in state)
    likeliest = [name] if name else chain.from_iterable(map(timm.list_models, names))
    for each, is_small in product(likeliest, smalls):
        published = sign == "features.0.weight" and (clipped or is_small or file.wrapper == "model_state_dict")
        network = _network(file, "published" if published else layout, each, is_small, kwargs)
        yield replace(network, clips=plain_relus(each) if clipped else None, said=(said,) if said else network.said)


def _network(file: WeightFile, layout: str, name: str, small: bool, given: Mapping[str, Any]) -> Network:
    """A network in a layout, with the file's image size and number of classes.

    A file in timm's layout may have no classifier; then there are 0 classes.
    """
    import timm

    kwargs = _image_argument(file.state, name, given)
    if layout == "published" or (layout == "torchvision" and name.startswith("vgg")):
        kwargs |= published_dropout(name)
    kwargs |= given
    size = SMALL_IMAGE if small else kwargs.get("img_size")
    backbone = BackboneConfig(name, kwargs, small=small, image_size=size)
    said = _twins(name) if layout == "timm" else ()
    if layout == "published" and name.startswith("vit"):
        backbone = replace(backbone, attention_scale="embed_dim", norm_eps=1e-5)
        said = ("attention scale 1/sqrt(width) and LayerNorm epsilon 1e-5, as published",)
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    head = config.classifier if config is not None and isinstance(config.classifier, str) else "head"
    key = their_key(f"{head}.weight", layout, small)
    if key not in file.state and layout != "timm":
        raise ValueError(f"{file.path} has no classifier: {key} is missing")
    classes = file.state[key].shape[0] if key in file.state else 0
    return Network(layout, backbone, classes, said=said)


def _image_argument(state: Mapping[str, Tensor], name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A transformer's image size as a constructor argument; empty if it is the size in the network's name.

    It follows from the position embeddings, with or without a class token, and the size of a patch in pixels.
    """
    tokens = state.get("pos_embed", state.get("encoder.pos_embedding"))
    patches = [value for key, value in state.items() if key in _PATCHES and value.dim() == 4]
    if tokens is None or tokens.dim() != 3 or not patches:
        return {}
    patch = patches[0].shape[-1]
    # the patch embedding of a hybrid network reads features, not pixels
    pixels = f"patch{patch}_" in name or "patch_size" in given
    squares = [each for each in (tokens.shape[1], tokens.shape[1] - 1) if math.isqrt(each) ** 2 == each]
    if not pixels or not squares:  # there are other tokens, too
        return {}
    side = math.isqrt(squares[0]) * patch
    return {} if name.split(".")[0].endswith(f"_{side}") else {"img_size": side}


def _stem_in_use(file: WeightFile) -> tuple[bool, str]:
    """Whether the 3x3 stem is in use, and the reason: the unused stem is never trained."""
    if file.stepped is not None and (0 in file.stepped) != (1 in file.stepped):
        return 0 in file.stepped, "the optimizer's state has moved no other"
    untouched = [_is_initial(file.state[key]) for key in ("conv1.weight", "conv2.weight")]
    if untouched[0] != untouched[1]:
        return untouched[1], "the other one still has its initial distribution"
    classes = len(file.state.get("fc.weight", ()))
    return classes in _CIFAR, f"a guess by the {classes} classes, which --small true or false overrules"


def _is_initial(weight: Tensor) -> bool:
    """Whether a convolution looks untrained: normal, with variance 2 / (outputs * kernel elements)."""
    deviation = math.sqrt(2.0 / (weight.shape[0] * weight.shape[2:].numel()))
    sampled = 4.0 / math.sqrt(2.0 * weight.numel())
    return abs(float(weight.double().std()) / deviation - 1.0) < sampled


def _transformers(state: Mapping[str, Tensor]) -> list[str]:
    """Transformers of timm with this width in their name, the plainest first; for other widths, transformers without
    a width."""
    import timm

    size = _WIDTHS.get(state["blocks.0.attn.qkv.weight"].shape[-1])
    if size is None:
        return timm.list_models("vit_*", exclude_filters=[f"*_{word}_*" for word in _WIDTHS.values()])
    patch = state["patch_embed.proj.weight"].shape[-1] if "patch_embed.proj.weight" in state else 16
    return [f"vit_{size}_patch{patch}_224", f"deit*_{size}_*", f"vit_{size}_*", f"vit_*_{size}_*"]


def _fitting(file: WeightFile, candidates: Iterable[Network], named: bool) -> Network:
    """The first candidate with the keys and shapes of the file, else the one with the fewest differences.

    If the user has not named the network, a candidate that differs in more than half of the keys is refused.
    """
    shapes = replace(file, state={key: value.to("meta") for key, value in file.state.items()})
    best: tuple[int, Network] | None = None
    for network in candidates:
        try:
            found = len(imported(shapes, network).open)
        except ValueError:  # these arguments cannot build it
            if named:
                raise
            continue
        if best is None or found < best[0]:
            best = (found, network)
        if found == 0:
            break
    if best is None or (best[0] > len(file.state) / 2 and not named):
        near = f"; nearest is {best[1].backbone.name}, with {best[0]} differences" if best else ""
        shown = ", ".join(list(file.state)[:3])
        raise ValueError(
            f"{file.path} fits no network that its keys tell ({shown}, ...){near}; `--network`, and `--kwargs` for its "
            "constructor's arguments, name one of timm"
        )
    return best[1]


def _twins(name: str) -> tuple[str, ...]:
    """A note on networks of timm with the same keys and another function; empty if there are none."""
    import timm

    others = (f"tf_{name}", name.replace("resnet", "resnetblur", 1), name.replace("resnet", "resnetaa", 1),
              name.replace("_clip_", "_clip_quickgelu_", 1))  # fmt: skip
    twins = [other for other in others if other != name and timm.is_model(other)]
    said = f"{', '.join(twins)}: the same keys, but another function (padding, blur, activation); --network takes it"
    return (said,) if twins else ()
