"""Images held in memory as bytes, normalised and augmented a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from asim_lightning.data.draws import sample_keys, split_items

Sample = tuple[Tensor, int, int]
"""Image, float32, (channels, height, width); label; index in the data set that the image was read from."""

PerChannel = float | tuple[float, ...]
"""One value for all channels, or one for each."""


def normalized(images: Tensor, mean: PerChannel, deviation: PerChannel) -> Tensor:
    """Bytes to float32: scaled to 0..1, less the mean, over the deviation.

    Args:
        images: uint8, (batch, channels, height, width).
        mean: Subtracted from values in 0..1.
        deviation: Divides what is left.
    """
    # Element by element in this order, so an image's values do not depend on its batch to the last bit.
    return images.to(torch.float32).div_(255).sub_(_along_channels(mean)).div_(_along_channels(deviation))


def _along_channels(values: PerChannel) -> float | Tensor:
    return values if isinstance(values, float) else torch.tensor(values).reshape(-1, 1, 1)  # (channels, 1, 1)


@dataclass(frozen=True)
class Preparation:
    """What happens to the bytes of an image on its way to the network: pad, augment, scale to 0..1, normalise."""

    image_size: int
    """Height and width after padding with zeros, in pixels; at least that of the images."""
    mean: PerChannel
    """Subtracted from values in 0..1."""
    deviation: PerChannel
    """Divides what is left."""
    augmentation: Callable[[Tensor, Tensor], Tensor] | None = None
    """Takes uint8 images, (batch, channels, height, width), and 64 random bits for each, int64, (batch,)."""
    seed: int = 0
    """Decides, with epoch and index of an image, what the augmentation draws for it."""

    def __call__(self, images: Tensor, epochs: Tensor, indices: Tensor) -> Tensor:
        """Prepares a batch of images.

        Args:
            images: uint8, (batch, channels, height, width).
            epochs: The epoch that each image is drawn for, int64, (batch,).
            indices: What each image is known by, int64, (batch,).

        Returns:
            float32, (batch, channels, image_size, image_size).
        """
        height, width = self.image_size - images.shape[-2], self.image_size - images.shape[-1]
        if height or width:
            images = F.pad(images, (width // 2, width - width // 2, height // 2, height - height // 2))
        if self.augmentation is not None:
            images = self.augmentation(images, sample_keys(self.seed, epochs, indices))
        return normalized(images, self.mean, self.deviation)


class PreparedImages(Dataset[Sample]):
    """A data set of ``(image, label, index)``, over all or some of the images of a split, prepared a batch at a time.

    A subclass reads the bytes of a batch (``_read``).
    """

    def __init__(self, labels: Tensor, positions: Tensor, preparation: Preparation) -> None:
        """Keeps references, copies nothing.

        Args:
            labels: int64, (images,).
            positions: Which images belong to this data set, in its order; also the index they are known by; int64,
                (samples,).
            preparation: From the bytes of a batch to network input.
        """
        self.labels = labels
        self.positions = positions
        self.preparation = preparation

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> Sample:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int]) -> list[Sample]:
        """Fetches many samples at once; torch's DataLoader prefers this method where a data set has it."""
        places, epochs = split_items(items)  # (batch,) each
        indices = self.positions[places]  # (batch,)
        images = self.preparation(self._read(indices, epochs), epochs, indices)  # (batch, channels, height, width)
        # A list of samples, as any collate function expects: stacking it again costs little.
        return list(zip(images.unbind(), self.labels[indices].tolist(), indices.tolist(), strict=True))

    def _read(self, indices: Tensor, epochs: Tensor) -> Tensor:
        """Bytes of some images, each for its epoch: uint8, (batch, channels, height, width)."""
        raise NotImplementedError


class InMemoryImages(PreparedImages):
    """Images of one tensor, which several data sets may share: each holds only the positions that belong to it."""

    def __init__(self, images: Tensor, labels: Tensor, positions: Tensor, preparation: Preparation) -> None:
        """Keeps references, copies nothing.

        Args:
            images: uint8, (images, channels, height, width).
            labels: As of :class:`PreparedImages`.
            positions: As of :class:`PreparedImages`.
            preparation: As of :class:`PreparedImages`.
        """
        super().__init__(labels, positions, preparation)
        self.images = images

    def _read(self, indices: Tensor, epochs: Tensor) -> Tensor:
        return self.images[indices]
