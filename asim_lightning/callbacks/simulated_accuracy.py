"""Accuracy on the macro while training, simulated bit by bit on some images, for the choice of the epoch to keep."""

from collections.abc import Iterable
from typing import Any

import numpy
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader, Subset

from asim_lightning.callbacks.output import log_equal
from asim_lightning.checks import check_whole
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.batches import unpack
from asim_lightning.classifier.network import evaluated
from asim_lightning.data.given import with_indices
from asim_lightning.evaluation.condition import Condition
from asim_lightning.evaluation.evaluate import evaluate
from asim_lightning.evaluation.results import Measure, result_of
from asim_lightning.surgery import macro_layers

_OTHER_CHIPS = tuple(2**32 - 1 - number for number in range(8))
"""Chips that stand for all chips; `--chips` evaluates others, which no epoch was chosen for."""
_FEWER = 100
"""Images on each of these chips."""
_BATCH = 100
_MOST_KEPT = 2**28
"""Bytes of images that are kept in memory while they are evaluated at each level."""


class SimulatedAccuracy(Callback):
    """Measures, after each validation of a fit, the accuracy of the macro as configured, simulated bit by bit.

    Logs ``val/acc_simulated``, 0..1, which a ModelCheckpoint can monitor. A fit with `train_noise_model` macro or chip
    has this callback by itself if no other callback keeps an epoch, or if one monitors this metric.

    Args:
        images: Images of the validation data, spread evenly over it, always the same; all if there are fewer.
        chips: Numbers of the chips over which the accuracy is a mean; null: the model's chip.
    """

    METRIC = "val/acc_simulated"
    """The metric that it logs."""
    logged = (METRIC,)
    """Metrics that it logs."""

    def __init__(self, images: int = 200, chips: list[int] | None = None) -> None:
        check_whole("`images` of SimulatedAccuracy", images, 1)
        if chips is not None and not chips:
            raise ValueError("`chips` of SimulatedAccuracy must be null or one or more numbers, got []")
        self.images = images
        self.conditions = [Condition(chip=chip) for chip in ([None] if chips is None else chips)]

    def __str__(self) -> str:
        chips = [each.chip for each in self.conditions if each.chip is not None]
        on = f"chip {chips[0]}" if len(chips) == 1 else f"each of {len(chips)} chips"
        return f"up to {self.images} validation images" + (f" on {on}" if chips else "")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if not macro_layers(pl_module):
            raise ValueError(f"SimulatedAccuracy needs layers on a macro, got a {type(pl_module).__name__} without")
        model = evaluated(pl_module)
        batches = held_out_batches(trainer, loader_of(trainer, "val"), self.images)
        outcomes = [evaluate(trainer, model, batches, condition) for condition in self.conditions]
        accuracy = result_of({}, "simulated", outcomes, Measure.of(model.outcome)).accuracy
        log_equal(pl_module, self.METRIC, accuracy)


def accuracy_of_training(model: CimClassifier) -> SimulatedAccuracy | None:
    """The callback that measures what the noise model of a classifier trains for.

    None if the noise is not that of a macro or chip, or `val/acc` measures the same.
    """
    kind, arguments = model.hparams["train_noise_model"], model.hparams["train_noise_args"] or {}
    if kind not in ("macro", "chip") or not macro_layers(model.backbone):
        return None
    chip = arguments.get("chip") if kind == "chip" else None
    if chip == "fresh":
        return SimulatedAccuracy(_FEWER, list(_OTHER_CHIPS))
    if model.fidelity == "simulated" and chip in (None, model.chip):
        return None
    return SimulatedAccuracy(chips=None if chip is None else [chip])


def loader_of(trainer: Trainer, split: str) -> Any:
    """The loader of the images of a fit's data, val or test; the classifier takes one, which may stand in a list."""
    found: Any = trainer.val_dataloaders
    if split == "test":
        data: Any = getattr(trainer, "datamodule", None)
        if data is None:
            raise ValueError("`split: test` of NoiseSweep needs a data module, got loaders; use `split: val`")
        found = data.test_dataloader()
    return found[0] if isinstance(found, (list, tuple)) else found


def held_out_batches(trainer: Trainer, loader: DataLoader[Any], images: int) -> Iterable[Any]:
    """This process's share of some images, spread evenly over a loader's data set, in batches as the loader makes them.

    A fast_dev_run has one image a process.
    """
    images = trainer.world_size if getattr(trainer, "fast_dev_run", False) else images
    dataset: Any = getattr(loader, "dataset", None)
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")) or len(dataset) == 0:
        raise ValueError(
            f"Accuracy on a macro while training needs a data set with a length of 1 or more, got "
            f"{type(dataset).__name__}"
        )
    mine = spread_positions(len(dataset), images)[trainer.global_rank :: trainer.world_size]
    loader = with_indices(loader)
    batches: DataLoader[Any] = DataLoader(
        Subset(loader.dataset, mine),
        batch_size=loader.batch_size or _BATCH,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        # a loader draws a number as it starts; the fit would go on with other random numbers than without a sweep
        generator=torch.Generator().manual_seed(0),
    )
    return _kept(batches, len(mine))


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


def _kept(loader: DataLoader[Any], images: int) -> Iterable[Any]:
    """The batches, read once for all levels if they are few; else the loader, which reads them for each level."""
    kept: list[Any] = []
    for batch in loader:
        if not kept:
            first = unpack(batch, None)[0]  # (batch, channels, height, width)
            if images * first[0].numel() * first.element_size() > _MOST_KEPT:
                return loader
        kept.append(batch)
    return kept
