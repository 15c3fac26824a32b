"""`--ckpt_path last` goes on in the folder of the run that was stopped; last.ckpt is whole whenever it is looked at."""

import csv
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint

from asim_lightning.callbacks import LastCheckpoint
from asim_lightning.cli.checkpointing import WholeFiles, with_checkpoints
from tests.classifier.conftest import make_model
from tests.cli.conftest import Asim, Run, Write
from tests.cli.runs_to_stop import last_of, write_config


def steps_of(folder: Path) -> int:
    return int(torch.load(last_of(folder), weights_only=True)["global_step"])


def test_last_goes_on_in_the_same_folder_and_keeps_the_metrics(asim: Asim, images: Path, folder: Path) -> None:
    path = write_config(folder, images, model="proportional")
    assert asim("fit", "-c", path, "--trainer.max_epochs", "1").code == 0
    version = folder / "runs" / "tiny" / "version_0"
    before = (version / "metrics.csv").read_text()
    refused = ("fit", "-c", path, "--ckpt_path", "last", "--trainer.max_epochs", "2", "--data.init_args.root", "nosuch")
    assert "The Fashion-MNIST folder nosuch" in asim(*refused).error
    assert (version / "metrics.csv").read_text() == before
    # a part of the ramp, which counts epochs of the whole training
    answer = asim("fit", "-c", path, "--trainer.max_epochs", "2", "--ckpt_path", "last")
    assert answer.code == 0
    assert "resumes at epoch 1 of 2, step 4, from runs/tiny/version_0/checkpoints/last.ckpt; " in answer.out
    assert "run      runs/tiny/version_0\n" in answer.out
    assert [each.name for each in (folder / "runs" / "tiny").iterdir()] == ["version_0"]
    assert (version / "metrics_until_step_4.csv").read_text() == before
    with (version / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == sorted(steps)
    assert min(steps) >= 4
    assert steps_of(folder) == 8


def test_last_is_the_newest_of_all_versions_and_a_finished_fit_has_nothing_left_to_do(
    asim: Asim, written: Write, run: Run, folder: Path
) -> None:
    path = written()
    missing = "`ckpt_path: last` is the newest there/tiny/version_*/checkpoints/last.ckpt, and there is none; asim fit "
    flags = ("--ckpt_path", "last", "--trainer.default_root_dir", "there")
    for command in ("fit", "validate"):
        assert asim(command, "-c", path, *flags).error == f"{missing}without ckpt_path starts anew and writes one"
    for name in ("version_0", "version_1"):
        checkpoint = folder / "runs" / "tiny" / name / "checkpoints" / "last.ckpt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_bytes((run.version / "checkpoints" / "last.ckpt").read_bytes())
    os.utime(last_of(folder), (2**31, 2**31))
    last = "runs/tiny/version_0/checkpoints/last.ckpt"
    assert f"weights  {last}\n" in asim("validate", "-c", path, "--ckpt_path", "last").out
    before = last_of(folder).read_bytes()
    answer = asim("fit", "-c", path, "--ckpt_path=last")
    assert f"resumes at epoch 1 of 1, step 2, from {last}; " in answer.out
    assert "\nnothing was trained, as " in answer.out
    assert last_of(folder).read_bytes() == before
    last_of(folder).write_bytes(b"abc")
    os.utime(last_of(folder), (2**31, 2**31))
    assert f"{last} is no checkpoint, or a damaged one" in asim("fit", "-c", path, "--ckpt_path", "last").error


def test_a_checkpoint_that_has_its_epochs_trains_nothing_or_starts_anew(asim: Asim, run: Run, folder: Path) -> None:
    resumes = ("fit", "-c", run.config, "--ckpt_path", run.checkpoint)
    assert asim(*resumes, "--trainer.max_epochs", "0").error == (
        f"`trainer.max_epochs` must be 1 or more to resume {run.checkpoint}, got 0; --resume false starts from its "
        "weights at epoch 0"
    )
    answer = asim(*resumes, "--resume", "false")
    assert answer.out.startswith(f"starts from the weights of {run.checkpoint} at epoch 0 of 1; `--resume true` ")
    assert steps_of(folder) == 2


def test_a_fit_goes_on_from_an_older_versions_checkpoint(
    asim: Asim, images: Path, folder: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = write_config(folder, images, model="proportional")
    assert asim("fit", "-c", path, "--trainer.max_epochs", "1").code == 0
    checkpoint = torch.load(last_of(folder), weights_only=True)
    del checkpoint["callbacks"]["LastCheckpoint"]
    torch.save(checkpoint, last_of(folder))
    answer = asim("fit", "-c", path, "--trainer.max_epochs", "2", "--ckpt_path", "last")
    assert (answer.code, answer.err) == (0, "")
    assert not [each for each in recwarn if "add the following callbacks" in str(each.message)]
    kept = torch.load(last_of(folder), weights_only=True)
    assert kept["global_step"] == 8
    assert [key for key in kept["callbacks"] if key.startswith("LastCheckpoint")] == ["LastCheckpoint"]


def test_another_batch_size_in_the_middle_of_an_epoch_is_refused(
    asim: Asim, images: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(folder, images, model="proportional")
    assert asim("fit", "-c", path, "--trainer.max_steps", "2").code == 0
    before = last_of(folder).read_bytes()
    goes_on = ("fit", "-c", path, "--ckpt_path", "last", "--trainer.max_epochs", "1", "--data.init_args.batch_size")
    assert asim(*goes_on, "10").error == (
        "A fit that continues in the middle of an epoch must read its images in the order in which it began: "
        "batch_size 20, got 10; restore these settings, which may change only between epochs"
    )
    assert last_of(folder).read_bytes() == before
    assert asim(*goes_on, "20").code == 0  # two steps more
    said: list[str] = []
    monkeypatch.setattr("asim_lightning.data.loader.rank_zero_info", said.append)
    assert asim(*goes_on, "10", "--trainer.max_epochs", "2").code == 0
    assert said == ["From this epoch on the training images come in another order: batch_size 20, got 10"]
    assert steps_of(folder) == 4 + 8


# callbacks of the user's own


def test_save_last_is_left_to_the_callback_that_a_fit_can_go_on_from(asim: Asim, images: Path, folder: Path) -> None:
    """Of 4 steps an epoch, each third one is saved: 3, the end of the first epoch, and 6."""
    path = write_config(folder, images, model="proportional")
    config = yaml.safe_load(path.read_text())
    own = {"filename": "best", "monitor": "val/acc", "mode": "max", "save_last": True, "every_n_train_steps": 3}
    checkpoint = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": own}
    config["trainer"].update(max_epochs=2, callbacks=[checkpoint])
    path.write_text(yaml.safe_dump(config))
    answer = asim("fit", "-c", path)
    assert answer.code == 0
    assert (
        "last.ckpt is written by LastCheckpoint, where a fit can go on, in place of `save_last` of ModelCheckpoint\n"
    ) in answer.out
    assert "LastCheckpoint" in torch.load(last_of(folder), weights_only=True)["callbacks"]
    assert [each.name for each in last_of(folder).parent.glob("last*")] == ["last.ckpt"]


def test_callbacks_of_a_fit_hold_one_that_saves_last() -> None:
    model, names = make_model(), {"monitor": "val/acc", "mode": "max"}
    mine = ModelCheckpoint(filename="best", save_last="link", every_n_train_steps=3, **names)
    more = ModelCheckpoint(filename="other", save_last=True, every_n_train_steps=2, **names)
    *others, last = with_checkpoints([mine, more], model)[0]
    assert others == [mine, more]
    assert (mine.save_last, more.save_last) == (None, None)
    assert isinstance(last, LastCheckpoint)
    assert last.every_n_steps == 2
    own = LastCheckpoint(5)
    assert with_checkpoints([own, ModelCheckpoint(save_last=True)], model)[0][-1] is own
    *_, plain = with_checkpoints([ModelCheckpoint(save_last=True)], model)[0]
    assert isinstance(plain, LastCheckpoint)
    assert plain.every_n_steps is None
    with pytest.raises(ValueError, match="`filename` of ModelCheckpoint must not be 'last'"):
        with_checkpoints([ModelCheckpoint(filename="last", **names)], model)
    assert with_checkpoints([ModelCheckpoint("elsewhere", "last")], model)


# files are whole at any moment, and those of others stay


def test_a_fit_that_goes_on_from_another_ones_checkpoint_removes_nothing_elsewhere(
    asim: Asim, run: Run, folder: Path
) -> None:
    (folder / "victim").mkdir()
    (folder / "victim" / "thesis.txt").write_text("mine")
    found: dict[str, Any] = torch.load(run.version / "checkpoints" / "last.ckpt", weights_only=True)
    for state in found["callbacks"].values():
        if "best_model_path" in state:
            victim = f"local://{folder}/victim"
            state.update(best_model_path=victim, kth_best_model_path=victim, best_k_models={victim: torch.tensor(0.0)})
            state.update(dirpath="runs/tiny/version_0/checkpoints")
    torch.save(found, "theirs.ckpt")
    answer = asim("fit", "-c", run.config, "--ckpt_path", "theirs.ckpt", "--trainer.max_epochs", "2")
    assert answer.code == 0, answer.err
    assert (folder / "victim" / "thesis.txt").read_text() == "mine"
    assert "victim" not in answer.out


def test_checkpoints_of_this_run_alone_are_removed(folder: Path) -> None:
    writer = WholeFiles()
    (folder / "mine.ckpt").write_text("mine")
    writer.remove_checkpoint("mine.ckpt")  # nothing is saved yet
    for name in ("runs/a.ckpt", "runs/deep/b.ckpt"):
        writer.save_checkpoint({}, name)
    (folder / "runs" / "folder.ckpt").mkdir()
    (folder / "runs" / "notes.txt").write_text("mine")
    kept = ("mine.ckpt", "runs/folder.ckpt", "runs/notes.txt", "runs/../mine.ckpt", f"local://{folder}/mine.ckpt")
    for name in (*kept, f"local://{folder}/runs", str(folder / "runs"), "runs/none.ckpt"):
        writer.remove_checkpoint(name)
    assert (folder / "mine.ckpt").read_text() == (folder / "runs" / "notes.txt").read_text() == "mine"
    assert (folder / "runs" / "folder.ckpt").is_dir()
    for name in ("runs/a.ckpt", folder / "runs" / "deep" / "b.ckpt"):
        writer.remove_checkpoint(name)
        assert not Path(name).exists()
