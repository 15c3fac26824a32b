"""A checkpoint is tensors and plain values: it runs no code and names none that the user does not name."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import Namespace

from asim_lightning import CimClassifier, MacroConfig, Plan
from asim_lightning.backbone import BackboneConfig
from asim_lightning.cli.weights import load_weights, settle_pretrained
from tests.classifier.conftest import make_model, save
from tests.classifier.test_loading import HOSTILE
from tests.cli.conftest import Asim, Run, Write
from tests.test_safe_load import Hostile


@pytest.fixture
def hostile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder / "hostile.py").write_text(HOSTILE)
    (folder / "plan.yaml").write_text("macro: {column: hostile.Curve}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "hostile", raising=False)  # of a test before
    return folder


def with_settings(run: Run, change: Callable[[dict[str, Any]], object], to: str = "theirs.ckpt") -> str:
    """A checkpoint with other settings."""
    found: dict[str, Any] = torch.load(run.checkpoint, weights_only=True)
    change(found["hyper_parameters"])
    torch.save(found, to)
    return to


@pytest.mark.parametrize("command", ["fit", "validate"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(command: str, asim: Asim, run: Run) -> None:
    path = with_settings(run, lambda settings: settings.update(extra=Hostile(os.system, "touch it_ran")))
    refused = f"{path} is refused: a checkpoint must hold tensors and plain values, got posix.system, which could run"
    for recipe in ((), ("-c", run.config)):
        assert asim(command, *recipe, "--ckpt_path", path).error.startswith(refused)
    assert not Path("it_ran").exists()


def test_a_checkpoint_names_no_code_and_a_name_in_a_flag_is_trust(asim: Asim, run: Run, hostile: Path) -> None:
    path = with_settings(run, lambda settings: settings["plan"]["macro"].update(column="hostile.Curve"))
    explained = ("explain", "-c", run.config, "--ckpt_path", path)
    assert asim(*explained).error.startswith(f"{path} names the class hostile.Curve for `model.plan.macro.column`")
    with_settings(run, lambda settings: settings.update(plan="plan.yaml"), "other.ckpt")
    error = asim("export", "other.ckpt", "--to", "y.pth", "--format", "timm").error
    assert error.startswith("The settings in other.ckpt do not fit: `model.")
    assert not Path("it_ran").exists()
    answer = asim(*explained, "--model.plan.macro.column", "hostile.Curve")
    assert answer.code == 0, answer.err
    assert Path("it_ran").exists()


# weights


def test_a_fit_from_a_checkpoint_of_other_classes_has_a_new_head(asim: Asim, run: Run) -> None:
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    checkpoint["hyper_parameters"]["num_classes"] = 12
    for name in ("backbone.fc.weight", "backbone.fc.bias"):
        value = checkpoint["state_dict"][name]
        checkpoint["state_dict"][name] = value.new_ones(12, *value.shape[1:])
    torch.save(checkpoint, "x.ckpt")
    fit = ("fit", "-c", run.config, "--ckpt_path", "x.ckpt")
    assert asim(*fit).out.splitlines()[:2] == [
        "weights  fc.weight, fc.bias: new, with random weights, because the file has 12 classes and the data 10",
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


def test_layers_kept_float_may_have_had_ranges(run: Run) -> None:
    model = make_model(plan=Plan(MacroConfig(4, 4), keep=["head"]))
    assert load_weights(model, "x.ckpt", torch.load(run.checkpoint, weights_only=True)) == []


# folded BatchNorms

FOLD = ("--model.plan.fold_batchnorm", "true")


def test_weights_from_before_are_folded_and_a_folded_checkpoint_says_itself_that_it_is(
    asim: Asim, run: Run, folder: Path
) -> None:
    """The folded checkpoint is the run's, as a folded network would have saved it."""
    before, folded = torch.load(run.checkpoint, weights_only=True), folder / "folded.ckpt"
    model = CimClassifier.load_from_checkpoint(run.checkpoint, plan=Plan(fold_batchnorm=True))
    assert not any("running_mean" in name for name in model.state_dict())
    torch.save({**before, "state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}, folded)
    with pytest.raises(ValueError, match=r"^`model.plan.fold_batchnorm` must be true, because the BatchNorms of"):
        CimClassifier.load_from_checkpoint(folded, plan=Plan())
    recipe = ("validate", "-c", run.config, "--model.fidelity", "float", "--ckpt_path")
    plain = asim(*recipe, run.checkpoint).accuracy
    assert asim(*recipe, run.checkpoint, *FOLD).accuracy == asim(*recipe, folded).accuracy == plain
    error = asim(*recipe, folded, FOLD[0], "false").error
    wanted = "`model.plan.fold_batchnorm` must be true, because the BatchNorms of the checkpoint's network are folded "
    assert error == f"{folded} does not fit: {wanted}and cannot be restored, got false"
    assert "\n14 BatchNorms folded into the layers before them\n" in asim("explain", "-c", run.config, *FOLD).out


def test_a_fit_from_before_starts_anew_from_folded_weights(asim: Asim, run: Run) -> None:
    rate = ("--model.optimizer.lr", "0.001")
    answer = asim("fit", "-c", run.config, "--ckpt_path", run.checkpoint, *rate, *FOLD)
    other = "`--model.plan.fold_batchnorm false` continues at its epoch"
    assert f"starts from the weights of {run.checkpoint} at epoch 0 of 1; {other}" in answer.out.splitlines()
    (path,) = Path("runs").glob("**/last.ckpt")
    saved = torch.load(path, weights_only=True)
    assert saved["global_step"] == 2
    assert not any("running_mean" in name for name in saved["state_dict"])
    # and that fit goes on, from last.ckpt, to more epochs
    more = asim("fit", "-c", run.config, "--ckpt_path", "last", "--trainer.max_epochs", "2", *FOLD)
    assert "resumes at epoch 1 of 2, step 2, from runs/tiny/version_0/checkpoints/last.ckpt; " in more.out
    assert torch.load(path, weights_only=True)["global_step"] == 4


# rotated weights


def test_rotated_weights_need_a_network_that_is_rotated(tmp_path: Path) -> None:
    def model_of(rotate: str | None) -> CimClassifier:
        backbone = BackboneConfig(
            network="asim_lightning.backbone.small_gpt.SmallGPT", kwargs={"vocabulary": 32, "width": 8, "depth": 1},
            input_shape=[8], input_values=32,
        )  # fmt: skip
        return CimClassifier(backbone, Plan(rotate=rotate), outcome="perplexity")

    path = save(model_of("stream"), tmp_path / "rotated.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    said = r"the weights are rotated \(stream\); set `model.plan.rotate stream`$"
    with pytest.raises(ValueError, match=f"^x.ckpt does not fit: {said}"):
        load_weights(model_of(None), "x.ckpt", checkpoint)
    with pytest.raises(ValueError, match=f"^{said}"):
        CimClassifier.load_from_checkpoint(path, plan=Plan())
    assert load_weights(model_of("stream"), "x.ckpt", checkpoint) == []


# pretrained weights and the form of pictures


def settings_of(pretrained: Any, ckpt_path: str | None, **backbone: Any) -> Namespace:
    config = vars(BackboneConfig("resnet18", pretrained=pretrained, **backbone))
    data = Namespace(class_path="asim_lightning.data.CIFAR10", init_args=Namespace(root="x"))
    return Namespace(model=Namespace(backbone=Namespace(**config)), data=data, ckpt_path=ckpt_path)


@pytest.mark.parametrize("pretrained", ["a1_in1k", "gone.pth"])
def test_a_checkpoint_of_a_network_that_started_from_weights_sees_the_same_pictures(pretrained: str) -> None:
    settings = settings_of(pretrained, "own.ckpt")
    said = settle_pretrained(settings, {}, "validate")
    assert settings.data.init_args.normalize == "pretrained"
    assert settings.data.init_args.pretrained_cfg == ("resnet18.a1_in1k" if "a1" in pretrained else "resnet18")
    assert said.endswith("expects them (data.init_args.pretrained_cfg)")
    assert settings.model.backbone.pretrained is False  # nothing is downloaded or read for it


def test_what_the_user_wrote_small_networks_and_random_weights_change_no_pictures() -> None:
    settings = settings_of("a1_in1k", None)
    for given in ({"init_args": {"normalize": "published"}}, {"normalize": "published"}):
        assert settle_pretrained(settings, {"data": given}, "fit") == ""
    assert "pretrained_cfg" not in settings.data.init_args
    assert settle_pretrained(settings_of("a1_in1k", None, small=True), {}, "fit") == ""
    assert settle_pretrained(settings_of(False, None), {}, "fit") == ""


def test_learnt_ranges_of_a_checkpoint_are_those_of_every_command(asim: Asim, written: Write) -> None:
    learnt = {"train_adc": True, "train_noise_model": "chip", "train_noise": 1, "plan__macro__adc_bits": 4}
    written(**{f"model__{name}": value for name, value in learnt.items()})
    assert asim("fit", "-c", "tiny.yaml", "--model.fidelity", "quantized").code == 0
    path = "runs/tiny/version_0/checkpoints/best.ckpt"
    rules = torch.load(path, weights_only=True)["hyper_parameters"]["plan"]["rules"]
    steps = {rule["match"]: rule["macro"]["adc_step"] for rule in rules if "adc_step" in rule["macro"]}
    assert steps
    for command in ("explain", "cost"):  # which need no weights otherwise
        lines = asim(command, "-c", "tiny.yaml", "--ckpt_path", path).out.splitlines()
        for name, step in steps.items():
            assert any(line.startswith(f"{name} ") and f"counts an LSB {step}" in line for line in lines), name
