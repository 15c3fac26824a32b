"""Accuracy on the macro while training, simulated on some images, to choose the epoch to save."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch.utils.data import DataLoader, Subset

from asim_lightning.callbacks.output import log_equal
from asim_lightning.checks import check_whole
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.network import CimModule, evaluated
from asim_lightning.data.given import groups_of, with_indices
from asim_lightning.evaluation.condition import Condition
from asim_lightning.evaluation.evaluate import evaluate
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.results import AxisValue, Outcomes, Result
from asim_lightning.surgery import macro_layers

_OTHER_CHIPS = tuple(2**32 - 1 - number for number in range(8))
"""Chips that stand for all chips; `--chips` evaluates other chips, which did not affect the choice of an epoch."""
_FEWER = 100
"""Images for each of these chips."""
_BATCH = 100
_MOST_KEPT = 500
"""Most images in memory while they are evaluated at each point; more are read again at each."""


class MacroAccuracy(Callback):
    """Base of callbacks that simulate a network on its macro after validations of a fit.

    Attributes:
        images: Images, spread evenly over the data set, always the same; all if there are fewer.
        split: Data set of the images: val or test.
    """

    images: int
    split = "val"

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, before anything is trained, that it can measure."""
        name, callbacks = type(self).__name__, trainer.callbacks  # type: ignore[attr-defined]
        if not macro_layers(pl_module):
            raise ValueError(
                f"{name} needs a network with layers on a macro, got one without; set `model.plan`, or call convert_"
            )
        if any(isinstance(each, WeightAveraging) for each in callbacks[: callbacks.index(self)]):
            raise ValueError(
                f"{name} must stand before a WeightAveraging callback in `trainer.callbacks`, got it behind: it would "
                "measure the weights that are not averaged"
            )

    def results_at(
        self, trainer: Trainer, model: CimModule, points: Iterable[tuple[Mapping[str, AxisValue], Sequence[Condition]]]
    ) -> list[Result]:
        """Results now of points with their axes and conditions; on every process, with the same result on each."""
        if self.split == "test":
            loaders: Any = trainer.datamodule.test_dataloader()  # type: ignore[attr-defined]
        else:
            loaders = trainer.val_dataloaders
        # the classifier takes one loader, which may be in a list
        loader = loaders[0] if isinstance(loaders, (list, tuple)) else loaders
        batches, measure = held_out_batches(trainer, loader, self.images), Measure.of_module(model)
        groups = groups_of(with_indices(loader))

        def reads(conditions: Sequence[Condition]) -> list[Outcomes]:
            return [evaluate(trainer, model, batches, each).grouped(groups) for each in conditions]

        return [Result.of(axes, "simulated", reads(conditions), measure) for axes, conditions in points]


class SimulatedAccuracy(MacroAccuracy):
    """Measures, after each validation of a fit, the accuracy of the macro as configured, simulated bit by bit.

    Logs ``val/acc_simulated``, 0..1, or the mean of another outcome as `Measure.plain` gives it; a ModelCheckpoint can
    monitor it. A fit with `train_noise_model` macro or chip adds this callback if no other callback saves an epoch, or
    if one monitors this metric.

    Args:
        images: Validation images, spread evenly over the data, always the same; all if there are fewer.
        chips: Numbers of the chips for a mean accuracy; null: the model's chip.

    Examples:
        >>> from asim_lightning.callbacks import SimulatedAccuracy
        >>> str(SimulatedAccuracy(images=400, chips=[0, 1, 2]))  # asim fit ... --trainer.callbacks+=SimulatedAccuracy
        'up to 400 validation images on each of 3 chips'
    """

    METRIC = "val/acc_simulated"

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
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            (result,) = self.results_at(trainer, evaluated(pl_module), [({}, self.conditions)])
            log_equal(pl_module, self.METRIC, result.plain[0])


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


def held_out_batches(trainer: Trainer, loader: Any, images: int) -> Iterable[Any]:
    """This process's share of some images, spread evenly over a loader's data set, in batches like the loader's.

    A fast_dev_run has one image for each process.
    """
    images = trainer.world_size if getattr(trainer, "fast_dev_run", False) else images
    loader = with_indices(loader)
    mine = spread_positions(len(loader.dataset), images)[trainer.global_rank :: trainer.world_size]
    batches: DataLoader[Any] = DataLoader(
        Subset(loader.dataset, mine),
        batch_size=loader.batch_size or _BATCH,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        # a loader draws a random number at its start; without this, a sweep would change the fit's numbers
        generator=torch.Generator().manual_seed(0),
    )
    return list(batches) if len(mine) <= _MOST_KEPT else batches


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
