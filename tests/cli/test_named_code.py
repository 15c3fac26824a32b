"""What a checkpoint says as settings runs no code, imports no module, and touches no file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.conftest import Asim, Run

HOSTILE = """
from pathlib import Path
from asim_lightning.circuit.columns import Column as Charge
from asim_lightning.nn.training_noise import ProportionalNoise
Path("it_ran").touch()
class Curve(Charge): pass
class Mine(ProportionalNoise): pass
"""
COLUMN = {"column": "hostile.Curve"}
POPEN = {"class_path": "subprocess.Popen", "init_args": {"args": "touch it_ran", "shell": True}}
TRUNCATE = {"class_path": "_io.FileIO", "init_args": {"file": "victim.txt", "mode": "w"}}
SETTINGS = {
    "column": ("plan.macro.column", "hostile.Curve"),
    "noise": ("train_noise_model", "hostile.Mine"),
    "rule": ("plan.rules.macro.column", "hostile.Curve"),
    "network": ("backbone.network", "hostile.Curve"),
}
Change = Callable[[dict[str, Any]], Any]
HIDDEN: dict[str, Change] = {
    "process in a network's arguments": lambda s: s["backbone"]["kwargs"].update(x=POPEN),
    "process in a list": lambda s: s["backbone"]["kwargs"].update(x=[POPEN]),
    "process as a text": lambda s: s["backbone"]["kwargs"].update(x=json.dumps(POPEN)),
    "file in a column's arguments": lambda s: s["plan"]["macro"].update(column_args={"x": TRUNCATE}),
    "process in a noise model's arguments": lambda s: s.update(train_noise_args={"x": POPEN}),
    "file in a noise model's arguments": lambda s: s.update(train_noise_args={"x": {"y": TRUNCATE}}),
    "plan as a text": lambda s: s.update(plan=json.dumps({"macro": COLUMN})),
    "macro as a text": lambda s: s["plan"].update(macro=json.dumps(COLUMN)),
    "rules as a text": lambda s: s["plan"].update(rules=json.dumps([{"match": "head", "macro": COLUMN}])),
    "rule's macro as a text": lambda s: s["plan"].update(rules=[{"match": "head", "macro": json.dumps(COLUMN)}]),
    "plan as a file": lambda s: s.update(plan="plan.yaml"),
    "network as a file": lambda s: s.update(backbone="network.yaml"),
    "dots in a key": lambda s: s.update({"plan.macro.column": "hostile.Curve"}),
    "dots in a key of the plan": lambda s: s["plan"].update({"macro.column": "hostile.Curve"}),
    "plan of a class": lambda s: s.update(plan={"class_path": "hostile.Curve"}),
    "macro of a class": lambda s: s["plan"].update(
        macro={"class_path": "asim_lightning.MacroConfig", "init_args": COLUMN}
    ),
    "optimizer of a class": lambda s: s.update(optimizer={"class_path": "hostile.Curve", "init_args": {}}),
    "plan by a class's name": lambda s: s.update(plan="hostile.Curve"),
    "optimizer by a class's name": lambda s: s.update(optimizer="hostile.Curve"),
    "rule by a class's name": lambda s: s["plan"].update(rules=["hostile.Curve"]),
    "classifier of a class": lambda s: s.update(_class_path="hostile.Curve"),
    "maker": lambda s: s.update(_instantiator="hostile.Curve"),
}


@pytest.fixture
def hostile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder / "hostile.py").write_text(HOSTILE)
    (folder / "plan.yaml").write_text("macro: {column: hostile.Curve}\n")
    (folder / "network.yaml").write_text("name: secret\n")
    (folder / "victim.txt").write_text("mine")
    monkeypatch.syspath_prepend(str(folder))
    return folder


def with_settings(checkpoint: Path, to: Path, change: Change) -> Path:
    """A checkpoint with other settings."""
    found: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    change(found["hyper_parameters"])
    torch.save(found, to)
    return to


def changed(checkpoint: Path, name: str, to: Path) -> Path:
    """A checkpoint that names a class."""
    setting, value = SETTINGS[name]

    def change(settings: dict[str, Any]) -> None:
        if name == "column":
            settings["plan"]["macro"]["column"] = value
        elif name == "rule":
            settings["plan"]["rules"] = [{"match": "head", "macro": {"column": value}}]
        elif name == "network":
            settings["backbone"]["network"] = value
        else:
            settings[setting] = value

    return with_settings(checkpoint, to, change)


@pytest.mark.parametrize("command", ["validate", "explain", "fit"])
@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_checkpoint_may_not_name_code(name: str, command: str, asim: Asim, run: Run, hostile: Path) -> None:
    path = changed(run.checkpoint, name, hostile / "theirs.ckpt")
    setting, value = SETTINGS[name]
    answer = asim(command, "-c", run.config, "--ckpt_path", path)
    assert answer.code == 2
    assert answer.error.startswith(f"{path} names the class {value} for `model.{setting}`, and a checkpoint may not")
    assert not (hostile / "it_ran").exists()


@pytest.mark.parametrize("hidden", list(HIDDEN))
def test_settings_of_other_kinds_are_refused(hidden: str, asim: Asim, run: Run, hostile: Path) -> None:
    with_settings(run.checkpoint, hostile / "theirs.ckpt", HIDDEN[hidden])
    error = asim("explain", "--ckpt_path", "theirs.ckpt").error
    assert error.startswith("The settings in theirs.ckpt do not fit: `model.")
    assert "secret" not in error
    assert not (hostile / "it_ran").exists()
    assert (hostile / "victim.txt").read_text() == "mine"


@pytest.mark.parametrize("hidden", ["process in a network's arguments", "plan as a file"])
def test_an_export_refuses_them_too(hidden: str, asim: Asim, run: Run, hostile: Path) -> None:
    with_settings(run.checkpoint, hostile / "theirs.ckpt", HIDDEN[hidden])
    error = asim("export", "theirs.ckpt", "--to", "y.pth", "--format", "timm").error
    assert error.startswith("The settings in theirs.ckpt do not fit: `model.")


def test_a_file_of_the_name_best_brings_no_settings(asim: Asim, run: Run, hostile: Path) -> None:
    with_settings(run.checkpoint, hostile / "best", HIDDEN["process in a noise model's arguments"])
    asim("fit", "-c", run.config, "--ckpt_path", "best")
    assert not (hostile / "it_ran").exists()


def test_the_same_name_in_a_flag_is_trust(asim: Asim, run: Run, hostile: Path) -> None:
    path = changed(run.checkpoint, "column", hostile / "theirs.ckpt")
    trusted = ("--model.plan.macro.column", "hostile.Curve")
    answer = asim("explain", "-c", run.config, "--ckpt_path", path, *trusted)
    assert answer.code == 0, answer.error
    assert (hostile / "it_ran").exists()


def test_a_regular_expression_of_ones_own_needs_no_recipe(asim: Asim, run: Run) -> None:
    with_settings(
        run.checkpoint, Path("own.ckpt"), lambda s: s["plan"].update(keep=[r"re:layer[12]\.\d+\.conv(1|2)", "head"])
    )
    answer = asim("explain", "--ckpt_path", "own.ckpt")
    assert answer.code == 0, answer.err
