"""Writes what `asim predict` found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from asim_lightning.classifier.processes import gather
from asim_lightning.evaluation.whole_file import write_lines

_FIELDS = ("index", "label", "prediction", "confidence")


class PredictionWriter(BasePredictionWriter):
    """A CSV file, whole or absent: a line a sample, in the order of its index.

    Index in the data set, label, prediction, confidence (0..1).

    Args:
        path: File to write.
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
