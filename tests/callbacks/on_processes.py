"""Runs the callbacks on 1 and 2 processes and writes what came out; started by test_processes.py.

A program of its own: processes are forked, which Numba's threads do not survive once they have run.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from asim_lightning.callbacks import ConfusionMatrix, Misclassified, NoiseSweep, RangeCalibration
from asim_lightning.classifier.processes import gather, synchronize_ranges
from asim_lightning.nn.calibration import quantized_layers
from tests.classifier.conftest import forked, make_data, make_model


class Measuring(Callback):
    """Writes what each process finds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        ranges = [float(layer.input_max) for layer in quantized_layers(pl_module.backbone).values()]
        results = NoiseSweep([0, 5], images=11, trials=2).measure(trainer, pl_module)
        rows = [(row.accuracy, row.low, row.high, row.images, row.trials) for row in results]
        for method in ("max", "mse"):
            for layer in quantized_layers(pl_module.backbone).values():
                layer.store_range(1.0 + trainer.global_rank)
            synchronize_ranges(pl_module, trainer.strategy, method)
            ranges.append(float(pl_module.backbone.fc.input_max))
        found = {"results": rows, "ranges": ranges}
        everyone = gather(found)
        if trainer.is_global_zero:
            (self.folder / "found.json").write_text(json.dumps(everyone))


class Shared(LightningDataModule):
    """Its training images differ from process to process, and there are no others to calibrate with."""

    def __init__(self) -> None:
        super().__init__()
        self.data = make_data()

    def train_dataloader(self) -> DataLoader[Any]:
        return self.data.train_dataloader()

    def val_dataloader(self) -> DataLoader[Any]:
        return self.data.val_dataloader()


def run(folder: Path, processes: int) -> None:
    common = forked(processes)
    callbacks = [Measuring(folder), ConfusionMatrix(folder=str(folder)), Misclassified(5, folder=str(folder))]
    trainer = Trainer(**common, callbacks=callbacks, logger=False, enable_checkpointing=False)
    trainer.validate(make_model(), datamodule=make_data(), verbose=False)
    if processes == 2:
        checkpoint = ModelCheckpoint(monitor="noise/acc_mean", mode="max", filename="best")
        trainer = Trainer(
            **common,
            max_epochs=1,
            limit_train_batches=2,
            callbacks=[NoiseSweep([0, 5], images=7), RangeCalibration(20), checkpoint, SameRanges(folder)],
            logger=TensorBoardLogger(folder, "runs", default_hp_metric=False),
        )
        trainer.fit(make_model(), datamodule=Shared())


class SameRanges(Callback):
    """Writes the ranges of every process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        everyone = gather([float(layer.input_max) for layer in quantized_layers(pl_module.backbone).values()])
        if trainer.is_global_zero:
            (self.folder / "fit_ranges.json").write_text(json.dumps(everyone))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for count in (1, 2):
        folder = Path(sys.argv[1]) / str(count)
        folder.mkdir()
        run(folder, count)
