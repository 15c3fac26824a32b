"""What a backbone is."""

import math
from dataclasses import dataclass, field
from typing import Any

ATTENTION_SCALES = ("head_dim", "embed_dim")


@dataclass(frozen=True)
class BackboneConfig:
    """A timm network.

    Raises:
        ValueError: A field is not allowed.
    """

    name: str = "resnet18"
    """timm's name of the network, such as resnet18, vit_base_patch32_224 or, with a tag, resnet18.a1_in1k."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """More arguments of the network's constructor, such as in_chans, stem_width, img_size, depth."""
    pretrained: bool | str = False
    """Weights to start from where no checkpoint is given: true (timm's own, downloaded), a tag of them such as a1_in1k
    (downloaded), or a file of timm's or torchvision's (.pth, .safetensors; one of the published simulator goes through
    asim import). The head is new where class counts differ."""
    small: bool = False
    """Whether the network is made for images of about 32 pixels, as published. A ResNet: first stride 1 (a 7x7 kernel
    becomes 3x3), no max-pool. A VGG: of its five max-pools the second and the last alone, then a pooling to 7x7."""
    image_size: int | None = None
    """Height and width of the images, pixels; for the sizes in the report. Default: the network's own."""
    attention_scale: str = "head_dim"
    """Scores are multiplied by the root of 1 over: head_dim (of a head; timm, torchvision) or embed_dim (of all heads;
    published)."""
    norm_eps: float | None = None
    """Epsilon of every LayerNorm, above 0 (published 1e-5); null: timm's own, 1e-6 in a ViT."""

    def __post_init__(self) -> None:
        size, eps = self.image_size, self.norm_eps
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
            raise ValueError(f"`model.backbone.image_size` must be 1 or more pixels or null, got {size!r}")
        if not isinstance(self.kwargs, dict):
            raise ValueError(f"`model.backbone.kwargs` must be a mapping of argument names, got {self.kwargs!r}")
        if not isinstance(self.pretrained, (bool, str)) or self.pretrained == "":
            allowed = "true, false, a tag such as a1_in1k, or a file"
            raise ValueError(f"`model.backbone.pretrained` must be {allowed}, got {self.pretrained!r}")
        if self.attention_scale not in ATTENTION_SCALES:
            allowed = ", ".join(ATTENTION_SCALES)
            raise ValueError(f"`model.backbone.attention_scale` must be one of {allowed}, got {self.attention_scale!r}")
        number = isinstance(eps, (int, float)) and not isinstance(eps, bool)
        if eps is not None and not (number and 0.0 < eps < math.inf):
            raise ValueError(f"`model.backbone.norm_eps` must be above 0, or null, got {eps!r}")
