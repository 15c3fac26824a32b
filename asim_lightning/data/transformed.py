"""Pictures resized, and in training augmented, one by one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from asim_lightning.data.draws import drawing_from, sample_keys
from asim_lightning.data.images import Preparation, PreparedImages
from asim_lightning.data.pictures import Pictures

Transform = Callable[[Image.Image], Tensor]
"""From a picture to bytes, uint8, (3, size, size)."""


class TransformedImages(PreparedImages):
    """Pictures of a split, each transformed as it is read."""

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
            labels: As of :class:`PreparedImages`.
            positions: As of :class:`PreparedImages`.
            transform: From a picture to bytes; where it draws from torch's default generator, its draws are a
                function of the preparation's seed, the epoch and the index.
            preparation: As of :class:`PreparedImages`.
        """
        super().__init__(labels, positions, preparation)
        self.pictures = pictures
        self.transform = transform

    def _read(self, indices: Tensor, epochs: Tensor) -> Tensor:
        keys = sample_keys(self.preparation.seed, epochs, indices)  # (batch,)
        read = zip(indices.tolist(), keys.tolist(), strict=True)
        return torch.stack([self._transformed(index, key) for index, key in read])  # (batch, 3, size, size)

    def _transformed(self, index: int, key: int) -> Tensor:
        with drawing_from(key):
            return self.transform(self.pictures[index])
