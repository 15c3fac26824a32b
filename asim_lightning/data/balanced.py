"""Class-balanced draws from a labelled set."""

from __future__ import annotations

import numpy
import torch
from torch import Tensor


def shuffled(count: int, seed: int) -> Tensor:
    """The numbers 0 to count - 1 in an order that depends on the seed alone, int64, (count,)."""
    # RandomState, because NumPy froze its stream for good: which images are held out or calibrated with must not
    # change with the version of a library. torch.randperm and default_rng promise no such thing.
    return torch.from_numpy(numpy.random.RandomState(seed).permutation(count)).long()


def draw_balanced(labels: Tensor, per_class: int, num_classes: int, seed: int) -> Tensor:
    """Draws equally many samples of every class, without repetition.

    Each block of ``num_classes`` consecutive positions holds every class once, in random order, so any beginning of
    the draw is as balanced as it can be.

    Args:
        labels: The class of every sample there is, int64, (samples,).
        per_class: How many to draw of each class.
        num_classes: Labels run from 0 to num_classes - 1.
        seed: The same seed draws the same samples.

    Returns:
        Positions in ``labels``, int64, (per_class * num_classes,).

    Raises:
        ValueError: A class has fewer samples than asked for.
    """
    random = numpy.random.RandomState(seed)
    columns = []
    for label in range(num_classes):
        positions = torch.nonzero(labels == label).flatten().numpy()
        if len(positions) < per_class:
            raise ValueError(
                f"At most {len(positions)} samples can be drawn of class {label}, which has no more, got {per_class}."
            )
        columns.append(random.permutation(positions)[:per_class])
    drawn = numpy.stack(columns, axis=1)  # (per_class, num_classes)
    order = numpy.argsort(random.random_sample(drawn.shape), axis=1)
    return torch.from_numpy(numpy.take_along_axis(drawn, order, axis=1)).long().flatten()


def spread(labels: Tensor, seed: int, shuffle: bool) -> Tensor:
    """All samples in an order of which every beginning holds the classes as equally as it can.

    First one sample of each class, then a second of each, and so on; a class that has no more is passed over. In each
    round the classes come in the same random order.

    Args:
        labels: The class of every sample, int64, (samples,).
        seed: Decides the order of the classes, and of the samples of a class where they are shuffled.
        shuffle: Take the samples of a class in random order, not as they stand.

    Returns:
        Positions in ``labels``, int64, (samples,).
    """
    start = shuffled(len(labels), seed).numpy() if shuffle else numpy.arange(len(labels))
    classes = labels.numpy()[start]  # (samples,)
    by_class = numpy.argsort(classes, kind="stable")
    counts = numpy.bincount(classes)
    first = numpy.repeat(numpy.cumsum(counts) - counts, counts)  # where each class begins in by_class
    rounds = numpy.empty(len(labels), dtype=numpy.int64)
    rounds[by_class] = numpy.arange(len(labels)) - first
    turn = shuffled(len(counts), seed).numpy()  # (classes,)
    return torch.from_numpy(start[numpy.lexsort((turn[classes], rounds))]).long()
