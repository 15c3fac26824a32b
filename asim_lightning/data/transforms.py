"""The published transforms of pictures, and those that pretrained networks of timm were evaluated with."""

from __future__ import annotations

import math

from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode

from asim_lightning.data.pretrained import PretrainedInput
from asim_lightning.data.transformed import Transform

PADDING = 4
"""Zeros around a training image before its size is cut out again, in pixels."""


def published_training(size: int, first_size: int, interpolation: str = "bilinear") -> Transform:
    """One jitter of colour, a squash to a square, a shifted crop, a mirror image, a turn.

    Args:
        size: Height and width of the result.
        first_size: Height and width that the picture is squashed to before the crop.
        interpolation: Of the squash.
    """
    jitters = [
        v2.ColorJitter(brightness=0.5),
        v2.ColorJitter(contrast=0.5),
        v2.ColorJitter(saturation=0.5),
        v2.ColorJitter(hue=0.3),
    ]
    # The published CenterCrop(first_size) after the squash changes nothing and is left out.
    return v2.Compose(
        [
            v2.RandomChoice(jitters),
            v2.Resize((first_size, first_size), InterpolationMode(interpolation)),
            v2.RandomCrop(size, padding=PADDING),
            v2.RandomHorizontalFlip(),
            v2.RandomRotation(15),
            v2.PILToTensor(),
        ]
    )


def published_evaluation(size: int) -> Transform:
    """A squash to a square, whatever the picture's shape; nothing is cropped."""
    return v2.Compose([v2.Resize((size, size)), v2.PILToTensor()])


def pretrained_evaluation(size: int, network: PretrainedInput) -> Transform:
    """What timm evaluates the network with: the shorter side to size / crop_pct, then the middle.

    Args:
        size: Height and width of the result.
        network: What it was trained on.
    """
    first_size = math.floor(size / network.crop_pct)
    shape = (first_size, first_size) if network.squash else first_size
    resize = v2.Resize(shape, InterpolationMode(network.interpolation))
    return v2.Compose([resize, v2.CenterCrop(size), v2.PILToTensor()])
