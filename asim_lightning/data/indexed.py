"""Adds the index of each image to a data set of images and labels."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, cast

from torch.utils.data import Dataset


class IndexedDataset(Dataset[tuple[Any, Any, int]]):
    """Wraps a data set of ``(image, label)``, e.g. torchvision's ImageFolder, to yield ``(image, label, index)``.

    The simulated noise of an image is a function of its index. To use part of a data set, wrap the whole and
    take a ``Subset`` of the wrapped one, so that the images keep their index.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        """Wraps a data set.

        Args:
            dataset: Map-style: has a length and can be indexed.

        Raises:
            ValueError: The data set has no length or cannot be indexed.
        """
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise ValueError(f"dataset must have a length and be indexable, got {type(dataset).__name__}.")
        self.dataset = dataset

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, position: int) -> tuple[Any, Any, int]:
        """The sample with its index, which is 0 to length - 1 even where ``position`` counts from the end.

        Raises:
            IndexError: There is no such sample.
            ValueError: The wrapped data set yields something other than a pair.
        """
        index = position + len(self) if position < 0 else position
        if not 0 <= index < len(self):
            raise IndexError(f"The index must be {-len(self)} to {len(self) - 1}, got {position}.")
        sample = self.dataset[index]
        if not isinstance(sample, (tuple, list)) or len(sample) != 2:
            what = f"{len(sample)} values" if isinstance(sample, (tuple, list)) else type(sample).__name__
            raise ValueError(f"The samples of {type(self.dataset).__name__} must be (image, label) pairs, got {what}.")
        image, label = sample
        return image, label, index
