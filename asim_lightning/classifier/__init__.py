"""The Lightning module of a classifier, and its configuration."""

from asim_lightning.backbone import BackboneConfig, build_backbone
from asim_lightning.classifier.module import CimClassifier
from asim_lightning.classifier.optimizer import OptimizerConfig

__all__ = ["BackboneConfig", "CimClassifier", "OptimizerConfig", "build_backbone"]
