"""A checkpoint is tensors and plain values, never code; what is wrong with one is said in one line."""

import copy
import functools
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asim_lightning import MacroConfig, Plan
from asim_lightning.cli.start import load_weights
from asim_lightning.exchange.read import read_checkpoint
from tests.classifier.conftest import make_model
from tests.cli.conftest import Asim, Run

LOADING = ("fit", "validate", "sweep", "explain")


class Hostile:
    """Makes a file when a careless reader unpickles it."""

    def __reduce__(self) -> Any:
        return open, ("opened-by-the-checkpoint", "w")


class HostileShell:
    def __reduce__(self) -> Any:
        return os.system, ("touch opened-by-the-checkpoint",)


def changed(run: Run, **changes: Any) -> dict[str, Any]:
    """The checkpoint of the run, with changes of its parts."""
    checkpoint = copy.deepcopy(torch.load(run.checkpoint, weights_only=True))
    for part, values in changes.items():
        checkpoint[part].update(values)
    return checkpoint


@pytest.mark.parametrize("command", LOADING)
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(command: str, asim: Asim, run: Run) -> None:
    torch.save(changed(run, hyper_parameters={"extra": Hostile()}), "hostile.ckpt")
    error = asim(command, "-c", run.config, "--ckpt_path", "hostile.ckpt").error
    refused = "hostile.ckpt is refused: a checkpoint must hold tensors and plain values, got "
    assert error.removeprefix(refused).lstrip("_").startswith("io.open")  # Python 3.12 and later say _io
    assert not Path("opened-by-the-checkpoint").exists()


def test_the_same_without_a_configuration(asim: Asim) -> None:
    torch.save({"state_dict": {}, "x": HostileShell()}, "hostile.ckpt")
    assert "got posix.system, which could run code" in asim("validate", "--ckpt_path", "hostile.ckpt").error
    assert not Path("opened-by-the-checkpoint").exists()


@pytest.mark.parametrize("protocol", [0, 2, pickle.HIGHEST_PROTOCOL])
def test_a_plain_pickle_is_refused(protocol: int, folder: Path) -> None:
    (folder / "x.ckpt").write_bytes(pickle.dumps(HostileShell(), protocol))
    with pytest.raises(ValueError, match=r"x\.ckpt is (refused|no checkpoint)"):
        read_checkpoint("x.ckpt")
    assert not Path("opened-by-the-checkpoint").exists()


@pytest.mark.parametrize("value", [functools.partial(print), np.zeros(2), pickle.Pickler], ids=type)
def test_objects_that_are_no_plain_values_are_refused(value: object, folder: Path) -> None:
    torch.save({"state_dict": {}, "x": value}, "x.ckpt")
    with pytest.raises(ValueError, match="is refused: a checkpoint must hold tensors and plain values"):
        read_checkpoint("x.ckpt")


@pytest.mark.parametrize("text", [b"", b"hello\n", b"\x80", b"PK\x03\x04", bytes(range(256)), b"(lp0\n."], ids=repr)
def test_other_files(text: bytes, asim: Asim, folder: Path) -> None:
    (folder / "x.ckpt").write_bytes(text)
    assert asim("validate", "--ckpt_path", "x.ckpt").error.startswith("x.ckpt is ")


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_truncated(share: float, asim: Asim, run: Run, folder: Path) -> None:
    content = run.checkpoint.read_bytes()
    (folder / "x.ckpt").write_bytes(content[: int(share * len(content))])
    assert "x.ckpt is no checkpoint, or a damaged one" in asim("validate", "--ckpt_path", "x.ckpt").error


def test_damaged_bytes_are_an_error_in_one_line_or_no_error(run: Run, folder: Path) -> None:
    content, generator = run.checkpoint.read_bytes(), np.random.default_rng(0)
    for _ in range(30):
        damaged = bytearray(content)
        for place in generator.integers(0, len(content), 20):
            damaged[place] = int(generator.integers(0, 256))
        (folder / "x.ckpt").write_bytes(damaged)
        try:
            read_checkpoint("x.ckpt")
        except ValueError as error:
            assert len(str(error).splitlines()) == 1


def test_missing_names_the_shipped_ones(asim: Asim) -> None:
    error = asim("validate", "--ckpt_path", "nosuch.ckpt").error
    assert error.startswith("There is no file 'nosuch.ckpt'; shipped checkpoints, nearest: fashion_resnet_nat, ")


def test_what_lightning_resumes_a_fit_from_is_no_checkpoint_elsewhere(asim: Asim) -> None:
    assert "There is no file 'best'" in asim("validate", "--ckpt_path", "best").error
    assert asim("validate", "--ckpt_path", "last").error.startswith("`ckpt_path: last` is the newest runs/default/")
    assert asim("validate", "--ckpt_path", ".").error.startswith(". is a folder; a file (.ckpt) is needed")


def test_without_state_dict(asim: Asim) -> None:
    torch.save({"epoch": 3, "model": {}}, "x.ckpt")
    error = asim("validate", "--ckpt_path", "x.ckpt").error
    assert "must be a Lightning checkpoint with a state_dict, tensors by name, got a mapping of epoch, model" in error
    torch.save([1, 2], "x.ckpt")
    assert asim("validate", "--ckpt_path", "x.ckpt").error.endswith("tensors by name, got a list")


@pytest.mark.parametrize("command", ["fit", "validate", "sweep"])
def test_checkpoint_of_another_network(command: str, asim: Asim, run: Run) -> None:
    wider = "{in_chans: 1, stem_width: 4, channels: [8, 16, 32, 128]}"
    arguments = ("--ckpt_path", run.checkpoint, "--model.backbone.kwargs", wider)
    error = asim(command, "-c", run.config, *arguments).error
    assert "does not fit resnet10t as `model.backbone` describes it: size mismatch for backbone.layer4" in error
    assert error.endswith(" more)")
    assert len(error) < 400


def with_classes(checkpoint: dict[str, Any], classes: int) -> dict[str, Any]:
    """A checkpoint of a network with another number of classes."""
    checkpoint["hyper_parameters"]["num_classes"] = classes
    for name in ("backbone.fc.weight", "backbone.fc.bias"):
        value = checkpoint["state_dict"][name]
        checkpoint["state_dict"][name] = value.new_ones(classes, *value.shape[1:])
    return checkpoint


def test_a_fit_from_a_checkpoint_of_other_classes_has_a_new_head(asim: Asim, run: Run) -> None:
    torch.save(with_classes(changed(run), 12), "x.ckpt")
    fit = ("fit", "-c", run.config, "--ckpt_path", "x.ckpt")
    lines = asim(*fit).out.splitlines()
    assert lines[:2] == [
        "weights  fc.weight, fc.bias: new, with random weights, as the file has 12 classes and the data 10",
        "starts from the weights of x.ckpt at epoch 0 of 1; `--model.num_classes 12` continues at its epoch",
    ]
    assert "size mismatch for backbone.fc.weight" in asim("validate", *fit[1:]).error


def test_a_new_head_leaves_all_else_as_it_is_in_a_checkpoint_with_pact() -> None:
    plan = Plan(MacroConfig(4, 4), pact=True, input_range="pact")
    model, other = make_model(plan=plan, num_classes=12), make_model(plan=plan)
    for value in other.state_dict().values():
        value.fill_(3)
    state = {name: value.clone() for name, value in other.state_dict().items()}
    head = {name: value.clone() for name, value in model.state_dict().items() if name.startswith("backbone.fc.")}
    (note,) = load_weights(model, "x.ckpt", {"state_dict": state}, 10)
    assert note in model.report.notes
    new = [name for name, value in head.items() if value.shape[:1] == (12,)]
    assert new == ["backbone.fc.weight", "backbone.fc.bias"]
    assert any("alpha" in name for name in state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, head[name] if name in new else state[name]), name


def test_weights_of_another_network_alone(asim: Asim) -> None:
    torch.save({"state_dict": {"backbone.x": torch.zeros(2)}}, "x.ckpt")
    assert "backbone.conv1.weight is missing in it (and " in asim("validate", "--ckpt_path", "x.ckpt").error


def test_settings_that_no_longer_exist_name_the_checkpoint(asim: Asim, run: Run) -> None:
    torch.save(changed(run, hyper_parameters={"label_smooth": 0.1}), "x.ckpt")
    error = asim("validate", "--ckpt_path", "x.ckpt").error
    assert error.startswith("The settings in x.ckpt do not fit: `model.label_smooth` is no setting; nearest: ")


@pytest.mark.parametrize(
    ("part", "layer", "what"),
    [("layer2.0.conv1.weight", "layer2.0.conv1", "weights"), ("layer2.0.bn1.bias", "layer2.0.conv2", "inputs")],
)
def test_values_that_are_not_finite_name_the_layer(part: str, layer: str, what: str, asim: Asim, run: Run) -> None:
    name = f"backbone.{part}"
    value = torch.load(run.checkpoint, weights_only=True)["state_dict"][name]
    torch.save(changed(run, state_dict={name: torch.full_like(value, float("inf"))}), "x.ckpt")
    error = asim("validate", "-c", run.config, "--ckpt_path", "x.ckpt").error
    assert error.startswith(f"Layer `{layer}` needs finite {what}, got ")


def test_layers_kept_float_may_have_had_ranges(asim: Asim, run: Run) -> None:
    answer = asim("validate", "-c", run.config, "--ckpt_path", run.checkpoint, "--model.plan.keep", "[head]")
    assert answer.last.startswith("accuracy ")
