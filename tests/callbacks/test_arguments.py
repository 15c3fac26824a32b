"""Arguments that callbacks refuse."""

from typing import Any

import pytest

from asim_lightning import callbacks

WRONG: list[tuple[str, dict[str, Any]]] = [
    ("ConfusionMatrix", {"every_n_epochs": 0}),
    ("LastCheckpoint", {"every_n_train_steps": 0}),
    ("Misclassified", {"images": 401}),
    ("NoiseRamp", {"end": float("nan")}),
    ("NoiseRamp", {"length": 0, "end": 1.0}),
    ("NoiseRamp", {"shape": "linaer", "end": 1.0}),
    ("NoiseRamp", {"unit": "epochs", "end": 1.0}),
    ("NoiseSweep", {"axis": "adc_bit", "levels": [0]}),
    ("NoiseSweep", {"split": "vale", "levels": [0]}),
    ("NoiseSweep", {"trials": 65536, "levels": [0]}),
    ("RangeCalibration", {"every_n_epochs": 1.5}),
    ("RangeCalibration", {"method": "mean"}),
    ("SimulatedAccuracy", {"chips": []}),
    ("SimulatedAccuracy", {"images": 0}),
]


@pytest.mark.parametrize(("name", "arguments"), WRONG)
def test_arguments_that_are_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` of {name}"):
        getattr(callbacks, name)(**arguments)
