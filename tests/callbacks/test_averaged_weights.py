"""Beside Lightning's averaging of weights: ranges stay fitted, and callbacks in the wrong order are refused."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging

from asim_lightning.callbacks import NoiseSweep, RangeCalibration, SimulatedAccuracy
from asim_lightning.classifier.processes import fitted_ranges
from tests.callbacks.conftest import quiet_trainer
from tests.classifier.conftest import make_data, make_model


class Validated(Callback):
    """Keeps the ranges that the last validation had."""

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        self.ranges: dict[str, float] = {}

    def on_validation_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        self.ranges = fitted_ranges(module.backbone)


def test_ranges_do_not_decay_between_validations(tmp_path: Path) -> None:
    """The averages start from ranges of -1, which stand for none, and must not be mixed with fitted ones."""
    model, validated = make_model(), Validated()
    averaging = EMAWeightAveraging(decay=0.5)
    trainer = quiet_trainer(tmp_path, averaging, validated, max_epochs=3, check_val_every_n_epoch=2)
    trainer.fit(model, datamodule=make_data())
    assert validated.ranges
    assert all(value > 0 for value in validated.ranges.values())
    assert fitted_ranges(model.backbone) == pytest.approx(validated.ranges, rel=1e-6)  # two averaged steps later


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ((EMAWeightAveraging(), NoiseSweep([0.1])), "NoiseSweep must stand before a WeightAveraging callback"),
        ((EMAWeightAveraging(), SimulatedAccuracy()), "SimulatedAccuracy must stand before a WeightAveraging callback"),
        ((RangeCalibration(), EMAWeightAveraging()), "RangeCalibration must stand behind a WeightAveraging callback"),
    ],
    ids=["sweep behind", "accuracy behind", "ranges before"],
)
def test_the_wrong_order_is_refused(callbacks: tuple[Callback, ...], message: str, tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, *callbacks)
    with pytest.raises(ValueError, match=message):
        trainer.fit(make_model(), datamodule=make_data())
