"""Configurations of a classifier, as they are or as a checkpoint holds them."""

from typing import Any, TypeVar

from asim_lightning.backbone import BackboneConfig
from asim_lightning.classifier.optimizer import OptimizerConfig
from asim_lightning.surgery import Plan

Config = TypeVar("Config", BackboneConfig, OptimizerConfig, Plan)


def config_of(kind: type[Config], value: Any) -> Config:
    """A configuration from itself or from a mapping of its fields.

    Args:
        kind: Its class.
        value: What was given.

    Raises:
        ValueError: It is neither, has other fields, or a value is not allowed.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, dict):
        try:
            return kind(**value)
        except TypeError as error:
            raise ValueError(f"{kind.__name__} has other fields than given: {error}") from None
    raise ValueError(f"`{kind.__name__}` must be given as itself or as a mapping of its fields, got {value!r}")
