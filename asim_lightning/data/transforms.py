"""The published transforms of images, and those that pretrained networks of timm were evaluated with."""

from __future__ import annotations

import math

from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode

from asim_lightning.data.prepared_images import Transform
from asim_lightning.data.pretrained_input import PretrainedInput

PADDING = 4
"""Zeros added on each side of a training image before its random crop, in pixels."""


def published_training(size: int, first_size: int, interpolation: str = "bilinear") -> Transform:
    """The published augmentation: a jitter of one colour property, a squash to a square, a random crop, flip, rotation.

    Args:
        size: Height and width of the result.
        first_size: Height and width that the image is squashed to before the crop.
        interpolation: Interpolation of the squash, such as bilinear.
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
    """The published evaluation: a squash to a square, whatever the image's shape, without a crop."""
    return v2.Compose([v2.Resize((size, size)), v2.PILToTensor()])


def pretrained_evaluation(size: int, network: PretrainedInput) -> Transform:
    """timm's evaluation of a network: the shorter side is resized to size / crop_pct, then the middle is cropped.

    Args:
        size: Height and width of the result.
        network: Input of the network, as pretrained.
    """
    first_size = math.floor(size / network.crop_pct)
    shape = (first_size, first_size) if network.squash else first_size
    resize = v2.Resize(shape, InterpolationMode(network.interpolation))
    return v2.Compose([resize, v2.CenterCrop(size), v2.PILToTensor()])
