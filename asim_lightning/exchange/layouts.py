"""The network of a state dict, and its keys in other layouts; this package's keys are timm's with PACT's clips."""

import math
import re
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import nn

from asim_lightning.backbone import BackboneConfig, build_backbone
from asim_lightning.surgery.layers import find_relus

SMALL_IMAGE = 32
"""Height and width of images for small networks, in pixels."""
PUBLISHED_VITS = (
    "vit_base_patch16_224", "vit_base_patch32_224", "vit_large_patch16_224", "vit_large_patch32_224",
    "vit_huge_patch14_224",
)  # fmt: skip
"""Transformers of the published simulator and of torchvision."""
RESNETS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
    "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
)  # fmt: skip
"""ResNets of torchvision with timm's keys; the first five are also published."""
VGGS = tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn"))
"""VGGs of the published simulator and of torchvision."""
PUBLISHED_NAMES = (*RESNETS[:5], *VGGS, *PUBLISHED_VITS)
"""Networks of the published simulator, by timm's names."""
TORCHVISION_NAMES = (*RESNETS, *VGGS, *PUBLISHED_VITS)
"""Networks of torchvision whose state dicts can be read and written."""
EFFICIENTNETS = (
    *(f"tf_efficientnet_lite{size}" for size in range(5)),
    *(f"tf_efficientnet_b{size}" for size in range(9)),
)
"""Networks of efficientnet_pytorch, with weights from TensorFlow; they can only be read."""
LAYOUTS = ("published", "torchvision", "timm")
"""Layouts of the published simulator, torchvision and timm; efficientnet_pytorch's layout can only be read."""

_VGG = {
    r"^pre_logits\.fc1\.": "classifier.0.", r"^pre_logits\.act1\.": "classifier.1.",
    r"^pre_logits\.fc2\.": "classifier.3.", r"^pre_logits\.act2\.": "classifier.4.", r"^head\.fc\.": "classifier.6.",
}  # fmt: skip
_RENAMED = {
    "published": {
        **_VGG,
        r"act\d\.alpha$": "relu.alpha",  # one clip for each block of a ResNet, used twice or thrice
        "^pos_embed": "encoder.pos_embedding", r"^patch_embed\.proj\.": "patch_embedding.conv_proj.",
        r"^norm\.": "encoder.ln.", r"^head\.": "heads.", r"^blocks\.": "encoder.layers.",
        r"\.norm(\d)\.": r".ln_\1.", r"\.attn\.": ".self_attention.", r"\.mlp\.fc": ".mlp.mlp",
    },
    "torchvision": {
        **_VGG,
        "^pos_embed": "encoder.pos_embedding", "^cls_token": "class_token", r"^patch_embed\.proj\.": "conv_proj.",
        r"^norm\.": "encoder.ln.", r"^head\.": "heads.head.", r"^blocks\.": "encoder.layers.encoder_layer_",
        r"\.norm(\d)\.": r".ln_\1.", r"\.attn\.qkv\.": ".self_attention.in_proj_",
        r"\.attn\.proj\.": ".self_attention.out_proj.", r"\.mlp\.fc1\.": ".mlp.0.", r"\.mlp\.fc2\.": ".mlp.3.",
    },
    "efficientnet_pytorch": {
        "^conv_stem": "_conv_stem", "^bn1": "_bn0", "^conv_head": "_conv_head", "^bn2": "_bn1", "^classifier": "_fc",
        r"^(blocks\.0\..+)\.conv_pw\.": r"\1._project_conv.", r"^(blocks\.0\..+)\.bn": r"\1._bn",  # does not widen
        r"\.bn1\.": "._bn0.", r"\.bn2\.": "._bn1.", r"\.bn3\.": "._bn2.", r"\.conv_pw\.": "._expand_conv.",
        r"\.conv_dw\.": "._depthwise_conv.", r"\.conv_pwl\.": "._project_conv.", r"\.se\.conv_": "._se_",
    },
}  # fmt: skip
"""Parts of keys, and what replaces them in this order, by layout."""
_BLOCK = re.compile(r"blocks\.\d+\.\d+")


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
    shape: tuple[int, ...]

    @property
    def their_shape(self) -> tuple[int, ...]:
        """Its shape in the other layout: a VGG's classifier is linear there, and convolutions here."""
        is_renamed = self.theirs != self.ours
        linear = is_renamed and self.theirs.startswith("classifier.") and len(self.shape) == 4
        return (self.shape[0], math.prod(self.shape[1:])) if linear else self.shape

    @property
    def counts_batches(self) -> bool:
        """Whether it counts training batches: evaluation does not need it, and older files lack it."""
        return self.ours.endswith("num_batches_tracked")


@dataclass(frozen=True)
class Network:
    """The network of a state dict.

    Attributes:
        layout: published, torchvision, timm or efficientnet_pytorch.
        backbone: The network.
        num_classes: Number of classes.
        clips: None if no ReLU is a PACT, else patterns of the ReLUs that are not.
        said: How it was recognised, if there was a choice; for the user.
    """

    layout: str
    backbone: BackboneConfig
    num_classes: int
    clips: tuple[str, ...] | None = None
    said: tuple[str, ...] = ()

    @cached_property
    def skeleton(self) -> nn.Module:
        """The network on the meta device, without values."""
        with torch.device("meta"):
            return build_backbone(self.backbone, self.num_classes)

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every tensor of the network, with its key in the layout."""
        shapes = {key: tuple(value.shape) for key, value in self.skeleton.state_dict().items()}
        if self.clips is not None:
            shapes |= {f"{name}.alpha": () for name in find_relus(self.skeleton, self.clips)}
        theirs = {key: their_key(key, self.layout, self.backbone.small) for key in shapes}
        if self.layout == "efficientnet_pytorch":  # numbers blocks through all stages
            blocks = list(dict.fromkeys(found[0] for key in shapes if (found := _BLOCK.match(key))))
            numbered = partial(_BLOCK.sub, lambda found: f"_blocks.{blocks.index(found[0])}")
            theirs = {key: numbered(name) for key, name in theirs.items()}
        return tuple(Pair(key, theirs[key], shape) for key, shape in shapes.items())

    @property
    def unused_stem(self) -> tuple[str, tuple[int, ...]] | None:
        """Key and shape of a published ResNet's other first convolution, which it does not use."""
        if self.layout != "published" or not hasattr(self.skeleton, "conv1"):
            return None
        return ("conv2.weight", (64, 3, 7, 7)) if self.backbone.small else ("conv1.weight", (64, 3, 3, 3))


def plain_relus(name: str) -> tuple[str, ...]:
    """ReLUs that are not PACT in a published network with PACT: in a VGG, the one after the first convolution."""
    return (f"features.{2 if name.endswith('_bn') else 1}",) if name.startswith("vgg") else ()


def their_key(key: str, layout: str, small: bool) -> str:
    """The key of a tensor in a layout; empty if there is none."""
    if key.endswith(".alpha") and layout != "published":
        return ""
    if layout == "published" and key == "conv1.weight" and not small:
        return "conv2.weight"
    for part, name in _RENAMED.get(layout, {}).items():
        key = re.sub(part, name, key)
    return key


def published_dropout(name: str) -> dict[str, float]:
    """timm's constructor arguments for the published dropout of a network."""
    transformer = dict.fromkeys(("pos_drop_rate", "attn_drop_rate", "proj_drop_rate"), 0.1)
    return {"vgg": {"drop_rate": 0.5}, "vit": transformer}.get(name[:3], {})
