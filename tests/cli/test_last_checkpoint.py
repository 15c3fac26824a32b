"""`--ckpt_path last` goes on in the folder of the run that was stopped; last.ckpt is whole whenever it is looked at."""

import csv
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from asim_lightning.callbacks import LastCheckpoint
from asim_lightning.cli.checkpointing import WholeFiles, with_checkpoints
from tests.cli.conftest import Asim, Run
from tests.cli.runs_to_stop import SECONDS, last_of, write_config

# --ckpt_path last


def test_last_goes_on_in_the_same_folder_and_keeps_the_metrics(asim: Asim, images: Path, folder: Path) -> None:
    path = write_config(folder, images, model="proportional")
    assert asim("fit", "-c", path, "--trainer.max_epochs", "1").code == 0
    version = folder / "runs" / "tiny" / "version_0"
    before = (version / "metrics.csv").read_text()
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
    assert torch.load(last_of(folder), weights_only=True)["global_step"] == 8


def test_last_is_the_newest_of_all_versions(asim: Asim, images: Path, folder: Path) -> None:
    path = write_config(folder, images, model="proportional")
    for _ in range(3):
        assert asim("fit", "-c", path, "--trainer.max_epochs", "1").code == 0
    runs = folder / "runs" / "tiny"
    os.utime(runs / "version_1" / "checkpoints" / "last.ckpt")
    (runs / "version_2" / "checkpoints" / "last.ckpt").rename(runs / "version_2" / "checkpoints" / "best.ckpt")
    answer = asim("fit", "-c", path, "--trainer.max_epochs", "2", "--ckpt_path=last")
    assert "resumes at epoch 1 of 2, step 4, from runs/tiny/version_1/checkpoints/last.ckpt; " in answer.out
    assert (runs / "version_1" / "metrics_until_step_4.csv").exists()
    assert not (runs / "version_3").exists()


def test_last_of_a_run_that_has_none(asim: Asim, run: Run, folder: Path) -> None:
    (folder / "runs" / "tiny" / "version_0").mkdir(parents=True)
    assert asim("fit", "-c", run.config, "--ckpt_path", "last").error == (
        "`ckpt_path: last` is the newest runs/tiny/version_*/checkpoints/last.ckpt, and there is none; asim fit "
        "without ckpt_path starts anew and writes one"
    )
    error = asim("fit", "-c", run.config, "--ckpt_path", "last", "--trainer.default_root_dir", "there").error
    assert "the newest there/tiny/version_*/checkpoints/last.ckpt, and there is none" in error


def test_a_finished_fit_has_nothing_left_to_do(asim: Asim, images: Path, folder: Path) -> None:
    path = write_config(folder, images, model="proportional")
    assert asim("fit", "-c", path, "--trainer.max_epochs", "1").code == 0
    before = torch.load(last_of(folder), weights_only=True)["state_dict"]
    answer = asim("fit", "-c", path, "--trainer.max_epochs", "1", "--ckpt_path", "last")
    assert answer.code == 0
    assert "resumes at epoch 1 of 1, step 4, from runs/tiny/version_0/checkpoints/last.ckpt; " in answer.out
    assert "\nnothing was trained, as " in answer.out
    after = torch.load(last_of(folder), weights_only=True)["state_dict"]
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_checkpoint_that_has_its_epochs_trains_nothing_or_starts_anew(asim: Asim, run: Run, folder: Path) -> None:
    resumes = ("fit", "-c", run.config, "--ckpt_path", run.checkpoint)
    answer = asim(*resumes)
    assert answer.code == 0
    assert answer.out.startswith(f"resumes at epoch 1 of 1, step 2, from {run.checkpoint}; --resume false starts ")
    assert "\nnothing was trained, as " in answer.out
    assert not (folder / "runs").exists()
    answer = asim(*resumes, "--resume", "false")
    assert answer.out.startswith(f"starts from the weights of {run.checkpoint} at epoch 0 of 1; `--resume true` ")
    assert torch.load(last_of(folder), weights_only=True)["global_step"] == 2


def test_fewer_epochs_than_the_checkpoint_has_are_refused(asim: Asim, run: Run, folder: Path) -> None:
    fewer = ("fit", "-c", run.config, "--ckpt_path", run.checkpoint, "--trainer.max_epochs", "0")
    assert asim(*fewer).error == (
        f"`trainer.max_epochs` must be 1 or more to resume {run.checkpoint}, got 0; --resume false starts from its "
        "weights at epoch 0"
    )
    assert asim(*fewer, "--resume", "false").code == 0
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("older", ["absent", "no callbacks"])
def test_a_fit_goes_on_from_an_older_versions_checkpoint(
    older: str, asim: Asim, images: Path, folder: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = write_config(folder, images, model="proportional")
    assert asim("fit", "-c", path, "--trainer.max_epochs", "1").code == 0
    checkpoint = torch.load(last_of(folder), weights_only=True)
    del checkpoint["callbacks"]["LastCheckpoint"]
    if older == "no callbacks":
        del checkpoint["callbacks"]
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
        "A fit that goes on in the middle of an epoch must read its images in the order in which it began: "
        "batch_size 20, got 10; set back what differs, it may change at an epoch's end"
    )
    assert last_of(folder).read_bytes() == before
    assert asim(*goes_on, "20").code == 0  # two steps more
    said: list[str] = []
    monkeypatch.setattr("asim_lightning.data.loader.rank_zero_info", said.append)
    assert asim(*goes_on, "10", "--trainer.max_epochs", "2").code == 0
    assert said == ["From this epoch on the training images come in another order: batch_size 20, got 10"]
    assert torch.load(last_of(folder), weights_only=True)["global_step"] == 4 + 8


# callbacks of the user's own


def checkpoint(**arguments: Any) -> dict[str, Any]:
    given = {"filename": "best", "monitor": "val/acc", "mode": "max", **arguments}
    return {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": given}


def configured(folder: Path, images: Path, *callbacks: dict[str, Any]) -> Path:
    path = write_config(folder, images, model="proportional")
    config = yaml.safe_load(path.read_text())
    config["trainer"].update(max_epochs=2, callbacks=list(callbacks))
    path.write_text(yaml.safe_dump(config))
    return path


def test_save_last_is_left_to_the_callback_that_a_fit_can_go_on_from(asim: Asim, images: Path, folder: Path) -> None:
    """Of 4 steps an epoch, each third one is saved: 3, the end of the first epoch, and 6."""
    path = configured(folder, images, checkpoint(save_last=True, every_n_train_steps=3))
    answer = asim("fit", "-c", path)
    assert answer.code == 0
    assert (
        "last.ckpt is written by LastCheckpoint, where a fit can go on, in place of `save_last` of ModelCheckpoint\n"
    ) in answer.out
    saved = torch.load(last_of(folder), weights_only=True)
    assert "LastCheckpoint" in saved["callbacks"]
    assert [each.name for each in last_of(folder).parent.glob("last*")] == ["last.ckpt"]


def test_callbacks_of_a_fit_hold_one_that_saves_last() -> None:
    names = {"monitor": "val/acc", "mode": "max"}
    mine = ModelCheckpoint(filename="best", save_last="link", every_n_train_steps=3, **names)
    more = ModelCheckpoint(filename="other", save_last=True, every_n_train_steps=2, **names)
    *others, last = with_checkpoints([mine, more], "val/acc")
    assert others == [mine, more]
    assert (mine.save_last, more.save_last) == (None, None)
    assert isinstance(last, LastCheckpoint)
    assert last.every_n_steps == 2
    own = LastCheckpoint(5)
    assert with_checkpoints([own, ModelCheckpoint(save_last=True)], "val/acc")[-1] is own
    *_, plain = with_checkpoints([ModelCheckpoint(save_last=True)], "val/acc")
    assert isinstance(plain, LastCheckpoint)
    assert plain.every_n_steps is None


def test_the_name_of_the_last_checkpoint_is_taken(asim: Asim, images: Path, folder: Path) -> None:
    path = configured(folder, images, checkpoint(filename="last"))
    assert asim("fit", "-c", path).error == (
        "`filename` of ModelCheckpoint must not be 'last': last.ckpt is LastCheckpoint's, which is always there"
    )
    assert with_checkpoints([ModelCheckpoint("elsewhere", "last")], "val/acc")


# whole at any moment


def saves(folder: Path, look: Callable[[Path], None], megabytes: int = 8, times: int = 20) -> int:
    """Save again and again as a fit does, and look at last.ckpt all the while; how often it was there."""
    path, looked, done = folder / "last.ckpt", 0, threading.Event()
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", plugins=[WholeFiles()], **options)  # type: ignore[arg-type]

    def save() -> None:
        try:
            for number in range(times):
                weights = torch.full((megabytes * 2**18,), float(number))
                trainer.strategy.checkpoint_io.save_checkpoint({"state_dict": {"w": weights}}, path)
        finally:
            done.set()

    thread = threading.Thread(target=save)
    thread.start()
    deadline = time.monotonic() + SECONDS
    while not done.is_set() and time.monotonic() < deadline:
        if path.exists():
            look(path)
            looked += 1
    thread.join()
    return looked


def assert_whole(path: Path) -> None:
    weights = torch.load(path, weights_only=True)["state_dict"]["w"]
    assert float(weights[0]) == float(weights[-1])


def test_last_ckpt_is_whole_at_any_moment(tmp_path: Path) -> None:
    assert saves(tmp_path, assert_whole) > 3
    assert isinstance(Trainer(accelerator="cpu", logger=False).strategy.checkpoint_io, TorchCheckpointIO)


def other_filesystem(folder: Path) -> str | None:
    places = [place for place in ("/dev/shm", "/run") if os.access(place, os.W_OK)]
    return next((place for place in places if os.stat(place).st_dev != os.stat(folder).st_dev), None)


def test_where_temporary_files_are_on_another_filesystem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = other_filesystem(tmp_path)
    if place is None:
        pytest.skip("there is no other filesystem to write to")
    monkeypatch.setattr(tempfile, "tempdir", place)
    assert saves(tmp_path, assert_whole) > 3
