"""A key answers only for what was measured: whatever can change an outcome changes it, and nothing else does."""

import importlib
import os
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import EarlyStopping, LambdaCallback, ModelCheckpoint, Timer, TQDMProgressBar
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import asim_lightning.exploration.fingerprint as keys
from asim_lightning import CimClassifier, MacroConfig, Plan
from asim_lightning.callbacks import ConfusionMatrix, LastCheckpoint, NoiseRamp, NoiseSweep, RangeCalibration
from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.data import ImageFolder
from asim_lightning.evaluation.evaluate import quiet_trainer
from asim_lightning.evaluation.results import digest_of
from asim_lightning.exploration.fingerprint import Fingerprint, fingerprint, loaded_code, package_code
from tests.classifier.conftest import make_data, make_model
from tests.exploration.conftest import Load
from tests.exploration.own_network import own_network

PLAN = Plan(MacroConfig(4, 4, rows=64))


class Own(LightningDataModule):
    """A data module of a user's, with one batch a tensor."""

    def __init__(self, *batches: Any, handle: Any = None) -> None:
        super().__init__()
        self.batches, self.handle = batches, handle

    def test_dataloader(self) -> Any:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]


def fitted(**options: Any) -> CimClassifier:
    """A network whose input ranges are fitted to the same images whatever the settings."""
    model = make_model(**{"plan": PLAN, **options})
    model.calibrate([torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))])
    return model


@cache
def plain() -> CimClassifier:
    """A network that no test changes."""
    return fitted()


def found(data: Any = None, model: CimClassifier | None = None, **trainer: Any) -> Fingerprint:
    made = quiet_trainer(accelerator="cpu", **trainer)
    return fingerprint(model or plain(), data or make_data(), made, ["random_noise"])


def key(data: Any = None, model: CimClassifier | None = None, **trainer: Any) -> str:
    return digest_of(found(data, model, **trainer).settings)


def changed(change: Callable[[CimClassifier], object]) -> CimClassifier:
    model = deepcopy(plain())
    with torch.no_grad():
        change(model)
    return model


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.backbone.fc.bias[0].add_(1),
        lambda model: model.backbone.register_buffer("hidden", torch.tensor(1.0), persistent=False),
        lambda model: setattr(model.backbone.bn1, "eps", 1e-3),
        lambda model: setattr(model.backbone.bn1, "new_attribute", (1, None)),
        lambda model: setattr(model.backbone.bn1, "pool", "max"),
        lambda model: setattr(model.backbone, "act1", nn.ReLU6()),
        lambda model: setattr(model.backbone, "activation", nn.functional.relu),
        lambda model: setattr(model.backbone.layer1[0].conv1, "signed_input", True),
        lambda model: model.backbone.fc.register_forward_hook(lambda *_: None),
        lambda model: setattr(model, "noise_seed", 1),
        lambda model: setattr(model, "chip", 1),
    ],
)
def test_an_edit_of_the_network_gives_another_key(change: Callable[[CimClassifier], object]) -> None:
    assert key(model=changed(change)) == key(model=changed(change)) != key()


def test_settings_of_training_and_what_a_point_decides_do_not_count() -> None:
    training: dict[str, Any] = {"label_smoothing": 0.1, "mixup": 0.2, "train_noise": 1.0, "calibration_images": 30}
    assert key(model=fitted(**training)) == key()
    assert key(model=changed(lambda model: setattr(model.backbone.fc, "warned", True))) == key()
    assert key(model=fitted(plan=Plan(MacroConfig(4, 4, rows=64, random_noise=0.3)))) == key()
    other = [found(model=fitted(plan=Plan(MacroConfig(4, 4, rows=rows)))) for rows in (64, 65)]
    assert other[0].settings != other[1].settings
    assert other[0].shared == other[1].shared


def test_settings_of_our_data_count_if_a_test_image_depends_on_them() -> None:
    other = make_data(eval_batch_size=5, batch_size=3, num_workers=2, held_out=100, seed=5, augment=False)
    other.setup("test")
    assert key(other) == key()
    assert key(make_data(image_size=29)) != key()
    fewer = [found(make_data(test_images=images)) for images in (25, 10)]
    assert fewer[0].settings != fewer[1].settings
    assert fewer[0].shared == fewer[1].shared


def test_batches_count_if_answers_depend_on_them() -> None:
    one, other = make_data(eval_batch_size=10), make_data(eval_batch_size=5)
    by_batch = make_model(plan=Plan(PLAN.macro, input_range="batch"))
    assert key(one, by_batch) != key(other, by_batch)
    assert key(one, limit_test_batches=1) != key(other, limit_test_batches=1)


def test_calibration_images_count_while_ranges_are_not_fitted() -> None:
    missing = make_model(plan=PLAN)
    assert key(make_data(held_out=100, seed=5), missing) != key(None, missing)
    assert key(None, make_model(plan=PLAN, calibration_images=30)) != key(None, missing)


def test_files_of_our_data_count(tmp_path: Path) -> None:
    for split, name in product(("train", "test"), "ab"):
        folder = tmp_path / split / name
        folder.mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(folder / "0.png")

    def saved(height: int, file: str) -> str:
        Image.new("RGB", (16, height)).save(tmp_path / file)
        return key(ImageFolder(str(tmp_path), image_size=16), model)

    model = GivenNetwork(own_network())
    seen = [saved(16, "test/a/0.png"), saved(17, "test/a/0.png"), saved(16, "test/b/1.png")]
    assert len(set(seen)) == 3
    assert saved(16, "train/b/1.png") == seen[-1]


def test_few_files_count_by_their_contents_and_many_by_size_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "0.png"

    def written(content: bytes, time: int) -> str:
        file.write_bytes(content)
        os.utime(file, (time, time))
        return keys._of_files([str(file)])

    few = [written(*each) for each in ((b"one", 1), (b"two", 1), (b"one", 2))]
    assert few[0] == few[2] != few[1]
    monkeypatch.setattr(keys, "_MOST_READ", 2)
    many = [written(*each) for each in ((b"one", 1), (b"two", 1), (b"one", 2), (b"three", 1))]
    assert many[0] == many[1]
    assert len({*many, *few}) == 5


def batch(value: float, *more: Any) -> list[Any]:
    return [torch.full((2, 3, 16, 16), value), torch.zeros(2, dtype=torch.int64), torch.arange(2), *more]


def test_of_other_data_every_test_image_counts_and_their_order() -> None:
    model = GivenNetwork(own_network())
    cases = [[0.0, 1.0], [1.0, 0.0], [0.0], [0.0, 2.0]]
    digests = [key(Own(*map(batch, case)), model) for case in cases]
    assert len(set(digests)) == len(cases)
    assert key(Own(batch(0.0), batch(1.0), handle=object()), model) == digests[0]
    limited = [key(Own(*map(batch, case)), model, limit_test_batches=1) for case in cases]
    assert limited[0] == limited[2] == limited[3] != limited[1]


def test_a_pass_over_the_images_leaves_random_numbers_as_they_were() -> None:
    model = GivenNetwork(own_network())
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    key(Own(batch(0.0)), model)
    assert torch.rand(1) == expected


class Disturbing(Callback):
    def __init__(self, amount: Any) -> None:
        self.amount = amount

    def setup(self, *_: Any, **__: Any) -> None: ...


class Watching(NoiseSweep):
    """One that inherits from a harmless callback."""


def test_callbacks_count_if_a_sweep_calls_them(tmp_path: Path) -> None:
    idle = [
        ConfusionMatrix(), LastCheckpoint(), NoiseRamp(1.0), NoiseSweep([0.1]), Timer(), EarlyStopping("val/acc"),
        TQDMProgressBar(), LambdaCallback(on_test_start=lambda *_: None),
    ]  # fmt: skip
    made = quiet_trainer(accelerator="cpu")
    before = fingerprint(plain(), make_data(), made, [])
    made.callbacks += [*idle, ModelCheckpoint(tmp_path)]  # type: ignore[attr-defined]
    assert fingerprint(plain(), make_data(), made, []) == before
    counting = [
        Disturbing(1.0), Disturbing(2.0), Watching([0.1]), RangeCalibration(20), RangeCalibration(200),
        LambdaCallback(setup=lambda *_: None),
    ]  # fmt: skip
    digests = [key(), key(precision="bf16-mixed"), *(key(callbacks=[each]) for each in counting)]
    assert len(set(digests)) == len(digests)


class Held:
    def __init__(self, value: Any) -> None:
        self.value = value


def test_objects_of_a_callback_count_and_one_that_cannot_be_read_lets_nothing_be_found() -> None:
    one, other = (found(callbacks=[Disturbing(Held(value))]) for value in (1, 2))
    assert one.shared != other.shared
    assert one.never_again == ""
    closure = found(callbacks=[Disturbing(lambda module: None)])
    assert "cannot be read" in closure.never_again


def test_a_loaded_module_of_the_user_counts_when_it_is_loaded_again(load: Load, tmp_path: Path) -> None:
    module = load("my_module", "A = 1\n")
    before = key()
    (tmp_path / "my_module.py").write_text("A = 2\n")
    assert key() == before  # by the code that runs
    importlib.reload(module)
    after = key()
    assert after != before
    assert "my_module" in loaded_code()
    assert not {"torch", "os", "asim_lightning", fingerprint.__module__} & loaded_code().keys()
    load("my_module", "A = 1\n")
    assert key() == before


def test_sources_of_this_package_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "PACKAGE", str(tmp_path))
    seen = []
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b.cpp", "1"), ("b.cpp", "2"), ("c.md", "1")):
        (tmp_path / name).write_text(text)
        seen.append(package_code.__wrapped__())
    assert len(set(seen)) == 4
    assert seen[3] == seen[4]
