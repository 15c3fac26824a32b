"""Pictures resized, and in training augmented, one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from asim_lightning.data.draws import drawing_from, sample_keys, split_items
from asim_lightning.data.images import Preparation, Sample
from asim_lightning.data.pictures import Pictures

Transform = Callable[[Image.Image], Tensor]
"""From a picture to bytes, uint8, (3, size, size)."""


class TransformedImages(Dataset[Sample]):
    """A data set of ``(image, label, index)``, over all or some of the pictures of a split."""

    def __init__(
        self,
        pictures: Pictures,
        labels: Tensor,
        positions: Tensor,
        transform: Transform,
        preparation: Preparation,
    ) -> None:
        """Keeps references, reads nothing.

        Args:
            pictures: All pictures of the split.
            labels: int64, (pictures,).
            positions: Which of them belong to this data set, in its order; also the index they are known by; int64,
                (samples,).
            transform: From a picture to bytes; where it draws from torch's default generator, its draws are a
                function of the preparation's seed, the epoch and the index.
            preparation: From the bytes of a batch to network input.
        """
        self.pictures = pictures
        self.labels = labels
        self.positions = positions
        self.transform = transform
        self.preparation = preparation

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> Sample:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int]) -> list[Sample]:
        """Fetches many samples at once; torch's DataLoader prefers this method where a data set has it."""
        places, epochs = split_items(items)  # (batch,) each
        indices = self.positions[places]  # (batch,)
        keys = sample_keys(self.preparation.seed, epochs, indices)  # (batch,)
        read = zip(indices.tolist(), keys.tolist(), strict=True)
        images = torch.stack([self._transformed(index, key) for index, key in read])  # (batch, 3, size, size)
        images = self.preparation(images, epochs, indices)
        return list(zip(images.unbind(), self.labels[indices].tolist(), indices.tolist(), strict=True))

    def _transformed(self, index: int, key: int) -> Tensor:
        with drawing_from(key):
            return self.transform(self.pictures[index])
