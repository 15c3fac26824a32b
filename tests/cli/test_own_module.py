"""A user's LightningModule with converted layers, named in a recipe, trains under the callbacks of this package."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from asim_lightning import MacroConfig, Plan, convert_
from tests.callbacks.conftest import read_events
from tests.cli.conftest import Asim
from tests.conftest import rows_of


class Data(LightningDataModule):
    def loader(self, count: int, shuffle: bool = False) -> DataLoader[Any]:
        labels = torch.arange(count) % 4
        draw = torch.Generator().manual_seed(count)
        inputs = torch.randn(count, 8, generator=draw) + 3 * nn.functional.one_hot(labels, 8)
        return DataLoader(TensorDataset(inputs, labels), 16, shuffle)

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader(160, True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.loader(48)

    test_dataloader = val_dataloader


class Mine(LightningModule):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 4))
        convert_(self.net, Plan(MacroConfig(weight_bits=4, input_bits=4, rows=16)), torch.randn(2, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], number: int) -> None:
        self.log("val/acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.02)


RECIPE = """
data: tests.cli.test_own_module.Data
model: {class_path: tests.cli.test_own_module.Mine, init_args: {width: 12}}
axes: {random_noise: [0.1]}
trainer:
  max_epochs: 1
  enable_progress_bar: false
  log_every_n_steps: 1
  callbacks:
  - {class_path: NoiseRamp, init_args: {end: 5}}
  - {class_path: RangeCalibration, init_args: {images: 64}}
  - {class_path: NoiseSweep, init_args: {levels: [0.1, 8.0], images: 40}}
  - SimulatedAccuracy
  - HparamsTable
"""


@pytest.fixture(autouse=True)
def recipe(folder: Path) -> None:
    (folder / "own.yaml").write_text(RECIPE)


def test_a_module_of_the_users_trains_and_goes_on(asim: Asim, folder: Path) -> None:
    answer = asim("fit", "-c", "own.yaml")
    assert "2 of 2 layers on a macro" in answer.out
    run = folder / "runs/own/version_0"
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert float(state["state_dict"]["net.2.input_max"]) > 0  # by RangeCalibration
    answer = asim("fit", "-c", "own.yaml", "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert answer.code == 0, answer.err
    assert not (folder / "runs/own/version_1").exists()
    quiet, noisy = [float(row["accuracy"]) for row in rows_of(run / "noise_sweep.csv")][2:]
    assert quiet > noisy
    events = read_events(run)
    assert {"cim/train_noise", "val/acc_simulated", "noise/acc_mean"} <= set(events.Tags()["scalars"])
    assert max(each.value for each in events.Scalars("cim/train_noise")) > 0
    answer = asim("test", "-c", "own.yaml", "--ckpt_path", "last")
    assert answer.code == 0, answer.err
    assert [path.name for path in (folder / "runs").iterdir()] == ["own"]  # a test logs nothing


def test_wrong_uses_are_one_sentence(asim: Asim) -> None:
    assert "asim sweep takes no `model.class_path`" in asim("sweep", "-c", "own.yaml").error
    assert "nearest: model.width" in asim("fit", "-c", "own.yaml", "--model.init_args.widt", "3").error
