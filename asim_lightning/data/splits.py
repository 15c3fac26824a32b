"""One split of a data set: its images, their labels, and the order in which evaluation reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor

SplitName = Literal["train", "val", "test"]
FileSplit = Literal["train", "test"]
"""The splits that CIFAR and Fashion-MNIST have files of."""

Images = TypeVar("Images", covariant=True)


@dataclass(frozen=True)
class ImageSplit(Generic[Images]):
    """The images of one split, in the order in which they are listed; an image's index is its number in this order."""

    images: Images
    """A uint8 tensor, or image files that are decoded on demand."""
    labels: Tensor
    """int64, (images,)"""
    order: Tensor
    """Indices of the images in use, in the order in which evaluation reads them, int64, (images in use,)."""

    def without(self, indices: list[int]) -> ImageSplit[Images]:
        """The same split without these images; the others keep their index."""
        return ImageSplit(self.images, self.labels, self.order[~torch.isin(self.order, torch.tensor(indices))])
