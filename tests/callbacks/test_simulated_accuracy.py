"""Accuracy on the macro while training, and which epoch is kept for it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from asim_lightning import CimClassifier, MacroConfig, Plan
from asim_lightning.callbacks import SimulatedAccuracy
from asim_lightning.callbacks.simulated_accuracy import accuracy_of_training, spread_positions
from asim_lightning.circuit import StaticEffects
from asim_lightning.engine import noise_context
from tests.callbacks.conftest import quiet_trainer
from tests.classifier.conftest import make_data, make_model


def on_chips(**options: Any) -> CimClassifier:
    macro = MacroConfig(weight_bits=4, input_bits=4, static=StaticEffects(offset="1 lsb"))
    return make_model(plan=Plan(macro), train_noise=1.0, **options)


def test_the_metric_is_the_mean_accuracy_on_the_chips(tmp_path: Path) -> None:
    model, data = on_chips(), make_data()
    checkpoint = ModelCheckpoint(monitor=SimulatedAccuracy.METRIC, mode="max", filename="best")
    trainer = quiet_trainer(tmp_path, SimulatedAccuracy(25, [3, 5]), checkpoint)
    trainer.fit(model, datamodule=data)
    assert model.fidelity == "quantized"
    model.eval().fidelity = "simulated"
    right = []
    for chip in (3, 5):
        for images, labels, ids in data.val_dataloader():
            with torch.no_grad(), noise_context(0, 0, ids, chip):
                right.append(model(images).argmax(1) == labels)
    expected = float(torch.cat(right).double().mean())
    assert float(trainer.callback_metrics[SimulatedAccuracy.METRIC]) == pytest.approx(expected)
    assert float(checkpoint.best_model_score) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "chips"),
    [
        ({"train_noise_model": "proportional"}, None),
        ({"train_noise_model": "macro"}, [None]),
        ({"train_noise_model": "macro", "fidelity": "simulated"}, None),
        ({"train_noise_model": "chip", "chip": 4}, [None]),
        ({"train_noise_model": "chip", "chip": 4, "fidelity": "simulated"}, None),
        ({"train_noise_model": "chip", "train_noise_args": {"chip": 7}, "fidelity": "simulated"}, [7]),
        ({"train_noise_model": "chip", "train_noise_args": {"chip": "fresh"}}, list(range(2**32 - 1, 2**32 - 9, -1))),
    ],
)
def test_what_is_trained_for(options: dict[str, Any], chips: list[Any] | None) -> None:
    found = accuracy_of_training(on_chips(**options))
    assert (None if found is None else [each.chip for each in found.conditions]) == chips


@pytest.mark.parametrize(("length", "count"), [(100, 20), (25, 25), (7, 100), (10, 3), (1, 1)])
def test_positions_are_spread_and_distinct(length: int, count: int) -> None:
    places = spread_positions(length, count)
    assert places == sorted(set(places)) == spread_positions(length, count)
    assert len(places) == min(length, count)
    assert 0 <= places[0] <= places[-1] < length
    stretches = [place * len(places) // length for place in places]
    assert len(places) < 10 or max(abs(stretch - n) for n, stretch in enumerate(stretches)) <= 1


def test_classes_that_take_turns_all_have_a_part() -> None:
    labels = [place % 10 for place in spread_positions(2000, 200)]
    assert min(labels.count(label) for label in range(10)) >= 8
    labels = [place // 200 for place in spread_positions(2000, 200)]
    assert [labels.count(label) for label in range(10)] == [20] * 10
