"""Transforms of images: the published ones, the evaluation of timm's pretrained networks, and a cheap augmentation."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode

Transform = Callable[[Image.Image], Tensor]
"""From a PIL image to uint8. # (3, size, size)"""

PADDING = 4
"""Zeros added on each side of a training image before its random crop, in pixels."""


def published_training(size: int, first_size: int, interpolation: str = "bilinear") -> Transform:
    """The published augmentation: a jitter of one colour property, a squash to a square of `first_size`, a random crop
    to `size`, flip and rotation."""
    jitters = [
        v2.ColorJitter(brightness=0.5),
        v2.ColorJitter(contrast=0.5),
        v2.ColorJitter(saturation=0.5),
        v2.ColorJitter(hue=0.3),
    ]
    # the published CenterCrop(first_size) after the squash changes nothing and is left out.
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


@dataclass(frozen=True)
class PretrainedInput:
    """Size, normalisation and resizing with which a pretrained network was evaluated."""

    size: int
    """Height and width in pixels."""
    mean: tuple[float, ...]
    """Mean of each channel, in 0..1."""
    deviation: tuple[float, ...]
    """Standard deviation of each channel, in 0..1."""
    interpolation: str
    """Interpolation of the resizing: bilinear, bicubic, ..."""
    crop_pct: float
    """Share of the resized image's shorter side that the middle crop keeps, 0..1."""
    squash: bool
    """Whether the image is made square first, whatever its shape."""


def pretrained_input(name: str) -> PretrainedInput:
    """The input of a pretrained network, from timm's records.

    Args:
        name: Name of the network in timm, with or without the tag of its weights.

    Raises:
        ValueError: timm knows no such network, or its images are cropped in a way that this package does not know.
    """
    from timm.data.config import resolve_data_config
    from timm.models import get_pretrained_cfg

    try:
        found = get_pretrained_cfg(name)
    except RuntimeError:  # the network is known, the tag is not
        found = None
    if found is None:
        raise ValueError(
            "`pretrained_cfg` must be the name of a network that timm knows, such as resnet18 or resnet18.a1_in1k, got "
            f"{name!r}"
        )
    config = resolve_data_config({}, pretrained_cfg=found.to_dict())
    if config["crop_mode"] not in ("center", "squash") or config["input_size"][0] != 3:
        raise ValueError(
            "`pretrained_cfg` must name a network of colour images cropped by center or squash, got "
            f"{name!r} of {config['input_size'][0]} channels cropped by {config['crop_mode']}"
        )
    return PretrainedInput(
        size=config["input_size"][-1],
        mean=tuple(config["mean"]),
        deviation=tuple(config["std"]),
        interpolation=config["interpolation"],
        crop_pct=config["crop_pct"],
        squash=config["crop_mode"] == "squash",
    )


def pretrained_evaluation(size: int, network: PretrainedInput) -> Transform:
    """timm's evaluation of a network: the shorter side is resized to size / crop_pct, then the middle is cropped."""
    first_size = math.floor(size / network.crop_pct)
    shape = (first_size, first_size) if network.squash else first_size
    resize = v2.Resize(shape, InterpolationMode(network.interpolation))
    return v2.Compose([resize, v2.CenterCrop(size), v2.PILToTensor()])


def crop_and_flip(images: Tensor, padding: int, rows: Tensor, columns: Tensor, flips: Tensor) -> Tensor:
    """Pad every image with zeros, crop it to its original size at its own offset, and flip it if asked.

    Args:
        images: (batch, channels, height, width), any dtype.
        padding: Zeros added on each side, in pixels.
        rows: Top edge of each crop in the padded image, 0 to 2 * padding, int64. # (batch,)
        columns: Left edge of each crop, likewise.
        flips: Which images are flipped left to right, bool. # (batch,)
    """
    batch, channels, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)  # (batch, channels, height + 2 padding, width + 2 padding)
    across = torch.arange(width)  # (width,)
    across = torch.where(flips[:, None], across.flip(0), across)  # (batch, width)
    x = columns[:, None] + across  # (batch, width)
    y = rows[:, None] + torch.arange(height)  # (batch, height)
    source = y[:, :, None] * padded.shape[-1] + x[:, None, :]  # (batch, height, width)
    source = source.reshape(batch, 1, height * width).expand(batch, channels, height * width)
    return padded.flatten(2).gather(2, source).reshape(images.shape)


@dataclass(frozen=True)
class RandomCropFlip:
    """The usual training augmentation of small images.

    torchvision.transforms.v2 draws once for a whole batch. Called image by image it takes about 50 us each, ten times
    the loader's whole time. This class draws for each image, with the same distribution as ``RandomCrop(size,
    padding)`` and ``RandomHorizontalFlip()``, and moves all pixels by one gather.

    Examples:
        >>> import torch
        >>> from asim_lightning.data import RandomCropFlip
        >>> images, keys = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([11, 12])
        >>> RandomCropFlip(padding=1)(images, keys).shape
        torch.Size([2, 1, 8, 8])
    """

    padding: int = 2
    """Largest shift in each direction, in pixels."""
    flip_probability: float = 0.5
    """Share of images flipped left to right, 0 to 1."""

    def __call__(self, images: Tensor, keys: Tensor) -> Tensor:
        """Augment images by the bits of their keys, so an image is the same in any batch and process.

        Args:
            images: Any dtype. # (batch, channels, height, width)
            keys: 64 random bits for each image, from `sample_keys`; int64. # (batch,)
        """
        # four 16-bit fractions of one; a shift is out of balance by less than (2 padding + 1) / 65536.
        fractions = keys.view(torch.int16).reshape(-1, 4).to(torch.int64) & 0xFFFF  # (batch, 4)
        rows, columns = ((fractions[:, :2] * (2 * self.padding + 1)) >> 16).unbind(dim=1)  # (batch,) each
        flips = fractions[:, 2] < round(self.flip_probability * 2**16)  # (batch,)
        return crop_and_flip(images, self.padding, rows, columns, flips)
