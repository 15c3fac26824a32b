"""Accuracy under noise while training: what is measured, what is left as it was, what TensorBoard shows of it."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from torch.utils.data import DataLoader, TensorDataset

from asim_lightning import CimClassifier, MacroConfig, Plan, Rule
from asim_lightning.callbacks import NoiseSweep
from asim_lightning.engine import noise_context
from asim_lightning.evaluation.results import Result
from tests.callbacks.conftest import quiet_trainer, read_events
from tests.classifier.conftest import make_data, make_model
from tests.conftest import rows_of

TAG = "sweep/accuracy_vs_random_noise_in_millipercent"


def one_macro(**options: Any) -> CimClassifier:
    return make_model(plan=Plan(MacroConfig(weight_bits=4, input_bits=4, random_noise=0.3)), **options)


def charts(events: EventAccumulator) -> list[list[Any]]:
    """The charts of each category of TensorBoard's custom scalars."""
    event = events.Tensors("custom_scalars__config__")[-1]
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return [list(category.chart) for category in layout.category]


class Given(NoiseSweep):
    """Does not measure: the accuracies of the sweeps are given."""

    def __init__(self, accuracies: list[float], **options: Any) -> None:
        super().__init__([0], **options)
        self.accuracies = iter(accuracies)

    def measure(self, trainer: Trainer, module: Any) -> Any:
        self._on_network = self._levels_of(module)
        accuracy = next(self.accuracies)
        return [Result({"random_noise": 0.0}, "simulated", 1, 10, accuracy, accuracy, accuracy, 1.0, "")]


class Accuracies(Callback):
    """The metric that a checkpoint sees in each epoch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        self.seen.append(round(float(trainer.callback_metrics["noise/acc_mean"]), 4))


def test_a_fit_with_every_output(tmp_path: Path) -> None:
    sweep = NoiseSweep([2.0, 0, "51 lsb"], images=20, trials=2)
    checkpoint = ModelCheckpoint(monitor="noise/acc_mean", mode="max", filename="best")
    model = one_macro()
    trainer = quiet_trainer(tmp_path, sweep, checkpoint, max_epochs=2)
    trainer.fit(model, datamodule=make_data())
    events = read_events(trainer.log_dir)

    rows = rows_of(Path(trainer.log_dir) / "noise_sweep.csv")
    assert [(row["epoch"], row["step"], row["level"]) for row in rows] == [
        (epoch, step, level) for epoch, step in (("0", "2"), ("1", "4")) for level in ("0", "2.0", "51 lsb")
    ]
    assert [(row["percent"], row["lsb"], row["images"], row["trials"]) for row in rows[:3]] == [
        ("0", "0", "20", "1"), ("2", "5.1", "20", "2"), ("20", "51", "20", "2")
    ]  # fmt: skip
    found = [float(row["accuracy"]) for row in rows]
    for level, place in (("0", 0), ("2", 1), ("51lsb", 2)):
        scalars = [(event.step, event.value) for event in events.Scalars(f"noise/acc@{level}")]
        assert scalars == [(1, pytest.approx(found[place], abs=1e-6)), (3, pytest.approx(found[place + 3], abs=1e-6))]
    mean = [event.value for event in events.Scalars("noise/acc_mean")]
    assert mean == pytest.approx([sum(found[:3]) / 3, sum(found[3:]) / 3], abs=1e-6)
    worst = [event.value for event in events.Scalars("noise/acc_worst")]
    assert worst == pytest.approx([min(found[:3]), min(found[3:])], abs=1e-6)
    assert float(checkpoint.best_model_score) == pytest.approx(max(mean))

    for end, name in (("mean", "accuracy"), ("low", "low"), ("high", "high")):  # of the last sweep
        curve = [(event.step, event.value) for event in events.Scalars(f"{TAG}/{end}")]
        expected = [float(row[name]) for row in rows[3:]]
        assert curve == [(step, pytest.approx(y, abs=1e-6)) for step, y in zip((0, 2000, 20000), expected, strict=True)]
    assert len(events.Images("noise/accuracy_vs_random_noise")) == 2

    (margin,), (training, loss) = charts(events)
    assert margin.margin.series[0].value == f"{TAG}/mean"
    assert list(training.multiline.tag) == ["train/loss$", "cim/train_noise$"]
    assert list(loss.multiline.tag) == ["train/loss$"]
    scalars = events.Tags()["scalars"]
    assert {series.value for series in margin.margin.series} <= set(scalars)
    assert any(re.search(loss.multiline.tag[0], tag) for tag in scalars)


def test_the_accuracy_is_that_of_the_simulation_and_rules_win(tmp_path: Path) -> None:
    rules = [Rule("layer3.*", {"random_noise": 0})]
    plans = [Plan(MacroConfig(4, 4, random_noise=noise), rules) for noise in (0.3, 1.0)]
    trained, model = (make_model(plan=plan, noise_seed=3, trial=7, chip=2) for plan in plans)
    data, sweep = make_data(), NoiseSweep([1.0], images=25, trials=2)
    quiet_trainer(tmp_path, sweep, max_epochs=1).fit(trained, datamodule=data)
    model.load_state_dict(trained.state_dict())
    model.eval().fidelity = "simulated"
    right = []
    for trial in (7, 8):
        for images, labels, ids in data.val_dataloader():
            with torch.no_grad(), noise_context(3, trial, ids, 2):
                right.append(model(images).argmax(1) == labels)
    assert sweep.results[0][0].accuracy == float(torch.cat(right).double().mean())


def test_a_fit_with_sweeps_gives_the_weights_of_one_without(tmp_path: Path) -> None:
    weights = []
    for callbacks in ([], [NoiseSweep([0.1], images=3)]):
        model = make_model()
        quiet_trainer(tmp_path, *callbacks, logger=False, max_epochs=2).fit(model, datamodule=make_data())
        weights.append(model.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_between_sweeps_the_metric_stays_and_no_epoch_is_kept(tmp_path: Path) -> None:
    sweep, seen = Given([0.5, 0.9, 0.6], every_n_epochs=2), Accuracies()
    checkpoint = ModelCheckpoint(monitor="noise/acc_mean", mode="max", filename="{epoch}")
    trainer = quiet_trainer(tmp_path, sweep, seen, checkpoint, max_epochs=4)
    trainer.fit(make_model(), datamodule=make_data())
    assert list(sweep.results) == [0, 2, 3]
    assert seen.seen == [0.5, 0.5, 0.9, 0.6]
    assert Path(checkpoint.best_model_path).name == "epoch=2.ckpt"
    assert float(checkpoint.best_model_score) == pytest.approx(0.9)


def test_a_resumed_fit_sweeps_where_it_is_due_and_leaves_one_curve_and_no_doubled_lines(tmp_path: Path) -> None:
    def run(epochs: int, accuracies: list[float], ckpt_path: Path | None) -> Trainer:
        logger = TensorBoardLogger(tmp_path, "runs", version=0, default_hp_metric=False)
        checkpoint = ModelCheckpoint(monitor="noise/acc_mean", mode="max", filename="best")
        sweep = Given(accuracies, every_n_epochs=3)
        trainer = quiet_trainer(tmp_path, sweep, checkpoint, max_epochs=epochs, logger=logger)
        trainer.fit(make_model(), datamodule=make_data(), ckpt_path=ckpt_path)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return trainer

    run(2, [0.5, 0.6], None)
    trainer = run(4, [0.8], tmp_path / "last.ckpt")  # epoch 3; in epoch 2 a checkpoint sees the metrics of epoch 1
    written = tmp_path / "runs" / "version_0" / "noise_sweep.csv"
    assert [row["epoch"] for row in rows_of(written)] == ["0", "1", "3"]
    curve = read_events(trainer.log_dir).Scalars(f"{TAG}/mean")
    assert [(event.step, event.value) for event in curve] == [(0, pytest.approx(0.8))]
    (state,) = (each.state_dict() for each in trainer.callbacks if isinstance(each, NoiseSweep))  # type: ignore[attr-defined]
    other = NoiseSweep([7])  # other levels go on with the rows alone
    other.load_state_dict(state)
    assert other.state_dict() == {**state, "levels": (7,), "metrics": {}}
    run(1, [0.4], None)
    assert [row["epoch"] for row in rows_of(written)] == ["0"]


@pytest.mark.parametrize("options", [{"logger": False}, {"fast_dev_run": True}])
def test_without_a_logger(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = NoiseSweep([0, 1.0], images=2)
    trainer = quiet_trainer(tmp_path, sweep, **options)
    trainer.fit(make_model(), datamodule=make_data())
    assert set(sweep.results) == {0}
    assert "noise/acc_mean" in trainer.callback_metrics
    written = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert written == ([] if "fast_dev_run" in options else ["noise_sweep.csv"])


def test_two_axes_beside_each_other(tmp_path: Path) -> None:
    sweeps = [NoiseSweep([0, 1], images=2), NoiseSweep([0, 5], "nonlinear_noise", images=2, split="test")]
    trainer = quiet_trainer(tmp_path, *sweeps, ModelCheckpoint(filename="x"))
    trainer.fit(make_model(), datamodule=make_data())
    assert {"noise/acc@1", "noise/acc_mean", "nonlinear_noise/acc@5", "nonlinear_noise/acc_mean"} <= set(
        trainer.callback_metrics
    )
    assert (Path(trainer.log_dir) / "nonlinear_noise_sweep.csv").exists()
    events = read_events(trainer.log_dir)
    assert {f"{TAG}/mean", f"{TAG.replace('random', 'nonlinear')}/mean"} <= set(events.Tags()["scalars"])
    assert [len(each) for each in charts(events)] == [2, 2]  # a layout has the charts of all callbacks
    with pytest.raises(RuntimeError, match="more than one stateful callback of type `NoiseSweep`"):
        quiet_trainer(tmp_path, NoiseSweep([0]), NoiseSweep([1]))


def test_loaders_without_a_data_module(tmp_path: Path) -> None:
    images, ids = torch.randn(6, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    loader = DataLoader(TensorDataset(images, ids, ids), batch_size=4)
    sweep = NoiseSweep([1], images=100)
    quiet_trainer(tmp_path, sweep, logger=False).fit(make_model(), loader, [loader])
    assert sweep.results[0][0].images == 6


@pytest.mark.parametrize(
    ("callbacks", "model", "message"),
    [
        ([NoiseSweep([0.1])], {"plan": {"keep": ["*"]}}, "needs a network with layers on a macro"),
        ([NoiseSweep(["1 mV"])], {}, "`macro.random_noise` in mV needs `macro.full_scale_mv`"),
        (
            [NoiseSweep([0], every_n_epochs=2), ModelCheckpoint(monitor="noise/acc_mean", mode="max", save_top_k=3)],
            {},
            "`save_top_k` of a ModelCheckpoint with monitor noise/acc_mean must be 1",
        ),
    ],
)
def test_fits_that_are_refused(callbacks: Any, model: dict[str, Any], message: str, tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, *callbacks, logger=False)
    with pytest.raises(ValueError, match=message):
        trainer.fit(make_model(**model), datamodule=make_data())
