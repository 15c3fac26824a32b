"""Images held in memory as bytes, normalised and augmented a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

Sample = tuple[Tensor, int, int]
"""Image, float32, (channels, height, width); label; index in the data set that the image was read from."""


@dataclass(frozen=True)
class Preparation:
    """What happens to the bytes of an image on its way to the network: pad, augment, scale to 0..1, normalise."""

    image_size: int
    """Height and width after padding with zeros, in pixels; at least that of the images."""
    mean: float
    """Subtracted from values in 0..1."""
    deviation: float
    """Divides what is left."""
    augmentation: Callable[[Tensor], Tensor] | None = None
    """Takes and returns uint8 images, (batch, channels, height, width)."""

    def __call__(self, images: Tensor) -> Tensor:
        """Prepares uint8 (batch, channels, height, width); returns float32 (batch, channels, size, size)."""
        height, width = self.image_size - images.shape[-2], self.image_size - images.shape[-1]
        if height or width:
            images = F.pad(images, (width // 2, width - width // 2, height // 2, height - height // 2))
        if self.augmentation is not None:
            images = self.augmentation(images)
        # Element by element in this order, so an image's values do not depend on its batch to the last bit.
        return images.to(torch.float32).div_(255).sub_(self.mean).div_(self.deviation)


class InMemoryImages(Dataset[Sample]):
    """A data set of ``(image, label, index)``, over all or some of the images of one tensor.

    Several data sets may share one tensor of images: each holds only the positions that belong to it.
    """

    def __init__(self, images: Tensor, labels: Tensor, positions: Tensor, preparation: Preparation) -> None:
        """Keeps references, copies nothing.

        Args:
            images: uint8, (images, channels, height, width).
            labels: int64, (images,).
            positions: Which images belong to this data set, in its order; also the index they are known by; int64,
                (samples,).
            preparation: From bytes to network input.
        """
        self.images = images
        self.labels = labels
        self.positions = positions
        self.preparation = preparation

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> Sample:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int]) -> list[Sample]:
        """Fetches many samples at once; torch's DataLoader prefers this method where a data set has it."""
        positions = self.positions[torch.as_tensor(items)]  # (batch,)
        images = self.preparation(self.images[positions])  # (batch, channels, height, width)
        # A list of samples, as any collate function expects: stacking it again costs little.
        return list(zip(images.unbind(), self.labels[positions].tolist(), positions.tolist(), strict=True))
