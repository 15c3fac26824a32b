"""Accuracy on the macro while training, simulated on some images, to choose the epoch to save."""

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
"""Chips that stand for all chips; `--chips` evaluates other chips, which did not affect the choice of an epoch."""
_FEWER = 100
"""Images for each of these chips."""
_BATCH = 100
_MOST_KEPT = 2**28
"""Most bytes of images in memory while they are evaluated at each level."""


class SimulatedAccuracy(Callback):
    """Measures, after each validation of a fit, the accuracy of the macro as configured, simulated bit by bit.

    Logs ``val/acc_simulated``, 0..1; a ModelCheckpoint can monitor it. A fit with `train_noise_model` macro or chip
    adds this callback if no other callback saves an epoch, or if one monitors this metric.

    Args:
        images: Validation images, spread evenly over the data, always the same; all if there are fewer.
        chips: Numbers of the chips for a mean accuracy; null: the model's chip.
    """

    METRIC = "val/acc_simulated"
    logged = (METRIC,)

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
    """The callback for the accuracy that a classifier's noise model trains for.

    None if the noise is not from a macro or chip, or `val/acc` measures the same.
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
    """The loader of a fit's images, val or test; the classifier takes one loader, which may be in a list."""
    found: Any = trainer.val_dataloaders
    if split == "test":
        data: Any = getattr(trainer, "datamodule", None)
        if data is None:
            raise ValueError("`split: test` of NoiseSweep needs a data module, got loaders; use `split: val`")
        found = data.test_dataloader()
    return found[0] if isinstance(found, (list, tuple)) else found


def held_out_batches(trainer: Trainer, loader: DataLoader[Any], images: int) -> Iterable[Any]:
    """This process's share of some images, spread evenly over a loader's data set, in batches like the loader's.

    A fast_dev_run has one image for each process.
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
        # a loader draws a random number at its start; without this, a sweep would change the fit's numbers
        generator=torch.Generator().manual_seed(0),
    )
    return _kept(batches, len(mine))


def spread_positions(length: int, count: int) -> list[int]:
    """`count` positions of a data set (all if there are fewer), spread evenly over it, always the same.

    One position is drawn in each of `count` equal stretches. So each class has its share, in sorted data sets and in
    data sets with alternating classes, where a regular stride may see only one class.
    """
    count = min(length, count)
    edges = numpy.arange(count + 1) * length // count  # (count + 1,)
    # RandomState, its stream is frozen: other versions must measure the same images
    draws = numpy.random.RandomState(0).random_sample(count)  # (count,)
    return [int(low + int(draw * (high - low))) for low, high, draw in zip(edges[:-1], edges[1:], draws, strict=True)]


def _kept(loader: DataLoader[Any], images: int) -> Iterable[Any]:
    """The batches: read once for all levels if they are few, else the loader, which reads them at each level."""
    kept: list[Any] = []
    for batch in loader:
        if not kept:
            first = unpack(batch, None)[0]  # (batch, channels, height, width)
            if images * first[0].numel() * first.element_size() > _MOST_KEPT:
                return loader
        kept.append(batch)
    return kept
