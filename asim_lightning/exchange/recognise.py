"""Which network a state dict is of: layout, timm's name, stem, class count, from its keys and shapes."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from asim_lightning.backbone import BackboneConfig
from asim_lightning.exchange import efficientnet
from asim_lightning.exchange.keys import Pair, in_our_shape, pairs, plain_relus
from asim_lightning.exchange.read import WeightFile

SMALL_IMAGE = 32
PUBLISHED_VITS = {
    (768, 16): "vit_base_patch16_224", (768, 32): "vit_base_patch32_224", (1024, 16): "vit_large_patch16_224",
    (1024, 32): "vit_large_patch32_224", (1280, 14): "vit_huge_patch14_224",
}  # fmt: skip
_RESNETS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
    "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
)  # fmt: skip
_VGGS = tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn"))
PUBLISHED_NAMES = (*_RESNETS[:5], *_VGGS, *PUBLISHED_VITS.values())
"""Networks of the published simulator, by timm's names."""
TORCHVISION_NAMES = (*_RESNETS, *_VGGS, *PUBLISHED_VITS.values())
"""Networks of torchvision whose state dicts are read and written."""
_FAMILIES = (  # a key that a timm family has, and its names
    ("conv_stem.weight", ("efficientnet_lite*", "tf_efficientnet_lite*", "mobilenetv2_*", "mnasnet_*", "semnasnet_*",
                          "fbnetc_*", "spnasnet_*", "efficientnet_b*", "tf_efficientnet_b*", "mobilenetv3*",
                          "tf_mobilenetv3*", "mobilenetv1_*")),
    ("stages.0.blocks.0.conv_dw.weight", ("convnext*",)),
    ("layer1.0.conv1.weight", ("resnet*", "resnext*", "wide_resnet*", "seresnet*", "ecaresnet*")),
)  # fmt: skip
_WIDTHS = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1280: "huge"}
_CIFAR = (10, 100)


@dataclass(frozen=True)
class Network:
    """What a state dict is of.

    Attributes:
        layout: published, torchvision or timm.
        backbone: The network.
        num_classes: Number of classes.
        clips: None where ReLUs are ReLUs; else those that stay so while the others are PACT.
        said: How it was recognised, where that was a choice; for the user.
    """

    layout: str
    backbone: BackboneConfig
    num_classes: int
    clips: tuple[str, ...] | None = None
    said: tuple[str, ...] = ()

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every tensor of the network, and its key in the layout."""
        return pairs(self.layout, self.backbone, self.num_classes, self.clips)


def recognise(
    file: WeightFile, name: str | None = None, small: bool | None = None, kwargs: Mapping[str, Any] | None = None
) -> Network:
    """The network that a state dict is of.

    Args:
        file: The state dict.
        name: timm's name of the network, where the user says so.
        small: Whether it is made for images of about 32 pixels, where the user says so.
        kwargs: Arguments of the network's constructor, where the user gives them with its name.

    Raises:
        ValueError: It is not recognised, or is not of the network that the user names.
    """
    state = file.state
    if name is not None:
        _check_name(name)
    if "encoder.pos_embedding" in state:
        return _encoder(file, name)
    if "layer1.0.conv1.weight" in state and "conv2.weight" in state:
        return _published_resnet(file, name, small)
    if "features.0.weight" in state and "classifier.0.weight" in state:
        return _vgg(file, name, small)
    if efficientnet.STEM in state:
        names = [name] if name else efficientnet.NAMES
        classes = _classes(file, "_fc.weight")
        candidates = (Network("efficientnet_pytorch", BackboneConfig(each), classes) for each in names)
        return _fitting(file, candidates, name is not None)
    return _timm(file, name, small, kwargs or {})


def _check_name(name: str) -> None:
    import timm

    if not timm.is_model(name.split(".")[0]):
        near = get_close_matches(name, timm.list_models(), n=3, cutoff=0.4)
        raise ValueError(f"`--network` must be a network of timm, got {name!r}; nearest: {', '.join(near) or 'none'}")


def _classes(file: WeightFile, *heads: str) -> int:
    for head in heads:
        if head in file.state and file.state[head].dim() in (2, 4):
            return file.state[head].shape[0]
    raise ValueError(f"{file.path} holds no classifier: {' or '.join(heads)} is missing in it")


def _encoder(file: WeightFile, name: str | None) -> Network:
    """A transformer of the published code or of torchvision."""
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
    image = _image(found, tokens.shape[1], size)
    backbone = BackboneConfig(found, image, image_size=image.get("img_size"))
    if layout == "torchvision":
        return Network(layout, backbone, _classes(file, "heads.head.weight"))
    # dropout as the published networks have it
    rates: dict[str, Any] = {"pos_drop_rate": 0.1, "attn_drop_rate": 0.1, "proj_drop_rate": 0.1}
    published = replace(backbone, kwargs={**backbone.kwargs, **rates}, attention_scale="embed_dim", norm_eps=1e-5)
    said = ("attention scale 1/sqrt(width) and LayerNorm epsilon 1e-5, as published",)
    return Network(layout, published, _classes(file, "heads.weight"), None, said)


def _image(name: str, tokens: int, patch: int) -> dict[str, Any]:
    """The image size as an argument, where it is not the one in the network's name."""
    squares = [patches for patches in (tokens, tokens - 1) if math.isqrt(patches) ** 2 == patches]
    if not squares:  # tokens of other kinds are among them
        return {}
    side = math.isqrt(squares[0]) * patch
    return {} if name.split(".")[0].endswith(f"_{side}") else {"img_size": side}


def _published_resnet(file: WeightFile, name: str | None, small: bool | None) -> Network:
    if small is None:
        small, why = _stem_in_use(file)
    else:
        why = "--small says so"
    clips = () if any(key.endswith("relu.alpha") for key in file.state) else None
    size = SMALL_IMAGE if small else None
    stem = "3x3 (conv1), for images of about 32 pixels" if small else "7x7 (conv2), for large images"
    said = (f"both stems are in the file; taken is {stem}: {why}",)
    names = [name] if name else list(_RESNETS[:5])
    candidates = (
        Network(
            "published", BackboneConfig(each, small=small, image_size=size), _classes(file, "fc.weight"), clips, said
        )
        for each in names
    )
    return _fitting(file, candidates, name is not None)


def _stem_in_use(file: WeightFile) -> tuple[bool, str]:
    """Whether the 3x3 stem is the one in use, and why: the other one is never trained."""
    if file.stepped is not None and (0 in file.stepped) != (1 in file.stepped):
        return 0 in file.stepped, "the optimizer's state has moved no other"
    untouched = [_is_initial(file.state[key]) for key in ("conv1.weight", "conv2.weight")]
    if untouched[0] != untouched[1]:
        return untouched[1], "the other one still has its initial distribution"
    classes = _classes(file, "fc.weight")
    return classes in _CIFAR, f"a guess by the {classes} classes, which --small true or false overrules"


def _is_initial(weight: Tensor) -> bool:
    """Whether a convolution looks as it was drawn: normal, of variance 2 / (outputs * kernel elements)."""
    deviation = math.sqrt(2.0 / (weight.shape[0] * weight.shape[2:].numel()))
    sampled = 4.0 / math.sqrt(2.0 * weight.numel())
    return abs(float(weight.double().std()) / deviation - 1.0) < sampled


def _vgg(file: WeightFile, name: str | None, small: bool | None) -> Network:
    clips = any(key.endswith(".alpha") for key in file.state)
    published = clips or file.wrapper == "model_state_dict"
    names = [name] if name else [each for each in _VGGS if each.endswith("_bn") == ("features.1.weight" in file.state)]
    classes = _classes(file, "classifier.6.weight")
    candidates = (
        Network(
            "published" if published or is_small else "torchvision",
            BackboneConfig(each, small=is_small, image_size=SMALL_IMAGE if is_small else None),
            classes,
            plain_relus(each) if clips else None,
        )
        for each in names
        for is_small in ((False, True) if small is None else (small,))
    )
    return _fitting(file, candidates, name is not None)


def _timm(file: WeightFile, name: str | None, small: bool | None, kwargs: Mapping[str, Any]) -> Network:
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
    if tokens is not None and patch is not None and tokens.dim() == 3 and patch.dim() == 4:
        kwargs = {**_image(name, tokens.shape[1], patch.shape[2]), **kwargs}
    size = SMALL_IMAGE if small else kwargs.get("img_size")
    classes = _classes(file, key) if key in file.state else 0  # weights without a classifier
    return Network("timm", BackboneConfig(name, kwargs, small=small, image_size=size), classes)


def _candidates(state: Mapping[str, Tensor]) -> Iterable[str]:
    import timm

    if "pre_logits.fc1.weight" in state:
        yield from _VGGS
    if "layer1.0.conv1.weight" in state:
        yield from _RESNETS
    if "blocks.0.attn.qkv.weight" in state:
        yield from _transformers(state)
        return
    for key, patterns in _FAMILIES:
        if key in state:
            yield from (each for each in timm.list_models() if any(fnmatchcase(each, p) for p in patterns))
            return


def _transformers(state: Mapping[str, Tensor]) -> Iterable[str]:
    """Transformers of timm's whose name says this width, the plainest first; for other widths those that say none."""
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
    """The first candidate whose keys and shapes are those of the file, else the one with fewest differences.

    A candidate that the user did not name must have half of the file's keys.
    """
    best: tuple[int, Network] | None = None
    failure: Exception | None = None
    for network in candidates:
        try:
            found = _differences(file.state, network)
        except (ValueError, RuntimeError, TypeError) as error:  # it cannot be built with these arguments
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
    """Says that another network has the same keys and computes another function."""
    import timm

    twin = f"tf_{network.backbone.name}"
    if network.layout != "timm" or not timm.is_model(twin):
        return network
    said = f"{twin} has the same keys, but pads and normalises otherwise; --network {twin} takes it"
    return replace(network, said=(*network.said, said))


def _differences(state: Mapping[str, Tensor], network: Network) -> int:
    """Tensors of a network that a state dict lacks or has in another shape, and keys that it has besides."""
    places, missing = set(), 0
    for pair in network.pairs:
        value = state.get(pair.theirs)
        if value is not None and in_our_shape(pair, value) is not None:
            places.add(pair.theirs)
        elif value is not None or not pair.counts_batches:
            missing += 1
    return missing + len(set(state) - places)
