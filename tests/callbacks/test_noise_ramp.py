"""The noise of training follows its ramp, is logged, and goes on after a resume."""

import math
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule

from asim_lightning.callbacks import NoiseRamp
from asim_lightning.surgery import macro_layers
from tests.callbacks.conftest import quiet_trainer, read_events
from tests.classifier.conftest import make_data, make_model


class Keep(Callback):
    """Remembers the noise that the layers had in each step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: LightningModule, *_: Any) -> None:
        amounts = {layer.train_noise for layer in macro_layers(module.backbone).values()}  # type: ignore[arg-type]
        assert len(amounts) == 1
        self.seen += amounts


@pytest.mark.parametrize(
    ("shape", "at"),
    [
        ("constant", {0.0: 0.0, 1.0: 40.0, 3.0: 40.0, 9.0: 40.0}),
        ("linear", {0.9: 0.0, 1.0: 20.0, 2.0: 25.0, 5.0: 40.0, 9.0: 40.0}),
        ("cosine", {0.9: 0.0, 1.0: 20.0, 3.0: 30.0, 2.0: 20 + 20 * (1 - math.cos(math.pi / 4)) / 2, 5.0: 40.0}),
        ("step", {0.9: 0.0, 1.0: 20.0, 1.9: 20.0, 2.0: 25.0, 2.9: 25.0, 4.99: 35.0, 5.0: 40.0, 8.0: 40.0}),
    ],
)
def test_shapes(shape: str, at: dict[float, float]) -> None:
    ramp = NoiseRamp(end=40.0, start=20.0, shape=shape, warmup=1.0, length=4.0)
    for time, wanted in at.items():
        assert ramp.noise(time, 100.0) == pytest.approx(wanted), time


def test_without_a_length_it_lasts_for_what_is_left() -> None:
    ramp = NoiseRamp(end=10.0, warmup=2.0)
    assert ramp.noise(2.0, 12.0) == 0.0
    assert ramp.noise(7.0, 12.0) == pytest.approx(5.0)
    assert ramp.noise(12.0, 12.0) == pytest.approx(10.0)
    assert NoiseRamp(end=0.0, start=30.0).noise(5.0, 10.0) == pytest.approx(15.0)  # down as well as up


@pytest.mark.parametrize(("unit", "length"), [("step", 4.0), ("epoch", 2.0)])
def test_every_layer_follows_and_it_is_logged(unit: str, length: float, tmp_path: Path) -> None:
    keep, ramp = Keep(), NoiseRamp(end=8.0, unit=unit, length=length)
    trainer = quiet_trainer(tmp_path, ramp, keep, max_epochs=3)
    trainer.fit(make_model(), datamodule=make_data())
    assert keep.seen == pytest.approx([0.0, 2.0, 4.0, 6.0, 8.0, 8.0])
    logged = read_events(trainer.log_dir).Scalars("cim/train_noise")
    assert [event.value for event in logged] == pytest.approx(keep.seen)


def test_epochs_end_with_a_step_where_gradients_are_accumulated(tmp_path: Path) -> None:
    keep, ramp = Keep(), NoiseRamp(end=3.0, unit="epoch", length=3.0)
    trainer = quiet_trainer(tmp_path, ramp, keep, max_epochs=3, limit_train_batches=5, accumulate_grad_batches=4)
    trainer.fit(make_model(), datamodule=make_data(batch_size=4))
    assert trainer.global_step == 3 * 2
    assert keep.seen[::5] == pytest.approx([0.0, 1.0, 2.0])
