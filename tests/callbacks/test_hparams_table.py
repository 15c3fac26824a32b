"""The table of hyperparameters, as TensorBoard's own plugin reads it."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from asim_lightning import MacroConfig, Plan
from asim_lightning.callbacks import HparamsTable, NoiseSweep
from asim_lightning.callbacks.hparams_table import run_hparams
from asim_lightning.callbacks.noise_ramp import NoiseRamp
from tests.callbacks.conftest import quiet_trainer, read_events
from tests.classifier.conftest import make_data, make_model


def line(run: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Hyperparameters and metrics of a run's line, as TensorBoard's plugin takes them."""
    events = read_events(run)
    contents = {tag: HParamsPluginData.FromString(each) for tag, each in events.PluginTagToContent("hparams").items()}
    experiment = contents["_hparams_/experiment"].experiment
    assert sorted(info.name for info in experiment.hparam_infos if info.differs) == [
        "adc_bits", "noise_ramp", "train_noise", "train_noise_model", "weight_bits"
    ]  # fmt: skip
    given = {
        name: value.string_value if value.HasField("string_value") else value.number_value
        for name, value in contents["_hparams_/session_start_info"].session_start_info.hparams.items()
    }
    return given, {info.name.tag: events.Scalars(info.name.tag)[-1].value for info in experiment.metric_infos}


def test_one_line_a_run(tmp_path: Path) -> None:
    finished = []
    for lr, noise in ((0.05, 0.0), (0.01, 20.0)):
        model = make_model(plan=Plan(MacroConfig(weight_bits=4, input_bits=4)))
        model.optimizer_config = type(model.optimizer_config)(lr=lr)
        model.train_noise = noise
        sweep = NoiseSweep([0, 1, 5, 10], images=2)
        trainer = quiet_trainer(tmp_path, sweep, HparamsTable(), ModelCheckpoint(filename="x"))
        trainer.fit(model, datamodule=make_data())
        finished.append(trainer)
    lines = [line(tmp_path / "runs" / f"version_{number}") for number in range(2)]
    assert lines[0][0] == {
        "backbone": "resnet10t",
        "weight_bits": 4,
        "input_bits": 4,
        "adc_bits": 8,
        "rows": 255,
        "train_noise": 0,
        "train_noise_model": "proportional",
        "noise_ramp": "none",
        "lr": pytest.approx(0.05),
        "epochs": 1,
    }
    assert lines[1][0]["lr"] == pytest.approx(0.01)
    assert (lines[1][0]["train_noise"], lines[1][0]["epochs"]) == (20, 1)
    for trainer, (_, metrics) in zip(finished, lines, strict=True):
        names = ("val/acc", "noise/acc_mean", "noise/acc@0", "noise/acc@5", "noise/acc@10")
        assert metrics == {name: pytest.approx(float(trainer.callback_metrics[name])) for name in names}
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["version_0", "version_1"]
    assert [path.name for path in (tmp_path / "runs" / "version_0").iterdir() if path.is_dir()] == ["checkpoints"]


def test_macros_that_differ_and_none(tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, logger=False)
    given = run_hparams(trainer, make_model())  # rules change the ADC and the rows of some layers
    assert (given["adc_bits"], given["rows"], given["weight_bits"]) == ("mixed", "mixed", "mixed")
    assert run_hparams(trainer, make_model(plan=Plan(MacroConfig(adc_bits=None))))["adc_bits"] == "ideal"
    assert run_hparams(trainer, make_model(plan={"keep": ["*"]}))["adc_bits"] == "none"


def test_the_ramp_is_named(tmp_path: Path) -> None:
    ramps = [NoiseRamp(50.0), NoiseRamp(2.0, shape="step", warmup=3)]
    named = run_hparams(quiet_trainer(tmp_path, *ramps, logger=False), make_model())["noise_ramp"]
    assert named == "linear 0 to 50, step 0 to 2 after 3 epochs"
