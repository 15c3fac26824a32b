"""A record answers only for what it was measured on: whatever can change an outcome changes the fingerprint."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LambdaCallback,
    LearningRateMonitor,
    ModelSummary,
    Timer,
    TQDMProgressBar,
)
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

from asim_lightning import CimClassifier, MacroConfig, Plan
from asim_lightning.callbacks import (
    ConfusionMatrix,
    ImageCounter,
    LastCheckpoint,
    Misclassified,
    NetworkSummary,
    NoiseRamp,
    NoiseSweep,
    PredictionWriter,
    RangeCalibration,
)
from asim_lightning.data import FashionMNIST
from asim_lightning.exploration.axes import SweepAxes
from asim_lightning.exploration.contents import Contents
from asim_lightning.exploration.fingerprint import _OUR_HARMLESS_CALLBACKS, fingerprint
from asim_lightning.exploration.sweep import Sweep
from tests.classifier.conftest import make_data, make_model
from tests.exploration.conftest import CountingSweep, Load

PLAN = Plan(MacroConfig(4, 4, rows=64))
COLUMN = """
from asim_lightning.circuit.columns import Column
from gain import GAIN

class Mine(Column):
    def level(self, count, cycle):
        return super().level(count, cycle) * GAIN
"""
DATA = """
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader
from asim_lightning.data import FashionMNIST

class Mine(LightningDataModule):
    num_classes, in_channels = 10, 1

    def __init__(self, normalize=(0.0, 1.0)):
        super().__init__()
        self.normalize = normalize

    def test_dataloader(self):
        images = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        mean, deviation = self.normalize
        return DataLoader([((x - mean) / deviation, n % 10, n) for n, x in enumerate(images)], batch_size=10)

    train_dataloader = test_dataloader
"""


class Own(LightningDataModule):
    """A data module of a user's."""

    def __init__(self, **state: Any) -> None:
        super().__init__()
        self.num_classes, self.in_channels = 10, 1
        for name, value in state.items():
            setattr(self, name, value)

    def test_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.rand(4, 1, 28, 28), torch.arange(4), torch.arange(4)))


class Stored(LightningDataModule):
    """One that keeps its arguments as hyperparameters."""

    def __init__(self, mean: float = 0.0, batch_size: int = 1) -> None:
        super().__init__()
        self.save_hyperparameters()


def quiet(**options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **options,
    )  # fmt: skip


def of(data: Any = None, model: CimClassifier | None = None, **trainer: Any) -> dict[str, object]:
    model = model or make_model(plan=PLAN)
    found = fingerprint(model, data or make_data(), quiet(**trainer), ["random_noise"], Contents())
    assert found.unknown == ()
    return found.settings


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Own(normalize=(0.1, 0.2)), Own(normalize=(0.1, 0.3))),
        (Own(means=[0.1]), Own(means=[0.2])),
        (Own(options={"a": {"b": 1}}), Own(options={"a": {"b": 2}})),
        (Own(transform=v2.Normalize([0.1], [0.2])), Own(transform=v2.Normalize([0.1], [0.3]))),
        (Own(_private=torch.zeros(3)), Own(_private=torch.ones(3))),
        (Own(transform=v2.Lambda(lambda x: x + 1)), Own(transform=v2.Lambda(lambda x: x + 2))),
        (Own(data=TensorDataset(torch.zeros(2))), Own(data=TensorDataset(torch.ones(2)))),
        (Stored(0.1), Stored(0.2)),
        (make_data(test_images=20), make_data(test_images=10)),
        (make_data(), Own()),
    ],
)
def test_all_state_of_the_data_counts(one: LightningDataModule, other: LightningDataModule) -> None:
    assert of(one) == of(one)
    assert of(one)["data"] != of(other)["data"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (make_data(eval_batch_size=10), make_data(eval_batch_size=5, batch_size=3, num_workers=2)),
        (Own(num_workers=1, pin_memory=True), Own()),
    ],
)
def test_what_is_known_to_be_harmless_does_not(one: LightningDataModule, other: LightningDataModule) -> None:
    other.trainer = quiet()
    other.setup("test") if isinstance(one, type(make_data())) else None
    assert of(one) == of(other)


def fitted(**options: Any) -> CimClassifier:
    """A network whose input ranges are fitted to the same images whatever the settings."""
    model = make_model(plan=PLAN, **options)
    model.calibrate([torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))])
    return model


class OwnClassifier(CimClassifier):
    """One whose test may use any setting."""


def test_settings_of_training_do_not_count_in_our_own_classifier() -> None:
    training: dict[str, Any] = {"label_smoothing": 0.1, "mixup": 0.2, "train_noise": 1.0}
    assert of(model=make_model(plan=PLAN, **training)) == of()
    own = [OwnClassifier(**make_model(plan=PLAN, **each).hparams) for each in ({}, {"label_smoothing": 0.1})]
    assert of(model=own[0])["model"] != of(model=own[1])["model"]


def test_what_ranges_are_fitted_to_does_not_count_where_they_are_fitted() -> None:
    images = {"calibration_images": 30}
    assert of(model=fitted(**images)) == of(model=fitted())
    other = make_data(held_out=100, seed=5)
    assert of(other, model=fitted()) == of(model=fitted())
    assert of(model=make_model(plan=PLAN, **images))["model"] != of()["model"]
    assert of(other)["data"] != of()["data"]
    anew = [RangeCalibration(20)]
    assert of(other, fitted(), callbacks=anew)["data"] != of(None, fitted(), callbacks=anew)["data"]
    assert of(model=fitted(**images), callbacks=anew)["model"] != of(model=fitted(), callbacks=anew)["model"]
    seeds = [Overridden(test_images=20, seed=seed) for seed in (0, 1)]
    assert of(seeds[0], fitted())["data"] != of(seeds[1], fitted())["data"]


def test_batches_count_where_answers_depend_on_them() -> None:
    one, other = make_data(eval_batch_size=10), make_data(eval_batch_size=5)
    by_batch = make_model(plan=Plan(PLAN.macro, input_range="batch"))
    assert of(one, by_batch) != of(other, by_batch)
    assert of(one, limit_test_batches=1) != of(other, limit_test_batches=1)


class Overridden(FashionMNIST):
    """One whose loader may drop the last batch."""

    def test_dataloader(self) -> Any:
        return DataLoader(super().test_dataloader().dataset, self.eval_batch_size, drop_last=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Own(batch_size=3), Own(batch_size=4)),
        (Stored(batch_size=1), Stored(batch_size=2)),
        (Overridden(test_images=20, eval_batch_size=10), Overridden(test_images=20, eval_batch_size=11)),
    ],
)
def test_batches_of_a_user_s_loader_count(one: LightningDataModule, other: LightningDataModule) -> None:
    assert of(one)["data"] != of(other)["data"]


def test_data_on_disk_counts(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_text("a")
    (tmp_path / "labels.csv").write_text("1")
    data = Own(root=str(tmp_path / "images"), labels=tmp_path / "labels.csv")
    seen = [of(data)]
    (tmp_path / "images" / "b.png").write_text("b")
    seen.append(of(data))
    (tmp_path / "labels.csv").write_text("2")
    seen.append(of(data))
    assert seen[0] != seen[1] != seen[2] != seen[0]


THRESHOLD = [1]


class Tabled(Own):
    """One whose images depend on a class attribute, and on a global of this file."""

    MEAN = 0.0

    def test_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.zeros(4, 1, 28, 28) + self.MEAN + THRESHOLD[0]))


def test_what_a_data_module_reads_beside_its_state_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [of(Tabled())]
    monkeypatch.setattr(Tabled, "MEAN", 1.0)
    seen.append(of(Tabled()))
    monkeypatch.setitem(globals(), "THRESHOLD", [2])
    seen.append(of(Tabled()))
    assert of(Tabled()) == seen[2]
    assert seen[0] != seen[1] != seen[2]


def test_a_method_of_the_data_module_does_not_bring_its_trainer() -> None:
    data = Own()
    data.collate, data.trainer = data.test_dataloader, quiet()
    assert of(data)["data"] != of(Own())["data"]


class Watching(ConfusionMatrix):
    """One that inherits from a harmless callback."""


class Disturbing(Callback):
    def __init__(self, amount: float) -> None:
        self.amount = amount


def test_network_settings_and_trainer_count() -> None:
    def changed(name: str, value: Any) -> CimClassifier:
        model = make_model(plan=PLAN)
        setattr(model, name, value)
        return model

    def hidden_buffer(value: float) -> CimClassifier:
        model = make_model(plan=PLAN)
        model.backbone.register_buffer("hidden", torch.tensor(value), persistent=False)
        return model

    plain = of()
    assert of(model=make_model(plan=PLAN)) == plain
    weights = make_model(plan=PLAN)
    with torch.no_grad():
        weights.backbone.fc.bias[0] += 1
    others = [
        of(model=weights),
        of(model=changed("noise_seed", 1)),
        of(model=changed("chip", 1)),
        of(model=make_model(plan=Plan(MacroConfig(4, 4, rows=65)))),
        of(model=hidden_buffer(1.0)),
        of(precision="bf16-mixed"),
        of(callbacks=[Disturbing(1.0)]),
        of(callbacks=[Disturbing(2.0)]),
        of(callbacks=[RangeCalibration(20)]),
        of(callbacks=[RangeCalibration(200)]),
        of(callbacks=[RangeCalibration(20, "percentile")]),
        of(callbacks=[LambdaCallback(on_test_start=lambda *_: None)]),
        of(callbacks=[Watching()]),
    ]
    texts = [str(each) for each in (plain, *others)]
    assert len(set(texts)) == len(texts)
    assert of(model=hidden_buffer(1.0)) != of(model=hidden_buffer(2.0))
    assert of(model=make_model(plan=Plan(MacroConfig(4, 4, rows=64, random_noise=0.3)))) == plain  # a point decides it


def test_callbacks_that_look_on_or_act_in_a_fit_do_not_count(tmp_path: Path) -> None:
    looking = [
        ConfusionMatrix(), ImageCounter(), LastCheckpoint(), Misclassified(), NetworkSummary(), NoiseSweep([0.1]),
        PredictionWriter(tmp_path / "a.csv"), Timer(), EarlyStopping("val/acc"), LearningRateMonitor(),
        ModelSummary(), TQDMProgressBar(), NoiseRamp(1.0),
    ]  # fmt: skip
    model, data = make_model(plan=PLAN), make_data()
    trainer = quiet()
    plain = fingerprint(model, data, trainer, [], Contents())
    trainer.callbacks += looking  # type: ignore[attr-defined]
    assert fingerprint(model, data, trainer, [], Contents()) == plain


def test_names_of_harmless_callbacks_exist() -> None:
    for path in _OUR_HARMLESS_CALLBACKS:
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name).__module__ == module


def test_versions_and_rules_are_told() -> None:
    found: Any = of()
    assert {"asim_lightning", "source", "noise", "torch", "torchvision", "timm", "numpy"} <= set(found["versions"])
    rules = of(model=make_model())["model"]["plan"]["rules"]  # type: ignore[index]
    assert [rule["match"] for rule in rules] == ["layer4.*", "head"]


def test_what_has_no_fingerprint_is_told() -> None:
    found = fingerprint(make_model(plan=PLAN), Own(handle=(x for x in ())), quiet(), [], Contents())
    assert found.unknown == ("data.handle: a generator, whose state cannot be read",)
    assert found.settings["without_fingerprint"] == list(found.unknown)


def swept(folder: Path, data: Any, axes: SweepAxes, macro: MacroConfig) -> tuple[Sweep, int]:
    """A finished sweep, and how many evaluations it took."""
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    model = make_model(plan=Plan(macro))
    model.calibrate([torch.rand(4, 1, 28, 28)])
    sweep = CountingSweep(trainer, model, data, axes, 1, folder / "runs", progress=False)
    sweep.run()
    return sweep, sweep.evaluations


def test_an_edited_column_is_measured_anew(load: Load, tmp_path: Path) -> None:
    load("gain", "GAIN = 1.0\n")
    load("my_column", COLUMN)
    axes = SweepAxes(column=["charge", "my_column.Mine"])
    data = make_data(test_images=10)
    macro = MacroConfig(4, 4)
    assert swept(tmp_path, data, axes, macro)[1] == 4
    assert swept(tmp_path, data, axes, macro)[1] == 0
    load("gain", "GAIN = 0.1\n")
    load("my_column", COLUMN)
    assert swept(tmp_path, data, axes, macro)[1] == 1  # that column alone
    fixed = MacroConfig(4, 4, column="my_column.Mine")
    assert swept(tmp_path, data, SweepAxes(rows=[64]), fixed)[1] == 3
    assert swept(tmp_path, data, SweepAxes(rows=[64]), fixed)[1] == 0
    # float and quantized depend on no column
    load("my_column", COLUMN + "# edited\n")
    assert swept(tmp_path, data, SweepAxes(rows=[64]), fixed)[1] == 1


def test_a_table_that_a_column_reads_counts(load: Load, tmp_path: Path) -> None:
    table = tmp_path / "curve.txt"
    reading = """
from asim_lightning.circuit.columns import Column

class Mine(Column):
    def __init__(self, macro):
        super().__init__(macro)
        self.gain = float(open(PATH).read())

    def level(self, count, cycle):
        return super().level(count, cycle) * self.gain
"""
    table.write_text("1.0")
    data, axes, macro = make_data(test_images=10), SweepAxes(column=["my_table.Mine"]), MacroConfig(4, 4)
    for gain, evaluations in (("1.0", 3), ("1.0", 0), ("0.5", 1)):
        table.write_text(gain)
        load("my_table", f"PATH = {str(table)!r}\n{reading}")
        assert swept(tmp_path, data, axes, macro)[1] == evaluations


def test_an_edited_data_module_or_another_normalisation_is_measured_anew(load: Load, tmp_path: Path) -> None:
    axes, macro = SweepAxes(random_noise=[0.0]), MacroConfig(4, 4)
    module = load("my_data", DATA)
    first, count = swept(tmp_path, module.Mine(), axes, macro)
    assert count == 3
    assert swept(tmp_path, module.Mine(), axes, macro)[1] == 0
    other, count = swept(tmp_path, module.Mine((3.0, 1.0)), axes, macro)
    assert count == 3
    assert other.folder != first.folder
    module = load("my_data", DATA.replace("n % 10", "3"))
    edited, count = swept(tmp_path, module.Mine(), axes, macro)
    assert count == 3
    assert edited.record.results()[0].right != first.record.results()[0].right


def test_nothing_is_reused_without_a_fingerprint_and_it_is_said(tmp_path: Path) -> None:
    axes, macro = SweepAxes(random_noise=[0.0]), MacroConfig(4, 4)
    for _ in range(2):
        data = make_data(test_images=10)
        data.handle = (x for x in ())
        sweep, count = swept(tmp_path, data, axes, macro)
        assert count == 3
        assert sweep.notes == (
            "no outcome of an earlier run is used, as this has no fingerprint: data.handle: a generator, whose state "
            "cannot be read",
        )
    assert "without_fingerprint" in (sweep.folder / "settings.json").read_text()
