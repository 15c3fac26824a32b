"""The network before surgery: timm's or a user's, as configured."""

from asim_lightning.backbone.build import build_backbone, image_channels
from asim_lightning.backbone.config import BackboneConfig

__all__ = ["BackboneConfig", "build_backbone", "image_channels"]
