"""One split of a data set (images, labels, order of evaluation), and draws and orders with balanced classes."""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

SplitName = Literal["train", "val", "test"]
FileSplit = Literal["train", "test"]
"""The splits for which CIFAR and Fashion-MNIST have files."""

Images = TypeVar("Images", covariant=True)


@dataclass(frozen=True)
class ImageSplit(Generic[Images]):
    """The images of one split, in their listed order; an image's index is its number in this order.

    Examples:
        >>> import torch
        >>> from asim_lightning.data import ImageSplit
        >>> split = ImageSplit(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4), torch.arange(4))
        >>> split.without([1]).order.tolist()
        [0, 2, 3]
    """

    images: Images
    """A uint8 tensor, or image files that are decoded on demand."""
    labels: Tensor
    """int64. # (images,)"""
    order: Tensor
    """Indices of the images in use, in the order in which evaluation reads them, int64. # (images in use,)"""

    def without(self, indices: list[int]) -> "ImageSplit[Images]":
        """The split without these images; the other images keep their index."""
        return ImageSplit(self.images, self.labels, self.order[~torch.isin(self.order, torch.tensor(indices))])


def shuffled(count: int, seed: int) -> Tensor:
    """A permutation of 0 to count - 1 that depends only on the seed, int64. # (count,)"""
    # held-out and calibration images must not change with the version of a library: NumPy froze RandomState's stream
    # for good, which torch.randperm and default_rng do not promise.
    return torch.from_numpy(np.random.RandomState(seed).permutation(count)).long()


def draw_balanced(labels: Tensor, per_class: int, num_classes: int, seed: int) -> Tensor:
    """Draw equally many images of every class, without repetition.

    Each block of ``num_classes`` consecutive draws has every class once, in random order, so every beginning of the
    draw is as balanced as possible.

    Args:
        labels: Label of every image, int64. # (images,)
        per_class: Images to draw of each class.
        num_classes: Labels are 0 to num_classes - 1.
        seed: The same seed draws the same images.

    Returns:
        Indices into ``labels``, int64. # (per_class * num_classes,)

    Raises:
        ValueError: A class has fewer images than asked for.
    """
    random = np.random.RandomState(seed)
    columns = []
    for label in range(num_classes):
        indices = torch.nonzero(labels == label).flatten().numpy()
        if len(indices) < per_class:
            raise ValueError(f"Class {label} has only {len(indices)} images to draw from, got {per_class}")
        columns.append(random.permutation(indices)[:per_class])
    drawn = np.stack(columns, axis=1)  # (per_class, num_classes)
    order = np.argsort(random.random_sample(drawn.shape), axis=1)
    return torch.from_numpy(np.take_along_axis(drawn, order, axis=1)).long().flatten()


def spread(labels: Tensor, seed: int, shuffle: bool) -> Tensor:
    """Order all images so that every beginning of the order has the classes as equally as possible.

    First comes one image of each class, then a second of each, and so on; classes without further images are skipped.
    In each round the classes come in the same random order.

    Args:
        labels: Label of every image, int64. # (images,)
        seed: Decides the order of the classes, and of the images of a class if they are shuffled.
        shuffle: Take the images of a class in random order, not in the order of `labels`.

    Returns:
        Indices into ``labels``, int64. # (images,)
    """
    start = shuffled(len(labels), seed).numpy() if shuffle else np.arange(len(labels))
    classes = labels.numpy()[start]  # (images,)
    by_class = np.argsort(classes, kind="stable")
    counts = np.bincount(classes)
    first = np.repeat(np.cumsum(counts) - counts, counts)  # where each class begins in by_class
    rounds = np.empty(len(labels), dtype=np.int64)
    rounds[by_class] = np.arange(len(labels)) - first
    turn = shuffled(len(counts), seed).numpy()  # (classes,)
    return torch.from_numpy(start[np.lexsort((turn[classes], rounds))]).long()
