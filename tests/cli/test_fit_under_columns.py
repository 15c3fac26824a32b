"""Training under an ADC with a range of its own, and under a column from a file: noise knows them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.cli.conftest import Asim

Write = Callable[..., Path]

RANGE = {"adc_bits": 4, "adc_step": 1, "adc_low": 2, "random_noise": "0.5 lsb"}
MEASURED = {"column": "measured", "column_args": {"file": "measured_chip.csv"}}


def fitted(asim: Asim, written: Write, macro: dict[str, Any], model: str) -> dict[str, Tensor]:
    """Weights after two steps under the noise of a macro."""
    path = written(
        model__plan__macro={"weight_bits": 4, "input_bits": 4, **macro}, model__train_noise=1.0,
        model__train_noise_model=model, trainer__limit_val_batches=1,
    )  # fmt: skip
    answer = asim("fit", "-c", path)
    assert answer.code == 0, answer.err
    checkpoint = max(Path("runs/tiny").glob("version_*/checkpoints/best.ckpt"), key=lambda p: p.stat().st_mtime_ns)
    found: dict[str, Tensor] = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(bool(values.isfinite().all()) for values in found.values() if values.is_floating_point())
    return found


def differ(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return any(not torch.equal(values, second[name]) for name, values in first.items())


@pytest.mark.parametrize("model", ["macro", pytest.param("chip", marks=pytest.mark.slow)])
def test_training_noise_knows_the_range_of_the_adc(asim: Asim, written: Write, model: str) -> None:
    within = fitted(asim, written, RANGE, model)
    assert differ(within, fitted(asim, written, {**RANGE, "adc_low": 0}, model))
    assert not differ(within, fitted(asim, written, RANGE, model))


@pytest.mark.slow  # test_macro_noise has its level
@pytest.mark.parametrize("model", ["macro", "chip"])
def test_training_noise_is_that_of_a_measured_column(asim: Asim, written: Write, model: str) -> None:
    measured = fitted(asim, written, MEASURED, model)
    assert differ(measured, fitted(asim, written, {"random_noise": 0.2}, model))


def test_a_measured_column_has_read_noise(asim: Asim, written: Write) -> None:
    path = written(
        model__plan__macro=MEASURED, model__train_noise=1.0, model__train_noise_model="chip",
        model__train_noise_args={"read_noise": False},
    )  # fmt: skip
    error = asim("fit", "-c", path).error
    assert "`train_noise_args.read_noise` must be true with a column that has noise of its own, got false" in error
