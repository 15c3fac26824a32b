"""Where nothing can be written or shown, and what is named is of the wrong kind: one line, and nothing left behind."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning.classifier import CimClassifier
from tests.cli.conftest import GRID, Asim, contents

Write = Callable[..., Path]
Setting = Callable[[Path], object]

EXPORT = ("export", "fashion_resnet_nat", "--format", "timm", "--to")


def nothing(folder: Path) -> None:
    """An empty folder is what there is."""


def file_for_runs(folder: Path) -> None:
    (folder / "runs").write_text("in the way")


def file_for_run(folder: Path) -> None:
    (folder / "runs").mkdir()
    (folder / "runs" / "tiny").write_text("in the way")


def link_to_nowhere(folder: Path) -> None:
    (folder / "runs").symlink_to("/proc/nosuch")


def folder_of_run(folder: Path) -> None:
    (folder / "runs" / "tiny").mkdir(parents=True)
    (folder / "runs" / "tiny" / "mine.txt").write_text("kept")


EXCHANGE: dict[str, tuple[Setting, tuple[str, ...], str]] = {
    "export below a file": (file_for_runs, (*EXPORT, "runs/x.pth"), "runs/x.pth cannot be written"),
    "export where nothing is written": (nothing, (*EXPORT, "/proc/x.pth"), "/proc/x.pth cannot be written"),
    "export of a folder": (folder_of_run, ("export", "runs", *EXPORT[2:], "x.pth"), "runs is a folder; a file"),
    "export to another's format": (
        nothing, ("export", "fashion_resnet_nat", "--format", "torchvision", "--to", "new/x.pth"), "torchvision format"
    ),
    "export to another ending": (nothing, (*EXPORT, "new/x.ckpt"), "`--to` must end in .pth or .safetensors"),
    "import of a folder": (folder_of_run, ("import", "runs", "--to", "new/x.ckpt"), "There is no file 'runs'"),
    "import of nothing": (nothing, ("import", "x.pth", "--to", "new/x.ckpt"), "There is no file"),
    "import of a config.py that is none": (
        lambda folder: (folder / "config.py").write_text("nothing = 1"),
        ("import", "config.py", "--to", "new/x.yaml"),
        "config.py",
    ),
}  # fmt: skip

LATE: dict[str, tuple[tuple[str, ...], str]] = {
    "no data": (("--data.init_args.root", "nosuch"), "The Fashion-MNIST folder nosuch does not exist"),
    "other classes": (("--model.num_classes", "12"), "`model.num_classes` must be 10, as in the data, got 12"),
    "too many images": (("--data.init_args.test_images", "99999"), "test_images must be 1 to 2000"),
    "no training images": (("--data", "asim_lightning.data.PackagedImageNet"), "none to train on"),
    "too seldom validated": (("--trainer.val_check_interval", "77"), "`val_check_interval` (77)"),
    "no logger": (("--trainer.logger", "false", "--data.init_args.root", "nosuch"), "The Fashion-MNIST folder nosuch"),
    "a logger of one's own": (
        ("--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "logs", "--data.init_args.root", "nosuch"),
        "The Fashion-MNIST folder nosuch",
    ),
}

MESSAGES: dict[str, tuple[Setting, tuple[str, ...], str]] = {
    **{
        f"{name} without root": (
            nothing,
            ("--data", f"asim_lightning.data.{name}"),
            f"`data` {name} needs root, as in --data.init_args.root VALUE",
        )
        for name in ("CIFAR10", "CIFAR100", "ImageNet", "ImageFolder")
    },
    "null root": (
        nothing,
        ("--data", "asim_lightning.data.CIFAR10", "--data.init_args.root", "null"),
        "`data` CIFAR10 needs root",
    ),
    "null data": (nothing, ("--data", "null"), "`data` must be a data module, such as asim_lightning.data.CIFAR10"),
    "negative seed": (nothing, ("--seed_everything", "-1"), "-1 is not in bounds"),
    "large seed": (nothing, ("--seed_everything", "4294967296"), "4294967296 is not in bounds"),
    "no seed": (nothing, ("--seed_everything", "null"), "`seed_everything` must be bool or int, got None"),
    "folder as config": (folder_of_run, ("--config", "runs"), "runs is a folder; a file (.yaml) is needed"),
    "folder as checkpoint": (folder_of_run, ("--ckpt_path", "runs"), "runs is a folder; a file (.ckpt) is needed"),
    "file as checkpoint's folder": (nothing, ("--ckpt_path", "tiny.yaml/best.ckpt"), "There is no file 'tiny.yaml/"),
    "file as data": (nothing, ("--data.init_args.root", "tiny.yaml"), "does not exist or is not a folder"),
    "bytes as data": (nothing, ("--data.init_args.root", "b\udcff"), "must be text in UTF-8, got b\\udcff; a path may"),
    "bytes as config": (nothing, ("--config", "b\udcff.yaml"), "There is no file 'b\\udcff.yaml'"),
}


@pytest.mark.parametrize("command", [("fit",), ("predict",), ("sweep", *GRID)], ids=lambda command: command[0])
@pytest.mark.parametrize("setting", [file_for_runs, file_for_run, link_to_nowhere])
def test_an_output_that_cannot_be_written(
    command: tuple[str, ...], setting: Setting, asim: Asim, written: Write, folder: Path
) -> None:
    config = written().name
    setting(folder)
    before = contents(folder)
    assert "runs" in asim(command[0], "-c", config, *command[1:]).error
    assert contents(folder) == before


@pytest.mark.parametrize("case", EXCHANGE.values(), ids=EXCHANGE)
def test_imports_and_exports(case: Any, asim: Asim, folder: Path) -> None:
    setting, arguments, expected = case
    setting(folder)
    before = contents(folder)
    answer = asim(*arguments)
    assert expected in answer.error
    assert not answer.out
    assert contents(folder) == before


@pytest.mark.parametrize("setting", [nothing, folder_of_run])
@pytest.mark.parametrize("case", LATE.values(), ids=LATE)
def test_a_fit_that_is_refused_late(case: Any, setting: Setting, asim: Asim, written: Write, folder: Path) -> None:
    arguments, expected = case
    config = written().name
    setting(folder)
    before = contents(folder)
    assert expected in asim("fit", "-c", config, *arguments).error
    assert contents(folder) == before


def test_a_fit_that_goes_on_and_is_refused(asim: Asim, written: Write, folder: Path) -> None:
    config = written().name
    assert asim("fit", "-c", config).code == 0
    before, metrics = contents(folder), Path("runs/tiny/version_0/metrics.csv").read_bytes()
    arguments = ("--ckpt_path", "last", "--trainer.max_epochs", "2", "--data.init_args.root", "nosuch")
    assert "The Fashion-MNIST folder nosuch" in asim("fit", "-c", config, *arguments).error
    assert contents(folder) == before
    assert Path("runs/tiny/version_0/metrics.csv").read_bytes() == metrics


def test_a_fit_that_crashes_in_a_later_epoch_keeps_what_it_has(
    asim: Asim, written: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: CimClassifier) -> None:
        if self.current_epoch == 1:
            raise ValueError("no second epoch")

    monkeypatch.setattr(CimClassifier, "on_train_epoch_start", refuse)
    assert asim("fit", "-c", written(trainer__max_epochs=2)).error == "no second epoch"
    assert {"best.ckpt", "last.ckpt"} <= {path.name for path in folder.rglob("*.ckpt")}


@pytest.mark.parametrize("case", MESSAGES.values(), ids=MESSAGES)
def test_messages(case: Any, asim: Asim, written: Write, folder: Path) -> None:
    setting, arguments, expected = case
    config = written().name
    setting(folder)
    before = contents(folder)
    assert expected in asim("validate", "-c", config, *arguments).error
    assert contents(folder) == before


def test_null_data_in_a_file(asim: Asim, written: Write) -> None:
    path = written(data=None)
    assert "`data` must be a data module" in asim("fit", "-c", path).error
    assert not Path("runs").exists()
    assert asim("explain", "-c", path).code == 0  # needs none


def test_a_working_folder_that_was_removed(asim: Asim, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    error = asim("validate", "-c", "quickstart").error
    os.chdir(folder)
    assert "No such file or directory" in error


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FULL = {
    "predict": (("predict", "-c", "tiny.yaml"), "runs/tiny/predictions.csv"),
    "export": ((*EXPORT, "new/folder/x.pth"), "new/folder/x.pth"),
    "export of safetensors": ((*EXPORT, "new/x.safetensors"), "new/x.safetensors"),
    "bench": (("bench", "-c", "tiny.yaml", "--batch", "1", "--repeats", "1"), "runs/tiny/bench.json"),
    "confusion matrix": (
        ("validate", "-c", "tiny.yaml", "--trainer.callbacks+=asim_lightning.callbacks.ConfusionMatrix"),
        "runs/tiny/confusion_val.png",
    ),
    "mistakes": (
        ("validate", "-c", "tiny.yaml", "--trainer.callbacks+=asim_lightning.callbacks.Misclassified"),
        "runs/tiny/misclassified_val.csv",
    ),
}


@pytest.mark.parametrize("case", FULL.values(), ids=FULL)
def test_a_full_disk(
    case: tuple[tuple[str, ...], str], asim: Asim, written: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, file = case
    written()
    before = contents(folder)
    monkeypatch.setattr(os, "fsync", no_space)
    error = asim(*arguments).error
    assert error.endswith(f"{file} cannot be written: No space left on device")
    assert {each for each in contents(folder) - before if (folder / each).is_file()} == set()


def test_a_disk_that_is_full_after_an_epoch(
    asim: Asim, written: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", no_space)
    error = asim("fit", "-c", written()).error
    assert error.endswith("runs/tiny/version_0/checkpoints/best.ckpt cannot be written: No space left on device")
    assert not [*folder.rglob("*.ckpt"), *folder.rglob("*.partial")]


def test_predictions_are_whole_or_absent(
    asim: Asim, written: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written()
    assert asim("predict", "-c", path).code == 0
    before = Path("runs/tiny/predictions.csv").read_bytes()
    assert before.startswith(b"index,label,prediction,confidence\r\n0,")
    monkeypatch.setattr(os, "fsync", no_space)
    assert asim("predict", "-c", path, "--data.init_args.test_images", "10").code == 2
    assert Path("runs/tiny/predictions.csv").read_bytes() == before


def test_an_export_to_a_link(asim: Asim, folder: Path) -> None:
    (folder / "big").mkdir()
    (folder / "x.pth").symlink_to(Path("big", "kept.pth"))
    assert asim(*EXPORT, "x.pth").code == 0
    assert (folder / "x.pth").is_symlink()
    assert len(torch.load(folder / "big" / "kept.pth", weights_only=True)) > 10
    os.mkfifo(folder / "pipe.pth", 0o400)
    if os.geteuid():
        assert asim(*EXPORT, "pipe.pth").error.startswith("pipe.pth cannot be written")
