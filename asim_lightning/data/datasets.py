"""Data sets whose samples have their index, and the preparation of their images, a batch at a time."""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from asim_lightning.data.draws import drawing_from, positions_and_epochs, sample_keys
from asim_lightning.data.image_files import ImageFiles, TensorAsPilImages
from asim_lightning.data.transforms import Transform

Sample = tuple[Tensor, int, int]
"""Image, float32, (channels, height, width); label; index of the image in its split."""

PerChannel = float | tuple[float, ...]
"""One value for all channels, or one for each."""


class IndexedDataset(Dataset[tuple[Any, Any, int]]):
    """Wraps a data set of ``(image, label)``, e.g. torchvision's ImageFolder, to yield ``(image, label, index)``.

    The simulated noise of an image is a function of its index. To use part of a data set, wrap the whole and
    take a ``Subset`` of the wrapped data set, so that the images keep their index.

    Examples:
        >>> from asim_lightning.data import IndexedDataset
        >>> IndexedDataset([("image a", 0), ("image b", 1)])[1]
        ('image b', 1, 1)
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        """Wrap a data set with a length and an index."""
        self.dataset = dataset

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, position: int) -> tuple[Any, Any, int]:
        """The sample with its index, 0 to length - 1 even if ``position`` counts from the end."""
        index = range(len(self))[position]
        image, label = self.dataset[index]
        return image, label, index


def _along_channels(values: PerChannel) -> float | Tensor:
    return values if isinstance(values, float) else torch.tensor(values).reshape(-1, 1, 1)  # (channels, 1, 1)


@dataclass(frozen=True)
class Preparation:
    """Prepares images for the network: pads, augments, scales to 0..1, subtracts the mean and divides by deviation.

    Examples:
        >>> import torch
        >>> from asim_lightning.data import Preparation
        >>> prepare, images = Preparation(10, mean=0.5, deviation=0.5), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
        >>> prepare(images, epochs=torch.tensor([0, 0]), indices=torch.tensor([5, 6])).shape
        torch.Size([2, 1, 10, 10])
    """

    image_size: int
    """Height and width after padding with zeros, in pixels; not below the images'."""
    mean: PerChannel
    """Mean of the pixels, in 0..1."""
    deviation: PerChannel
    """Standard deviation of the pixels, in 0..1."""
    augmentation: Callable[[Tensor, Tensor], Tensor] | None = None
    """Takes uint8 images, (batch, channels, height, width), and 64 random bits for each, int64. # (batch,)"""
    seed: int = 0
    """Decides, with the epoch and the index of an image, the draws of its augmentation."""

    def __call__(self, images: Tensor, epochs: Tensor, indices: Tensor) -> Tensor:
        """Prepare a batch of images.

        Args:
            images: uint8. # (batch, channels, height, width)
            epochs: Epoch of each image, int64. # (batch,)
            indices: Index of each image in its split, int64. # (batch,)

        Returns:
            float32. # (batch, channels, image_size, image_size)
        """
        height, width = self.image_size - images.shape[-2], self.image_size - images.shape[-1]
        if height or width:
            images = F.pad(images, (width // 2, width - width // 2, height // 2, height - height // 2))
        if self.augmentation is not None:
            images = self.augmentation(images, sample_keys(self.seed, epochs, indices))
        # element by element in this order, so an image's values do not depend on its batch to the last bit
        mean, deviation = _along_channels(self.mean), _along_channels(self.deviation)
        return images.to(torch.float32).div_(255).sub_(mean).div_(deviation)


class PreparedImages(Dataset[Sample]):
    """A data set of samples ``(image, label, index)``, over all or some images of a split, prepared a batch at a time.

    A subclass implements `read`.
    """

    def __init__(self, images: Any, labels: Tensor, indices: Tensor, preparation: Preparation) -> None:
        """Keep references, copy nothing.

        Args:
            images: All images of the split.
            labels: Labels of all images of the split, int64. # (images,)
            indices: The images of this data set, in its order, int64. # (samples,)
            preparation: Turns a batch of images into network input.
        """
        self.images = images
        self.labels = labels
        self.indices = indices
        self.preparation = preparation

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, yielded: int) -> Sample:
        return self.__getitems__([yielded])[0]

    def __getitems__(self, yielded: Sequence[int]) -> list[Sample]:
        """Read a batch of samples; torch's DataLoader prefers this method if a data set has it.

        Args:
            yielded: Positions in this data set, with their epochs; see `positions_and_epochs`.
        """
        positions, epochs = positions_and_epochs(yielded)  # (batch,) each
        indices = self.indices[positions]  # (batch,)
        images = self.preparation(self.read(indices, epochs), epochs, indices)  # (batch, channels, height, width)
        # A list of samples, which any collate function takes: stacking it again costs little.
        return list(zip(images.unbind(), self.labels[indices].tolist(), indices.tolist(), strict=True))

    def read(self, indices: Tensor, epochs: Tensor) -> Tensor:
        """Some images, each for its epoch: uint8. # (batch, channels, height, width)"""
        raise NotImplementedError


class InMemoryImages(PreparedImages):
    """Images of one tensor, uint8, (images, channels, height, width); several data sets may share it.

    Examples:
        >>> import torch
        >>> from asim_lightning.data import InMemoryImages, Preparation
        >>> images, indices = torch.full((4, 1, 8, 8), 255, dtype=torch.uint8), torch.tensor([1, 3])
        >>> data = InMemoryImages(images, torch.arange(4), indices, Preparation(8, mean=0.5, deviation=0.5))
        >>> image, label, index = data[1]
        >>> image.max().item(), label, index
        (1.0, 3, 3)
    """

    def read(self, indices: Tensor, epochs: Tensor) -> Tensor:
        """See `PreparedImages.read`."""
        return self.images[indices]  # type: ignore[no-any-return]


class TransformedImages(PreparedImages):
    """Images of a split, each transformed as it is read."""

    def __init__(
        self,
        images: ImageFiles | TensorAsPilImages,
        labels: Tensor,
        indices: Tensor,
        transform: Transform,
        preparation: Preparation,
    ) -> None:
        """See `PreparedImages`; `transform` is applied to each image.

        Its draws from torch's default generator are a function of the preparation's seed, the epoch and the index.
        """
        super().__init__(images, labels, indices, preparation)
        self.transform = transform

    def read(self, indices: Tensor, epochs: Tensor) -> Tensor:
        """See `PreparedImages.read`."""
        keys = sample_keys(self.preparation.seed, epochs, indices)  # (batch,)
        images = []
        for index, key in zip(indices.tolist(), keys.tolist(), strict=True):
            with drawing_from(key):
                images.append(self.transform(self.images[index]))
        return torch.stack(images)  # (batch, 3, size, size)
