"""Accuracy of a network under noise of its macros, bit by bit, on some images of a data set."""

import time
from collections.abc import Sequence
from typing import Any

import numpy
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from asim_lightning.callbacks.noise_levels import NoiseLevel
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.batches import unpack
from asim_lightning.classifier.processes import gather
from asim_lightning.engine import noise_context
from asim_lightning.evaluation import Condition, under
from asim_lightning.evaluation.interval import accuracy_interval
from asim_lightning.evaluation.results import AxisValue, PointResult
from asim_lightning.surgery import macro_layers

_BATCH = 100


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


def measure_levels(
    trainer: Trainer,
    module: CimClassifier,
    loader: DataLoader[Any],
    axis: str,
    levels: Sequence[NoiseLevel],
    images: int,
    trials: int,
) -> list[PointResult]:
    """Accuracy at each level, shared out over the processes, with the same result on each and for any number of them.

    The network is left as it was: fidelity, macros, training mode.

    Args:
        trainer: The trainer, whose device and precision are used.
        module: The classifier.
        loader: Its data set is used, with its way to make batches.
        axis: Field of the macro that is changed.
        levels: Values of that field.
        images: Number of images; all there are where they are fewer.
        trials: Reads of the chip at each level that is noisy.

    Raises:
        ValueError: The data set has no length, or no images.
    """
    dataset: Any = getattr(loader, "dataset", None)
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")) or len(dataset) == 0:
        raise ValueError(f"NoiseSweep needs a data set with a length of 1 or more, got {type(dataset).__name__}")
    mine = spread_positions(len(dataset), images)[trainer.global_rank :: trainer.world_size]
    right: list[list[Tensor]] = [[] for _ in levels]  # (batch, trials) each
    seconds = [0.0 for _ in levels]
    with torch.no_grad(), trainer.precision_plugin.val_step_context():
        for batch in _batches(loader, mine):
            batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
            for number, level in enumerate(levels):
                start = time.perf_counter()
                with under(module, Condition(macro={axis: level.value})):
                    right[number].append(_read(module, batch, trials))
                seconds[number] += time.perf_counter() - start
    parts = gather((mine, [torch.cat(each) if each else None for each in right], seconds))
    # in the order of the data set, since the interval's bootstrap draws by place
    order = sorted(range(sum(len(part[0]) for part in parts)), key=[p for part in parts for p in part[0]].__getitem__)
    results = []
    for number, level in enumerate(levels):
        answers = torch.cat([found for part in parts if (found := part[1][number]) is not None])  # (images, trials)
        slowest = max(part[2][number] for part in parts)
        results.append(_result({axis: level.place}, answers[order], slowest))
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


def _result(axes: dict[str, AxisValue], answers: Tensor, seconds: float) -> PointResult:
    """A point's row, of whether each answer is right. # (images, trials)"""
    interval = accuracy_interval(answers.numpy())
    return PointResult(
        axes=axes,
        kind="simulated",
        trials=answers.shape[1],
        images=answers.shape[0],
        accuracy=interval.mean,
        low=interval.low,
        high=interval.high,
        seconds=seconds,
        algorithm="",
    )


def _read(module: CimClassifier, batch: Any, trials: int) -> Tensor:
    """Whether each answer is right. # (batch, trials), one trial where nothing is noisy"""
    noisy = any(any(layer.transfer.noisy) for layer in macro_layers(module.backbone).values())
    images, labels, ids = unpack(batch, module.num_classes)
    answers = []
    for trial in range(module.trial, module.trial + (trials if noisy else 1)):
        with noise_context(module.noise_seed, trial & 0xFFFF, ids, module.chip):
            answers.append(module(images).argmax(dim=-1) == labels)
    return torch.stack(answers, dim=1).cpu()  # (batch, trials)
