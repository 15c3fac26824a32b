"""The network of a state dict, and the networks that others have."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from asim_lightning.backbone import BackboneConfig, build_backbone
from asim_lightning.exchange.keys import Pair, family, pairs_of
from asim_lightning.exchange.read import WeightFile

SMALL_IMAGE = 32
"""Height and width of images for small networks, in pixels."""
PUBLISHED_VITS = {
    (768, 16): "vit_base_patch16_224", (768, 32): "vit_base_patch32_224", (1024, 16): "vit_large_patch16_224",
    (1024, 32): "vit_large_patch32_224", (1280, 14): "vit_huge_patch14_224",
}  # fmt: skip
"""Published transformers by width and patch size."""
RESNETS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
    "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
)  # fmt: skip
"""ResNets of torchvision with timm's keys; the first five are also published."""
VGGS = tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn"))
"""VGGs of the published simulator and of torchvision."""
PUBLISHED_NAMES = (*RESNETS[:5], *VGGS, *PUBLISHED_VITS.values())
"""Networks of the published simulator, by timm's names."""
TORCHVISION_NAMES = (*RESNETS, *VGGS, *PUBLISHED_VITS.values())
"""Networks of torchvision whose state dicts can be read and written."""
EFFICIENTNETS = (
    *(f"tf_efficientnet_lite{size}" for size in range(5)),
    *(f"tf_efficientnet_b{size}" for size in range(9)),
)
"""Networks of efficientnet_pytorch, with weights from TensorFlow; they can only be read."""


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
        with torch.device("meta"), _WithoutFilling():
            return build_backbone(self.backbone, self.num_classes)

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every tensor of the network, with its key in the layout."""
        return pairs_of(self.skeleton, self.layout, self.backbone.small, self.clips)

    @property
    def unused_stem(self) -> tuple[str, tuple[int, ...]] | None:
        """Key and shape of a published ResNet's other first convolution, which it does not use."""
        if self.layout != "published" or family(self.skeleton) != "resnet":
            return None
        return ("conv2.weight", (64, 3, 7, 7)) if self.backbone.small else ("conv1.weight", (64, 3, 3, 3))


class _WithoutFilling(TorchFunctionMode):
    """Skips the slow steps of initialisers, because tensors on the meta device have no values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.clamp_, Tensor.erfinv_, Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


def published_dropout(name: str) -> dict[str, float]:
    """timm's constructor arguments for the published dropout of a network."""
    if name.startswith("vgg"):
        return {"drop_rate": 0.5}
    is_transformer = name.startswith("vit")
    return dict.fromkeys(("pos_drop_rate", "attn_drop_rate", "proj_drop_rate"), 0.1) if is_transformer else {}


def classes_of(file: WeightFile, head: str) -> int:
    """Number of classes: outputs of the classifier, whose weight has the key `head`."""
    if head not in file.state or file.state[head].dim() not in (2, 4):
        raise ValueError(f"{file.path} has no classifier: {head} is missing")
    return file.state[head].shape[0]


def image_argument(name: str, tokens: int, patch: int) -> dict[str, Any]:
    """The image size as a constructor argument; empty if it is the size in the network's name.

    It follows from the position embeddings, with or without a class token, and the size of a patch in pixels.
    """
    squares = [patches for patches in (tokens, tokens - 1) if math.isqrt(patches) ** 2 == patches]
    if not squares:  # there are other tokens, too
        return {}
    side = math.isqrt(squares[0]) * patch
    return {} if name.split(".")[0].endswith(f"_{side}") else {"img_size": side}
