"""Answers of an evaluation: how many are right, and a file of all of them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from asim_lightning.classifier.processes import gather
from asim_lightning.data.given import groups_of
from asim_lightning.evaluation.interval import of_units
from asim_lightning.whole_file import write_lines

FIELDS = ("index", "label", "prediction", "confidence")
Batch = Mapping[str, Tensor]
"""The outputs of a step of the classifier for a batch, by name. # (batch,) each"""


def answers_of(batches: Iterable[Batch]) -> list[tuple[Any, ...]]:
    """The `FIELDS` of each sample, with the samples of the other processes; call it on all of them."""
    mine = [row for batch in batches for row in zip(*(batch[name].tolist() for name in FIELDS), strict=True)]
    return [row for part in gather(mine) for row in part]


class AnswersCallback(Callback):
    """Base of callbacks that need the answers of a whole validation or test; a subclass defines `finish`."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        """Batches of this process in the last evaluation."""

    def finish(self, trainer: Trainer, pl_module: Any) -> None:
        """Use the answers at the end of an evaluation."""
        raise NotImplementedError

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last evaluation."""
        self.batches = []

    def take(self, outputs: Batch, images: Tensor) -> None:
        """Keep a batch."""
        self.batches.append(outputs)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep a batch."""
        if not trainer.sanity_checking:
            self.take(outputs, batch[0])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Use the answers."""
        if not trainer.sanity_checking:
            self.finish(trainer, pl_module)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_end = on_validation_end


class ImageValues(AnswersCallback):
    """Collects the number that the outcome gives each image of a validation or test, over all processes.

    Examples:
        >>> from asim_lightning.callbacks import ImageValues
        >>> ImageValues.METRIC  # trainer.callback_metrics has it after trainer.validate
        'image_values'
    """

    METRIC = "image_values"
    """Name of the numbers among the trainer's callback_metrics, in the order of the images. # (images,)"""
    UNITS = "unit_values"
    """Name of the numbers whose plain mean is the mean over tokens, one for each group of images that belong together
    (`groups_of`); they are the images' if there are neither tokens nor groups. # (units,)"""

    def finish(self, trainer: Trainer, pl_module: Any) -> None:
        """Gather the processes' numbers, without images that another process has, too: distributed samplers repeat
        some."""
        mine, found = dict[int, list[tuple[float, int]]](), dict[int, list[tuple[float, int]]]()
        for batch in self.batches:
            values = batch["value"] if "value" in batch else batch["prediction"] == batch["label"]
            columns = [batch["index"], values.float(), batch.get("weight", torch.ones_like(batch["index"]))]
            for index, *number in zip(*(each.tolist() for each in columns), strict=True):
                mine.setdefault(index, []).append(tuple(number))
        for part in gather(mine):
            found = {**part, **found}
        rows = [(index, *each) for index in sorted(found) for each in found[index]]
        indices, values, weights = np.array(rows).reshape(-1, 3).T
        loader: Any = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
        groups = groups_of(loader[0] if isinstance(loader, (list, tuple)) else loader)
        groups = None if groups is None else groups[indices.astype(int)]
        units = of_units(values, None if (weights == weights[:1]).all() else weights, groups)
        # only metrics come back from forked processes
        trainer.callback_metrics[self.METRIC] = torch.tensor(values).float()
        trainer.callback_metrics[self.UNITS] = torch.tensor(units)


class PredictionWriter(BasePredictionWriter):
    """A CSV file, complete or absent: a line for each sample, in the order of its index.

    Index in the data set, label, prediction, confidence (0..1).

    Examples:
        >>> from asim_lightning.callbacks import PredictionWriter
        >>> PredictionWriter("predictions.csv").path.name  # asim predict adds it
        'predictions.csv'
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__("epoch")
        self.path = Path(path)

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Gather the predictions of every process and write them, each sample once."""
        rows = {index: (index, *others, f"{sure:.6f}") for index, *others, sure in answers_of(predictions)}
        if trainer.is_global_zero:
            write_lines(self.path, [FIELDS, *(rows[index] for index in sorted(rows))])
