"""Checkpoints from before and after folding, by every way in."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from asim_lightning import CimClassifier, Plan
from asim_lightning.surgery import fold_state
from tests.classifier.conftest import make_data
from tests.cli.conftest import Asim, Run

FOLD = ("--model.plan.fold_batchnorm", "true")
FLOAT = ("--model.fidelity", "float")


@pytest.fixture(scope="module")
def before(run: Run) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(run.checkpoint, weights_only=True)
    return checkpoint


@pytest.fixture
def folded(run: Run, folder: Path, before: dict[str, Any]) -> Path:
    """The checkpoint of the run as a folded network would have saved it."""
    model = CimClassifier.load_from_checkpoint(run.checkpoint, plan=Plan(fold_batchnorm=True))
    path = folder / "folded.ckpt"
    torch.save({**before, "state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}, path)
    return path


def quiet(folder: Path, **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        use_distributed_sampler=False, limit_train_batches=1, num_sanity_val_steps=0, **options,
    )  # fmt: skip


def test_weights_from_before_fold_on_the_command_line(asim: Asim, run: Run) -> None:
    arguments = ("validate", "-c", run.config, "--ckpt_path", run.checkpoint)
    assert asim(*arguments, *FLOAT, *FOLD).accuracy == asim(*arguments, *FLOAT).accuracy
    assert asim(*arguments, *FOLD).last.startswith("accuracy ")


def test_a_folded_checkpoint_says_itself_that_it_is(asim: Asim, run: Run, folded: Path) -> None:
    expected = asim("validate", "-c", run.config, "--ckpt_path", run.checkpoint, *FOLD).accuracy
    assert asim("validate", "-c", run.config, "--ckpt_path", folded).accuracy == expected


@pytest.mark.parametrize("command", ["fit", "validate"])
def test_a_folded_checkpoint_does_not_fit_an_unfolded_network(command: str, asim: Asim, run: Run, folded: Path) -> None:
    error = asim(command, "-c", run.config, "--ckpt_path", folded, FOLD[0], "false").error
    wanted = "`model.plan.fold_batchnorm` must be true, as the BatchNorms of the checkpoint's network are folded and "
    assert error == f"{folded} does not fit: {wanted}cannot be had back, got false"


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


def test_last_from_before_is_not_gone_on_with(
    asim: Asim, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.folder)
    files = sorted(run.folder.rglob("*"))
    error = asim("fit", "-c", run.config, "--ckpt_path", "last", *FOLD).error
    start = (
        "`model.plan.fold_batchnorm` must be false where runs/tiny/version_0/checkpoints/last.ckpt goes on, as it was"
    )
    assert error.startswith(start)
    assert sorted(run.folder.rglob("*")) == files


def test_explain_says_what_is_folded(asim: Asim, run: Run) -> None:
    assert "\n14 BatchNorms folded into the layers before them\n" in asim("explain", "-c", run.config, *FOLD).out


def test_nothing_to_fold_is_one_line(asim: Asim, run: Run) -> None:
    backbone = ("--model.backbone.name", "vgg11", "--model.backbone.kwargs", "{in_chans: 1, mlp_ratio: 0.01}")
    error = asim("explain", "-c", run.config, *backbone, *FOLD).error
    assert error == "There is nothing to fold: `fold_batchnorm` needs a network with BatchNorm, got one without"


def test_lightning_loads_weights_from_before(run: Run, folder: Path, before: dict[str, Any]) -> None:
    model = CimClassifier.load_from_checkpoint(run.checkpoint, plan=Plan(fold_batchnorm=True), fidelity="float")
    plain = CimClassifier.load_from_checkpoint(run.checkpoint, fidelity="float")
    x = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=1e-5, atol=1e-5)
    assert not any("running_mean" in name for name in model.state_dict())
    options = {key: value for key, value in before["hyper_parameters"].items() if key != "plan"}
    fresh = CimClassifier(**options, plan=Plan(fold_batchnorm=True))
    quiet(folder).validate(fresh, make_data(), ckpt_path=str(run.checkpoint), weights_only=True, verbose=False)
    for name, value in model.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(value, fresh.state_dict()[name]), name


def test_lightning_refuses_what_does_not_fit(run: Run, folder: Path, folded: Path, before: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^`model.plan.fold_batchnorm` must be true, as the BatchNorms of"):
        CimClassifier.load_from_checkpoint(folded, plan=Plan())
    options = {key: value for key, value in before["hyper_parameters"].items() if key != "plan"}
    model = CimClassifier(**options, plan=Plan(fold_batchnorm=True))
    with pytest.raises(ValueError, match=r"^`model.plan.fold_batchnorm` must be false where a fit goes on, as in the"):
        quiet(folder, max_epochs=2).fit(model, make_data(), ckpt_path=str(run.checkpoint), weights_only=True)


def test_a_folded_network_saves_and_goes_on(run: Run, folder: Path, before: dict[str, Any]) -> None:
    options = {key: value for key, value in before["hyper_parameters"].items() if key != "plan"}
    plan = Plan(fold_batchnorm=True)
    saving = ModelCheckpoint(folder, "one")
    quiet(folder, max_epochs=1, callbacks=[saving]).fit(CimClassifier(**options, plan=plan), make_data())
    model = CimClassifier(**options, plan=plan)
    trainer = quiet(folder, max_epochs=2)
    trainer.fit(model, make_data(), ckpt_path=str(folder / "one.ckpt"), weights_only=True)
    assert trainer.global_step == 2


def test_fold_state_takes_a_whole_checkpoint_with_its_prefix(before: dict[str, Any]) -> None:
    model = CimClassifier(**{**before["hyper_parameters"], "plan": Plan(fold_batchnorm=True)})
    (hook,) = model.backbone._load_state_dict_pre_hooks.values()
    state = fold_state(before["state_dict"], hook.hook.args[0], "backbone.")
    missing = model.load_state_dict(state, strict=True)
    assert not missing.missing_keys
