"""Data and input ranges, as most commands need them."""

from contextlib import suppress

from lightning.pytorch import LightningDataModule, Trainer

from asim_lightning.callbacks import RangeCalibration
from asim_lightning.classifier import CimClassifier
from asim_lightning.nn.calibration import needs_calibration


def read_data(model: CimClassifier, data: LightningDataModule, stage: str = "test") -> None:
    """Read the data of one of Lightning's stages."""
    model.check_data(data)
    data.prepare_data()
    data.setup(stage)


def prepare(trainer: Trainer, model: CimClassifier, data: LightningDataModule, stage: str = "test") -> None:
    """Read the data of a stage, and fit input ranges where they are missing."""
    read_data(model, data, stage)
    callback = next((each for each in trainer.callbacks if isinstance(each, RangeCalibration)), None)  # type: ignore
    if callback is None:
        model.calibrate_where_missing(data)
    elif needs_calibration(model.backbone):
        callback.calibrate(trainer, model, data, missing=True)
    with suppress(AttributeError):
        trainer.strategy.barrier()
