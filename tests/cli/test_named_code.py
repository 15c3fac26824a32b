"""A checkpoint that names classes of somebody's by import path is refused, and nothing of it is imported."""

from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning import CimClassifier, MacroConfig, Plan
from tests.classifier.conftest import make_model
from tests.cli.conftest import Asim, Run

HOSTILE = """
from pathlib import Path
from asim_lightning.circuit.columns import Column as Charge
from asim_lightning.nn.training_noise import ProportionalNoise
Path("it_ran").touch()
class Curve(Charge): pass
class Mine(ProportionalNoise): pass
"""

SETTINGS = {
    "column": ("plan.macro.column", "hostile.Curve"),
    "noise": ("train_noise_model", "hostile.Mine"),
    "rule": ("plan.rules.macro.column", "hostile.Curve"),
}


@pytest.fixture
def hostile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder / "hostile.py").write_text(HOSTILE)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def changed(checkpoint: Path, name: str, to: Path) -> Path:
    """A checkpoint that names a class."""
    found: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    setting, value = SETTINGS[name]
    plan = found["hyper_parameters"]["plan"]
    if name == "column":
        plan["macro"]["column"] = value
    elif name == "rule":
        plan["rules"] = [{"match": "head", "macro": {"column": value}}]
    else:
        found["hyper_parameters"][setting] = value
    torch.save(found, to)
    return to


@pytest.mark.parametrize("command", ["validate", "explain", "fit"])
@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_checkpoint_may_not_name_code(name: str, command: str, asim: Asim, run: Run, hostile: Path) -> None:
    path = changed(run.checkpoint, name, hostile / "theirs.ckpt")
    setting, value = SETTINGS[name]
    answer = asim(command, "-c", run.config, "--ckpt_path", path)
    assert answer.code == 2
    assert answer.error.startswith(f"{path} names the class {value} for `model.{setting}`, and a checkpoint may not")
    assert not (hostile / "it_ran").exists()


def test_the_same_name_in_a_flag_is_trust(asim: Asim, run: Run, hostile: Path) -> None:
    path = changed(run.checkpoint, "column", hostile / "theirs.ckpt")
    trusted = ("--model.plan.macro.column", "hostile.Curve")
    answer = asim("explain", "-c", run.config, "--ckpt_path", path, *trusted)
    assert answer.code == 0, answer.error
    assert (hostile / "it_ran").exists()


def test_loading_in_python_refuses_too(tmp_path: Path, hostile: Path) -> None:
    from lightning.pytorch import Trainer

    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=False)
    trainer.strategy.connect(make_model())
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    path = changed(tmp_path / "own.ckpt", "column", tmp_path / "theirs.ckpt")
    with pytest.raises(ValueError, match=r"names the class hostile.Curve for `model.plan.macro.column`"):
        CimClassifier.load_from_checkpoint(path)
    assert not (hostile / "it_ran").exists()
    assert isinstance(CimClassifier.load_from_checkpoint(tmp_path / "own.ckpt"), CimClassifier)
    trusted = Plan(MacroConfig(column="hostile.Curve"))
    assert isinstance(CimClassifier.load_from_checkpoint(path, plan=trusted), CimClassifier)
