"""The table of hyperparameters, as TensorBoard's own plugin reads it."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler

from asim_lightning import MacroConfig, Plan
from asim_lightning.callbacks import HparamsTable, NoiseSweep
from asim_lightning.callbacks.hparams_table import run_hparams
from asim_lightning.callbacks.noise_ramp import NoiseRamp
from tests.callbacks.conftest import quiet_trainer
from tests.classifier.conftest import make_data, make_model


def table(folder: Path) -> list[tuple[str, dict[str, Any], dict[str, float]]]:
    """Name, hyperparameters and metrics of each line."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    context = Context(TBContext(data_provider=provider, multiplexer=multiplexer))
    ctx = RequestContext()
    experiment = context.experiment_from_metadata(
        ctx, "", True, context.hparams_metadata(ctx, ""), context.hparams_from_data_provider(ctx, "", None)
    )
    # the table shows the first five columns of hyperparameters
    assert [info.name for info in experiment.hparam_infos][:5] == [
        "adc_bits", "noise_ramp", "train_noise", "train_noise_model", "weight_bits"
    ]  # fmt: skip
    columns = [api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos]
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=10,
        allowed_statuses=list(api_pb2.Status.values()),
        col_params=[*columns, *(api_pb2.ColParams(hparam=info.name) for info in experiment.hparam_infos)],
        include_metrics=True,
    )
    groups = Handler(ctx, context, "", request).run().session_groups
    lines = []
    for group in groups:
        assert len(group.sessions) == 1
        given = {
            name: value.string_value if value.HasField("string_value") else value.number_value
            for name, value in group.hparams.items()
        }
        metrics = {value.name.tag: value.value for value in group.metric_values}
        lines.append((group.sessions[0].name, given, metrics))
    return sorted(lines)


def test_one_line_a_run(tmp_path: Path) -> None:
    finished = []
    for lr, noise in ((0.05, 0.0), (0.01, 20.0)):
        model = make_model(plan=Plan(MacroConfig(weight_bits=4, input_bits=4)))
        model.optimizer_config = type(model.optimizer_config)(lr=lr)
        model.train_noise = noise
        sweep = NoiseSweep([0, 1, 2, 5, 10], images=2)
        trainer = quiet_trainer(tmp_path, sweep, HparamsTable(), ModelCheckpoint(filename="x"), max_epochs=2)
        trainer.fit(model, datamodule=make_data())
        finished.append(trainer)
    lines = table(tmp_path / "runs")
    assert [name for name, _, _ in lines] == ["version_0", "version_1"]
    assert lines[0][1] == {
        "backbone": "resnet10t",
        "weight_bits": 4,
        "input_bits": 4,
        "adc_bits": 8,
        "rows": 255,
        "train_noise": 0,
        "train_noise_model": "proportional",
        "noise_ramp": "none",
        "lr": pytest.approx(0.05),
        "epochs": 2,
    }
    assert lines[1][1]["lr"] == pytest.approx(0.01)
    assert (lines[1][1]["train_noise"], lines[1][1]["epochs"]) == (20, 2)
    for trainer, (_, _, metrics) in zip(finished, lines, strict=True):
        names = ("val/acc", "noise/acc_mean", "noise/acc@0", "noise/acc@2", "noise/acc@10")
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


def test_without_tensorboard_nothing_happens(tmp_path: Path) -> None:
    quiet_trainer(tmp_path, HparamsTable(), logger=False).fit(make_model(), datamodule=make_data())
    assert list(tmp_path.iterdir()) == []
