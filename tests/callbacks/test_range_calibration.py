"""Ranges are fitted by the callback, as often and as it says, and are the same on every process."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer

from asim_lightning import CimClassifier, MacroConfig
from asim_lightning.callbacks import RangeCalibration
from asim_lightning.nn import CimMatmul
from asim_lightning.nn.calibration import needs_calibration, quantized_layers
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
def test_stored_ranges_are_kept_outside_of_a_fit(run: str, tmp_path: Path) -> None:
    model = make_model()
    for layer in quantized_layers(model.backbone).values():
        layer.store_range(3.0)
    getattr(quiet_trainer(tmp_path, RangeCalibration(), logger=False), run)(model, datamodule=make_data())
    assert set(ranges(model).values()) == {3.0}


@pytest.mark.parametrize("run", ["validate", "test", "predict"])
def test_missing_ranges_are_fitted_outside_of_a_fit(run: str, tmp_path: Path) -> None:
    model = make_model()
    getattr(quiet_trainer(tmp_path, RangeCalibration(5), logger=False), run)(model, datamodule=make_data())
    assert not needs_calibration(model.backbone)


def test_on_demand(tmp_path: Path) -> None:
    model, data = make_model(), make_data()
    RangeCalibration(7).calibrate(quiet_trainer(tmp_path, logger=False), model, data)
    other = make_model()
    other.calibrate(batch[0] for batch in data.calibration_dataloader(7))
    assert ranges(model) == ranges(other)


def test_the_classifier_has_its_ranges_back_afterwards(tmp_path: Path) -> None:
    model, data = make_model(), make_data()
    quiet_trainer(tmp_path, RangeCalibration(5), logger=False).validate(model, datamodule=data, verbose=False)
    assert model.calibrates_itself
    quiet_trainer(tmp_path, logger=False).fit(model, datamodule=data)
    assert set(ranges(model).values()) != {3.0}


def test_a_layer_that_no_image_reaches_is_asked_for_again(tmp_path: Path) -> None:
    model = make_model()
    model.backbone.never = CimMatmul(MacroConfig(), input_range="calibrated")
    quiet_trainer(tmp_path, RangeCalibration(5), logger=False).validate(model, datamodule=make_data(), verbose=False)
    assert not model.backbone.never.has_range
    assert [name for name, layer in quantized_layers(model.backbone).items() if not layer.has_range] == ["never"]
    assert needs_calibration(model.backbone)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 0}, "`images` of RangeCalibration must be 1 or more, got 0"),
        ({"every_n_epochs": 1.5}, "`every_n_epochs` of RangeCalibration must be 1 or more, got 1.5"),
        ({"method": "mean"}, "`method` of RangeCalibration must be one of max, percentile, mse, got 'mean'"),
    ],
)
def test_arguments_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RangeCalibration(**options)


def test_two_are_refused(tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, RangeCalibration(), RangeCalibration(3), logger=False)
    with pytest.raises(ValueError, match="Only one RangeCalibration"):
        trainer.validate(make_model(), datamodule=make_data(), verbose=False)
