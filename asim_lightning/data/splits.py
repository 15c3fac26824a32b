"""What a data module knows of one split: its images, their labels, and the order that evaluation reads them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor

SplitName = Literal["train", "val", "test"]

Images = TypeVar("Images", covariant=True)


@dataclass(frozen=True)
class ImageSplit(Generic[Images]):
    """The images of one split, in the order of its listing: an image's index is its place there."""

    images: Images
    """Tensor of bytes, or pictures read on demand."""
    labels: Tensor
    """int64, (images,)"""
    order: Tensor
    """Indices of the images in use, in the order that evaluation reads them, int64, (images in use,)."""

    def without(self, indices: list[int]) -> ImageSplit[Images]:
        """The same split with these images out of use; the others keep their index."""
        return ImageSplit(self.images, self.labels, self.order[~torch.isin(self.order, torch.tensor(indices))])
