"""Ranges are fitted by the callback, as often and as it says, and are the same on every process."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer

from asim_lightning import CimClassifier
from asim_lightning.callbacks import RangeCalibration
from asim_lightning.nn.calibration import quantized_layers
from tests.callbacks.conftest import quiet_trainer
from tests.classifier.conftest import make_data, make_model, ranges


class Ranges(Callback):
    """Ranges at each validation."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_validation_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, number: int, *_: Any) -> None:
        if number == 0:
            self.seen.append(ranges(pl_module))


@pytest.mark.parametrize("method", ["max", "percentile"])
def test_it_fits_as_it_says(method: str, tmp_path: Path) -> None:
    model, data = make_model(calibration_images=3, calibration_method="mse"), make_data()
    trainer = quiet_trainer(tmp_path, RangeCalibration(17, method), logger=False)
    trainer.validate(model, datamodule=data, verbose=False)
    other = make_model(calibration_method=method)
    other.calibrate(batch[0] for batch in data.calibration_dataloader(17))
    assert ranges(model) == ranges(other)


def test_it_fits_as_often_as_it_says_and_the_checkpoint_has_the_last(tmp_path: Path) -> None:
    seen, model = Ranges(), make_model()
    trainer = quiet_trainer(tmp_path, RangeCalibration(10, every_n_epochs=2), seen, max_epochs=4, logger=False)
    trainer.fit(model, datamodule=make_data())
    first, second, third, last = seen.seen
    assert first == second != third != last
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    assert ranges(CimClassifier.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True)) == last


@pytest.mark.parametrize("run", ["validate", "test", "predict"])
def test_outside_of_a_fit_stored_ranges_are_kept_and_missing_ones_fitted(run: str, tmp_path: Path) -> None:
    model = make_model()
    missing, *stored = quantized_layers(model.backbone).values()
    for layer in stored:
        layer.store_range(3.0)
    getattr(quiet_trainer(tmp_path, RangeCalibration(5), logger=False), run)(model, datamodule=make_data())
    assert {float(layer.input_max) for layer in stored} == {3.0} != {float(missing.input_max)}
    assert missing.has_range
    assert model.calibrates_itself  # again
