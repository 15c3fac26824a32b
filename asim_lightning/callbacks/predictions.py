"""Results of an evaluation: number of right images, and each prediction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from asim_lightning.classifier.processes import gather
from asim_lightning.evaluation.whole_file import write_lines

_FIELDS = ("index", "label", "prediction", "confidence")


class ImageCounter(Callback):
    """Counts the images of a validation or test, and the right ones, over all processes."""

    METRIC = "images"
    """Name of the count among the trainer's callback_metrics."""
    RIGHT = "images_right"
    """Name of the count of right answers."""

    def __init__(self) -> None:
        self.images = 0
        self.right = 0

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start at 0."""
        self.images = self.right = 0

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count a batch."""
        self.images += len(outputs["index"])
        if "prediction" in outputs:  # only for outcomes that are right or wrong
            self.right += int((outputs["prediction"] == outputs["label"]).sum())

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Add the other processes' images."""
        counts = torch.tensor([self.images, self.right], device=trainer.strategy.root_device)  # (2,)
        total = trainer.strategy.reduce(counts, reduce_op="sum")
        self.images, self.right = (int(count) for count in torch.as_tensor(total))
        # only metrics come back from forked processes
        for name, count in ((self.METRIC, self.images), (self.RIGHT, self.right)):
            trainer.callback_metrics[name] = torch.tensor(count)

    on_test_start = on_validation_start
    on_test_batch_end = on_validation_batch_end
    on_test_end = on_validation_end


class PredictionWriter(BasePredictionWriter):
    """A CSV file, complete or absent: a line for each sample, in the order of its index.

    Index in the data set, label, prediction, confidence (0..1).
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__("epoch")
        self.path = Path(path)

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Gather the predictions of every process and write them, each sample once."""
        rows = [row for batch in predictions for row in zip(*(batch[name].tolist() for name in _FIELDS), strict=True)]
        rows = [(*row[:3], f"{row[3]:.6f}") for row in rows]
        rows = [row for part in gather(rows) for row in part]
        if trainer.is_global_zero:
            write_lines(self.path, [_FIELDS, *sorted({row[0]: row for row in rows}.values())])
