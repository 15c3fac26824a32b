"""Keys of other layouts for this package's keys, which are timm's with PACT's clips."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from asim_lightning.surgery.layers import find_relus

LAYOUTS = ("published", "torchvision", "timm")
"""Layouts of the published simulator, torchvision and timm; efficientnet_pytorch's layout can only be read."""
Shape = tuple[int, ...]

_VGG = {
    r"pre_logits\.fc1\.": "classifier.0.", r"pre_logits\.act1\.": "classifier.1.",
    r"pre_logits\.fc2\.": "classifier.3.", r"pre_logits\.act2\.": "classifier.4.", r"head\.fc\.": "classifier.6.",
}  # fmt: skip
_RENAMED = {
    ("published", "resnet"): {r"(.+\.)?act\d\.alpha": r"\1relu.alpha"},  # one clip for each block, used twice or thrice
    ("published", "vgg"): _VGG,
    ("published", "vit"): {
        "pos_embed": "encoder.pos_embedding", "cls_token": "cls_token",
        r"patch_embed\.proj\.": "patch_embedding.conv_proj.", r"norm\.": "encoder.ln.", r"head\.": "heads.",
        r"blocks\.(\d+)\.norm(\d)\.": r"encoder.layers.\1.ln_\2.",
        r"blocks\.(\d+)\.attn\.(qkv|proj)\.": r"encoder.layers.\1.self_attention.\2.",
        r"blocks\.(\d+)\.mlp\.fc(\d)\.": r"encoder.layers.\1.mlp.mlp\2.",
    },
    ("torchvision", "vgg"): _VGG,
    ("torchvision", "vit"): {
        "pos_embed": "encoder.pos_embedding", "cls_token": "class_token", r"patch_embed\.proj\.": "conv_proj.",
        r"norm\.": "encoder.ln.", r"head\.": "heads.head.",
        r"blocks\.(\d+)\.norm(\d)\.": r"encoder.layers.encoder_layer_\1.ln_\2.",
        r"blocks\.(\d+)\.attn\.qkv\.": r"encoder.layers.encoder_layer_\1.self_attention.in_proj_",
        r"blocks\.(\d+)\.attn\.proj\.": r"encoder.layers.encoder_layer_\1.self_attention.out_proj.",
        r"blocks\.(\d+)\.mlp\.fc1\.": r"encoder.layers.encoder_layer_\1.mlp.0.",
        r"blocks\.(\d+)\.mlp\.fc2\.": r"encoder.layers.encoder_layer_\1.mlp.3.",
    },
}  # fmt: skip
"""Starts of keys, and what replaces them, by layout and family. Other keys of ResNets and VGGs stay."""
_EFFICIENTNET_ENDS = {
    "conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc",
}  # fmt: skip
_EFFICIENTNET_BLOCK = {
    "conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2",
    "se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand",
}  # fmt: skip
_EFFICIENTNET_INVERTED = {
    **_EFFICIENTNET_BLOCK, "conv_pw": "_expand_conv", "bn1": "_bn0", "bn2": "_bn1", "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A tensor of this package's network, and its key in another layout.

    Attributes:
        ours: Its key in this package.
        theirs: Its key in the other layout; empty if there is none.
        shape: Its shape in this package.
    """

    ours: str
    theirs: str
    shape: Shape

    @property
    def counts_batches(self) -> bool:
        """Whether it counts training batches: evaluation does not need it, and older files lack it."""
        return self.ours.endswith("num_batches_tracked")


def family(model: nn.Module) -> str:
    """resnet, vgg or vit, whose keys differ between layouts, or other."""
    from timm.models import VGG, ResNet, VisionTransformer

    if type(model) is ResNet:
        return "resnet"
    if type(model) is VGG:
        return "vgg"
    return "vit" if type(model) is VisionTransformer else "other"


def pairs_of(model: nn.Module, layout: str, small: bool, clips: Sequence[str] | None) -> tuple[Pair, ...]:
    """Every tensor of a network, with its key in a layout; refuses a pattern in `clips` that matches no ReLU."""
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if clips is not None:
        shapes |= {f"{name}.alpha": () for name in find_relus(model, clips)}
    if layout == "efficientnet_pytorch":
        place: Callable[[str], str] = _efficientnet(shapes)
    else:
        place = partial(_place, layout, family(model), small)
    return tuple(Pair(ours, place(ours), shape) for ours, shape in shapes.items())


def plain_relus(name: str) -> tuple[str, ...]:
    """ReLUs that are not PACT in a published network with PACT: in a VGG, the one after the first convolution."""
    return (f"features.{2 if name.endswith('_bn') else 1}",) if name.startswith("vgg") else ()


def in_their_shape(pair: Pair, value: Tensor) -> Tensor:
    """A tensor in the shape of the other layout: a VGG's classifier is linear there, not convolutions."""
    return value.flatten(1) if pair.theirs.startswith("classifier.") and value.dim() == 4 else value


def in_our_shape(pair: Pair, value: Tensor) -> Tensor | None:
    """A tensor of the other layout in this package's shape; None if it does not fit."""
    if tuple(value.shape) == pair.shape:
        return value
    linear = pair.theirs.startswith("classifier.") and value.dim() == 2 and len(pair.shape) == 4
    return value.reshape(pair.shape) if linear and value.numel() == torch.Size(pair.shape).numel() else None


def _place(layout: str, model_family: str, small: bool, key: str) -> str:
    """The key of a tensor in a layout; empty if there is none."""
    if layout != "published" and key.endswith(".alpha"):
        return ""
    if layout == "timm":
        return key
    if layout == "published" and model_family == "resnet" and key == "conv1.weight" and not small:
        return "conv2.weight"
    for start, name in _RENAMED.get((layout, model_family), {}).items():
        if match := re.match(start, key):
            return match.expand(name) + key[match.end() :]
    return key if model_family in ("resnet", "vgg") else ""


def _efficientnet(keys: Iterable[str]) -> Callable[[str], str]:
    """The function from this package's keys to efficientnet_pytorch's keys, which number blocks through all stages."""
    keys = list(keys)
    blocks = list(dict.fromkeys(tuple(key.split(".")[1:3]) for key in keys if key.startswith("blocks.")))
    numbers = {block: number for number, block in enumerate(blocks)}
    inverted = {block for block in blocks if f"blocks.{block[0]}.{block[1]}.conv_pwl.weight" in keys}

    def found(key: str) -> str:
        layer, _, leaf = key.rpartition(".")
        if not layer.startswith("blocks."):
            return f"{_EFFICIENTNET_ENDS[layer]}.{leaf}" if layer in _EFFICIENTNET_ENDS else ""
        _, stage, block, inside = layer.split(".", 3)
        names = _EFFICIENTNET_INVERTED if (stage, block) in inverted else _EFFICIENTNET_BLOCK
        return f"_blocks.{numbers[stage, block]}.{names[inside]}.{leaf}" if inside in names else ""

    return found
