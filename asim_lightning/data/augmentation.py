"""Random crop and horizontal flip of a whole batch, drawn for each image on its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def crop_and_flip(images: Tensor, padding: int, rows: Tensor, columns: Tensor, flips: Tensor) -> Tensor:
    """Pads every image with zeros, crops it to its original size at its own offset, and flips it where asked.

    Args:
        images: (batch, channels, height, width), any dtype.
        padding: Zeros added on each side, in pixels.
        rows: Top edge of each crop in the padded image, 0 to 2 * padding, int64, (batch,).
        columns: Left edge of each crop, likewise.
        flips: Which images are flipped left to right, bool, (batch,).

    Returns:
        A tensor like ``images``.
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

    torchvision.transforms.v2 draws once for a whole batch, and called image by image it takes about 50 us each, ten
    times what the loader takes in all. This draws for each image, with the same distribution as ``RandomCrop(size,
    padding)`` and ``RandomHorizontalFlip()``, and moves all pixels by one gather.
    """

    padding: int = 2
    """Largest shift in each direction, in pixels."""
    flip_probability: float = 0.5
    """Share of images flipped left to right, 0 to 1."""

    def __call__(self, images: Tensor, keys: Tensor) -> Tensor:
        """Augments images by the bits of their keys, so that an image is the same in any batch and process.

        Args:
            images: Any dtype, (batch, channels, height, width).
            keys: 64 random bits for each image, from :func:`~asim_lightning.data.draws.sample_keys`; int64, (batch,).
        """
        # Four 16-bit fractions of one; a shift is out of balance by less than (2 padding + 1) / 65536.
        fractions = keys.view(torch.int16).reshape(-1, 4).to(torch.int64) & 0xFFFF  # (batch, 4)
        rows, columns = ((fractions[:, :2] * (2 * self.padding + 1)) >> 16).unbind(dim=1)  # (batch,) each
        flips = fractions[:, 2] < round(self.flip_probability * 2**16)  # (batch,)
        return crop_and_flip(images, self.padding, rows, columns, flips)
