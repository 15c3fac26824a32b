"""Accuracy of a network under noise of its macros, bit by bit, on some images of a data set."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Subset

from asim_lightning.callbacks.noise_levels import NoiseLevel
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.batches import unpack
from asim_lightning.evaluation import Condition, under
from asim_lightning.evaluation.condition import is_noisy
from asim_lightning.evaluation.evaluate import evaluate
from asim_lightning.evaluation.results import Result, result_of

_BATCH = 100
_MOST_KEPT = 2**28
"""Bytes of images that are kept in memory while they are evaluated at each level."""


def spread_positions(length: int, count: int) -> list[int]:
    """`count` positions of a data set (all where there are fewer), spread evenly over it, always the same.

    One is drawn in each of `count` equal stretches: sorted data sets give every class its share, and those in which
    classes take turns, of which a regular stride may see one class alone, do so too.
    """
    count = min(length, count)
    edges = numpy.arange(count + 1) * length // count  # (count + 1,)
    # RandomState, because its stream is frozen: another version must not measure other images
    draws = numpy.random.RandomState(0).random_sample(count)  # (count,)
    return [int(low + int(draw * (high - low))) for low, high, draw in zip(edges[:-1], edges[1:], draws, strict=True)]


def validation_loader(trainer: Trainer) -> Any:
    """The loader of the validation images of a fit; the classifier takes one, which may stand in a list."""
    found: Any = trainer.val_dataloaders
    return found[0] if isinstance(found, (list, tuple)) else found


def held_out_batches(trainer: Trainer, module: CimClassifier, loader: DataLoader[Any], images: int) -> Iterable[Any]:
    """This process's share of some images of a loader's data set; batches are made as the loader makes them.

    Args:
        trainer: The trainer; a fast_dev_run has one image a process.
        module: The classifier.
        loader: The loader.
        images: Number of images, spread evenly over the data set; all there are where they are fewer.

    Raises:
        ValueError: The data set has no length, or no images.
    """
    images = trainer.world_size if getattr(trainer, "fast_dev_run", False) else images
    dataset: Any = getattr(loader, "dataset", None)
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")) or len(dataset) == 0:
        raise ValueError(
            f"Accuracy on a macro while training needs a data set with a length of 1 or more, got "
            f"{type(dataset).__name__}"
        )
    mine = spread_positions(len(dataset), images)[trainer.global_rank :: trainer.world_size]
    return _kept(_batches(loader, mine), len(mine), module.num_classes)


def measure_levels(
    trainer: Trainer,
    module: CimClassifier,
    batches: Iterable[Any],
    axis: str,
    levels: Sequence[NoiseLevel],
    trials: int,
) -> list[Result]:
    """Accuracy at each level, shared out over the processes, with the same result on each and for any number of them.

    The network is left as it was: fidelity, macros, training mode.

    Args:
        trainer: The trainer, whose device and precision are used.
        module: The classifier.
        batches: This process's share of the images.
        axis: Field of the macro that is changed.
        levels: Values of that field.
        trials: Reads of the chip at each level that is noisy.

    Raises:
        ValueError: Two of the images have one index.
    """
    results = []
    for level in levels:
        condition = Condition(macro={axis: level.value})
        with under(module, condition):
            count = trials if is_noisy(module) else 1
        reads = [(module.trial + number) & 0xFFFF for number in range(count)]
        outcomes = [evaluate(trainer, module, batches, replace(condition, trial=read)) for read in reads]
        results.append(result_of({axis: level.place}, "simulated", outcomes))
    return results


def _batches(loader: DataLoader[Any], positions: Sequence[int]) -> DataLoader[Any]:
    """Some images of a loader's data set, made to batches its way."""
    return DataLoader(
        Subset(loader.dataset, positions),
        batch_size=loader.batch_size or _BATCH,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        # a loader draws a number as it starts; the fit would go on with other random numbers than without a sweep
        generator=torch.Generator().manual_seed(0),
    )


def _kept(loader: DataLoader[Any], images: int, num_classes: int) -> Iterable[Any]:
    """The batches, read once for all levels where they are few; else the loader, which reads them for each level.

    Raises:
        ValueError: A batch is none of images, labels and indices.
    """
    kept: list[Any] = []
    for batch in loader:
        if not kept:
            first = unpack(batch, num_classes)[0]  # (batch, channels, height, width)
            if images * first[0].numel() * first.element_size() > _MOST_KEPT:
                return loader
        kept.append(batch)
    return kept
