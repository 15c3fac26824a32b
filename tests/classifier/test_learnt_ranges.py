"""Fits that learn the range of each ADC: start, averaged weights, rules in the checkpoint, and a fit that goes on."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

from asim_lightning import CimClassifier, MacroConfig, Plan, StaticEffects
from asim_lightning.callbacks import NoiseSweep
from asim_lightning.classifier import OptimizerConfig
from asim_lightning.classifier.batches import calibration_images_of
from asim_lightning.classifier.learnt_ranges import begin_adc_ranges_
from asim_lightning.exploration.adc_calibration import fit_adc
from asim_lightning.nn import CimLinear
from asim_lightning.nn.count_histograms import AdcRange
from asim_lightning.surgery import macro_layers
from asim_lightning.surgery.settings import learnt_layers
from tests.classifier.conftest import MakeTrainer, make_data, make_model

pytestmark = pytest.mark.filterwarnings("ignore:.*tensorboard.*", "ignore:.*isinstance.treespec.*")
MACRO = MacroConfig(
    weight_bits=4,
    input_bits=4,
    encoding_bits=4,
    rows=64,
    adc_bits=4,
    random_noise="0.3 lsb",
    static=StaticEffects(offset="0.2 lsb"),
)


def learning(**options: Any) -> CimClassifier:
    defaults: dict[str, Any] = {
        "plan": Plan(MACRO),
        "train_adc": True,
        "train_noise_model": "chip",
        "train_noise": 1.0,
        "optimizer": OptimizerConfig("adam", lr=0.2, schedule="constant"),
    }
    return make_model(**{**defaults, **options})


def fields_of(model: CimClassifier) -> dict[str, tuple[int | None, int]]:
    return {name: (layer.macro.adc_step, layer.macro.adc_low) for name, layer in macro_layers(model.backbone).items()}


def learnt(model: CimClassifier) -> dict[str, tuple[int | None, int]]:
    found = dict[str, tuple[int | None, int]]()
    for name, layer in learnt_layers(model.backbone).items():
        assert layer.adc_range is not None
        found[name] = layer.adc_range.whole
    return found


def test_ranges_start_where_calibration_fits_them_and_are_rules_of_the_checkpoint(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    model, data = learning(optimizer=OptimizerConfig("sgd", lr=1e-9, schedule="constant")), make_data(batch_size=5)
    make_trainer(limit_val_batches=1).fit(model, datamodule=data)
    plain = learning(train_adc=False)
    plain.fit_missing_ranges = lambda always=False: None  # type: ignore[method-assign]
    plain.calibrate(calibration_images_of(data, 20))
    starts = fit_adc(plain, calibration_images_of(data, 20), 20).ranges
    assert learnt(model) == {each.name: (each.step, each.low) for each in starts}
    assert learnt(model) == fields_of(model)

    trainer, model = make_trainer(limit_val_batches=1), learning()
    trainer.fit(model, datamodule=data)
    assert learnt(model) != {each.name: (each.step, each.low) for each in starts}
    trainer.save_checkpoint(path := tmp_path / "learnt.ckpt", weights_only=True)
    for options in ({}, {"train_adc": False, "train_noise": 0.0}):
        loaded = CimClassifier.load_from_checkpoint(path, **options)
        assert fields_of(loaded) == learnt(model)
        assert bool(learnt_layers(loaded.backbone)) is loaded.hparams["train_adc"]
    again = learning()  # of a plan without the rules
    again.load_state_dict(loaded.state_dict() | model.state_dict())
    assert fields_of(again) == learnt(model)


def test_a_fit_names_layers_whose_gradient_does_not_follow_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("asim_lightning.classifier.learnt_ranges.rank_zero_info", said.append)
    model, starts = learning(), dict[str, AdcRange]()
    for name, layer in learnt_layers(model.backbone).items():
        starts[name] = AdcRange(name, 4, 9, 0, 10.0, 10.0, (), coarse=0.4 + 0.2 * isinstance(layer, CimLinear))
    begin_adc_ranges_(model, starts)
    named = [name for name, each in starts.items() if each.coarse > 0.5]
    assert len(said) == len(named) == 1
    assert re.findall(r"(\S+) \(9 counts\)", said[0]) == named


def test_averaged_ranges_are_those_of_the_checkpoint(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    model = learning()
    trainer = make_trainer(limit_val_batches=1, callbacks=[EMAWeightAveraging(decay=0.5)], max_epochs=2)
    trainer.fit(model, datamodule=make_data(batch_size=5))
    trainer.save_checkpoint(path := tmp_path / "averaged.ckpt", weights_only=True)
    loaded = CimClassifier.load_from_checkpoint(path)
    assert fields_of(loaded) == learnt(loaded)


def test_an_average_that_has_not_begun_has_the_start(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    model, callback = learning(), EMAWeightAveraging(update_starting_at_step=1000)
    trainer = make_trainer(limit_val_batches=1, callbacks=[callback])
    saved = tmp_path / "epoch.ckpt"
    callback.on_train_epoch_end = lambda *_: trainer.save_checkpoint(saved)  # type: ignore[method-assign]
    trainer.fit(model, datamodule=make_data(batch_size=5))
    loaded = CimClassifier.load_from_checkpoint(saved)
    assert fields_of(loaded) == learnt(loaded) == fields_of(model)
    assert {step for step, _ in fields_of(model).values()} != {1}


def test_macros_have_the_last_ranges_after_a_fit_without_validation(make_trainer: MakeTrainer) -> None:
    model = learning()
    make_trainer(limit_val_batches=0).fit(model, datamodule=make_data(batch_size=5))
    assert fields_of(model) == learnt(model)


def test_a_fit_goes_on_with_its_ranges(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    whole = learning()
    make_trainer(limit_val_batches=1, max_epochs=2).fit(whole, datamodule=make_data(batch_size=5))
    first, resumed = make_trainer(limit_val_batches=1, max_epochs=1), learning()
    first.fit(learning(), datamodule=make_data(batch_size=5))
    first.save_checkpoint(path := tmp_path / "first.ckpt")
    make_trainer(limit_val_batches=1, max_epochs=2).fit(resumed, datamodule=make_data(batch_size=5), ckpt_path=path)
    assert learnt(resumed) == learnt(whole)
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_a_sweep_of_noise_that_ranges_decide_stops_before_the_first_step(make_trainer: MakeTrainer) -> None:
    model = learning()  # with noise in LSB
    trainer = make_trainer(callbacks=[NoiseSweep([0.1])])
    with pytest.raises(ValueError, match="learnt ranges of ADCs with noise in LSB, decide `random_noise`"):
        trainer.fit(model, datamodule=make_data(batch_size=5))
    assert trainer.global_step == 0


def test_the_chip_must_be_in_the_loop() -> None:
    with pytest.raises(ValueError, match="`train_noise_model` must be chip with `train_adc`, got macro"):
        learning(train_noise_model="macro")
