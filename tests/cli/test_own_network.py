"""A recipe names a user's network, data and weights, and every command takes it."""

from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Asim

MINE = """
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset
from asim_lightning.data import IndexedDataset
from tests.exploration.own_network import OwnNetwork, own_images


class Data(LightningDataModule):
    num_classes, image_size = 4, 16

    def train_dataloader(self):
        return DataLoader(IndexedDataset(TensorDataset(*own_images(64))), 32)

    def val_dataloader(self):
        return DataLoader(IndexedDataset(TensorDataset(*own_images(24))), 8)

    test_dataloader = predict_dataloader = val_dataloader
"""
RECIPE = """
data: {class_path: mine.Data}
model:
  num_classes: 4
  backbone: {network: mine.OwnNetwork, image_size: 16, weights: net.pt}
  plan:
    fold_batchnorm: true
    macro: {weight_bits: 4, input_bits: 4, static: {offset: 0.3 lsb}}
axes: {adc_bits: [6, 8], random_noise: [0.1, 0.3]}
search:
  space: {adc_bits: [6, 8], rows: [64, 128]}
trainer: {max_epochs: 1}
"""


@pytest.fixture
def recipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from tests.exploration.own_network import OwnNetwork

    monkeypatch.syspath_prepend(folder)
    (folder / "mine.py").write_text(MINE)
    (folder / "own.yaml").write_text(RECIPE)
    torch.manual_seed(0)
    torch.save(OwnNetwork().state_dict(), folder / "net.pt")
    return folder


def test_every_command_takes_a_network_of_the_users(asim: Asim, recipe: Path) -> None:
    assert RECIPE.count("\n") <= 15
    for command, said in (
        (["sweep"], "weights  net.pt: 18 tensors"),
        (["sweep", "--chips", "3", "--axes.random_noise", "null"], "good chips"),
        (["search"], "front"),
        (["chip"], "worst converters"),
        (["cost"], "MACs"),
        (["validate"], "of 24 images"),
        (["fit", "--model.plan.fold_batchnorm", "false"], "weights  runs/own/version_0"),
    ):
        answer = asim(command[0], "-c", "own.yaml", *command[1:])
        assert answer.code == 0, answer.err
        assert said in answer.out
    answer = asim("report", "runs/own")
    assert answer.code == 0, answer.err
    assert "mine.OwnNetwork" in (recipe / "runs/own/report.html").read_text()
    # a checkpoint may not name code that the user does not name
    path = next(recipe.glob("runs/own/version_0/checkpoints/best.ckpt"))
    answer = asim("validate", "--ckpt_path", path, "--data", "mine.Data")
    assert answer.code != 0
    assert "names the class mine.OwnNetwork for `model.backbone.network`" in answer.err
    assert asim("validate", "-c", "own.yaml", "--model.plan.fold_batchnorm", "false", "--ckpt_path", path).code == 0


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("network", "mine.Other", "`model.backbone.network` mine.Other cannot be imported"),
        ("network", "mine.own_images", "must make a torch.nn.Module, got a tuple"),
        ("network", "net", "must be an import path"),
        ("kwargs", "{depth: 3}", "`model.backbone.kwargs` does not fit mine.OwnNetwork"),
        ("small", "true", "`model.backbone.small` is of timm's networks"),
        ("image_size", "null", "must say the height and width"),
        ("weights", "none.pt", "There is no file"),
    ],
)
def test_wrong_settings_of_it_are_one_sentence(asim: Asim, recipe: Path, flag: str, value: str, said: str) -> None:
    answer = asim("cost", "-c", "own.yaml", f"--model.backbone.{flag}", value)
    assert answer.code != 0
    assert said in answer.err
    assert answer.err.strip().count("\n") == 0
