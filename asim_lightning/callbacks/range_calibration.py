"""Fits input ranges instead of the classifier."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging

from asim_lightning.callbacks.output import is_due
from asim_lightning.checks import check_choice, check_whole
from asim_lightning.classifier.batches import calibration_images_of
from asim_lightning.classifier.processes import synchronize_ranges
from asim_lightning.nn.calibration import calibrate_, needs_calibration
from asim_lightning.nn.inputs import moved
from asim_lightning.quant import METHODS


class RangeCalibration(Callback):
    """Fits input ranges to training images before validations of a fit, and if they are missing.

    With this callback, the classifier does not fit ranges, and its `calibration_images` and `calibration_method` have
    no effect. Ranges are stored in the checkpoint, and are the same on every process.

    Args:
        images: Training images to fit the ranges to; all if there are fewer.
        method: max, percentile or mse.
        every_n_epochs: Fit again in epochs 0, k, 2k, ... and in the last one: 1 or more.

    Examples:
        >>> from asim_lightning.callbacks import RangeCalibration
        >>> # asim fit ... --trainer.callbacks+=RangeCalibration
        >>> RangeCalibration(images=256, method="percentile").method
        'percentile'
    """

    def __init__(self, images: int = 512, method: str = "max", every_n_epochs: int = 1) -> None:
        check_whole("`images` of RangeCalibration", images, 1)
        check_whole("`every_n_epochs` of RangeCalibration", every_n_epochs, 1)
        check_choice("`method` of RangeCalibration", method, METHODS)
        self.images, self.method, self.every_n_epochs = images, method, every_n_epochs

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take over from the classifier."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if any(isinstance(each, WeightAveraging) for each in callbacks[callbacks.index(self) :]):
            raise ValueError(
                "RangeCalibration must stand behind a WeightAveraging callback in `trainer.callbacks`, got it before: "
                "it would fit ranges to the weights that are not averaged"
            )
        pl_module.calibrates_itself = False  # type: ignore[assignment]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give back to the classifier."""
        pl_module.calibrates_itself = True  # type: ignore[assignment]

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """While training, fit if it is due, because weights change; else if ranges are missing."""
        fits = trainer.state.fn == "fit" and is_due(trainer, self.every_n_epochs)
        if fits or needs_calibration(pl_module):
            self.calibrate(trainer, pl_module, missing=not fits)

    on_test_epoch_start = on_validation_epoch_start
    on_predict_epoch_start = on_validation_epoch_start

    def calibrate(self, trainer: Trainer, module: LightningModule, data: Any = None, missing: bool = False) -> None:
        """Fit all ranges, or the missing ones, to the data, or the trainer's; on every process."""
        source: Any = data or getattr(trainer, "datamodule", None) or trainer
        batches = calibration_images_of(source, self.images)
        calibrate_(module, ((moved(batch, module.device),) for batch in batches), self.method, missing)
        synchronize_ranges(module, self.method)
