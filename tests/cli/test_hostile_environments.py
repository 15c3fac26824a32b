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

ROOT_SETTING = "`trainer.default_root_dir` must be a "
NO_FILE = "must be a file that can be written, got "
NO_FOLDER = "must be a folder that can be written, got "
EXPORT = ("export", "fashion_resnet_nat", "--format", "timm", "--to")
CALLBACK = "--trainer.callbacks+=asim_lightning.callbacks"


def nothing(folder: Path) -> None:
    """An empty folder is what there is."""


def file_for_runs(folder: Path) -> None:
    (folder / "runs").write_text("in the way")


def file_for_run(folder: Path) -> None:
    (folder / "runs").mkdir()
    (folder / "runs" / "tiny").write_text("in the way")


def folder_for_predictions(folder: Path) -> None:
    (folder / "runs" / "tiny" / "predictions.csv").mkdir(parents=True)


def folder_for_bench(folder: Path) -> None:
    (folder / "runs" / "tiny" / "bench.json").mkdir(parents=True)


def link_to_nowhere(folder: Path) -> None:
    (folder / "runs").symlink_to("/proc/nosuch")


def folder_of_run(folder: Path) -> None:
    (folder / "runs" / "tiny").mkdir(parents=True)
    (folder / "runs" / "tiny" / "mine.txt").write_text("kept")


UNWRITABLE: dict[str, tuple[Setting, tuple[str, ...], str]] = {
    "fit, a file for runs": (file_for_runs, ("fit",), f"{NO_FOLDER}runs/tiny: "),
    "fit, a file for the run": (file_for_run, ("fit",), "/runs/tiny is no folder"),
    "fit, a file as root": (nothing, ("fit", "--trainer.default_root_dir", "tiny.yaml"), "/tiny.yaml is no folder"),
    "fit, a device": (nothing, ("fit", "--trainer.default_root_dir", "/dev/null"), "/dev/null is no folder"),
    "fit, no filesystem to write": (
        nothing, ("fit", "--trainer.default_root_dir", "/proc/nosuch"), f"{ROOT_SETTING}folder"
    ),
    "fit, a link to nowhere": (link_to_nowhere, ("fit",), f"{ROOT_SETTING}folder"),
    "sweep, a file for runs": (file_for_runs, ("sweep", *GRID), "/runs is no folder"),
    "sweep, a file for the run": (file_for_run, ("sweep", *GRID), "/runs/tiny is no folder"),
    "sweep, no filesystem to write": (
        nothing, ("sweep", "--trainer.default_root_dir", "/proc/nosuch"), f"{ROOT_SETTING}folder"
    ),
    "predict, a file for runs": (file_for_runs, ("predict",), "got runs/tiny/predictions.csv: "),
    "predict, a file for the run": (file_for_run, ("predict",), "/runs/tiny is no folder"),
    "predict, a folder": (
        folder_for_predictions, ("predict",), f"{ROOT_SETTING}file, got the folder runs/tiny/predictions.csv"
    ),
    "predict, no filesystem to write": (
        nothing, ("predict", "--trainer.default_root_dir", "/proc/nosuch"), f"{ROOT_SETTING}file"
    ),
    "bench, a file for runs": (file_for_runs, ("bench",), f"`output` {NO_FILE}runs/tiny/bench.json: "),
    "bench, a folder": (folder_for_bench, ("bench",), "`output` must be a file, got the folder runs/tiny/bench.json"),
    "bench, below a file": (nothing, ("bench", "--output", "tiny.yaml/times.json"), "/tiny.yaml is no folder"),
    "bench, no filesystem to write": (
        nothing, ("bench", "--output", "/proc/times.json"), f"`output` {NO_FILE}/proc/times.json: "
    ),
    "confusion matrix, a file as folder": (
        nothing,
        ("fit", f"{CALLBACK}.ConfusionMatrix", "--trainer.callbacks.folder", "tiny.yaml"),
        "`folder` of ConfusionMatrix must be a folder that can be written, got tiny.yaml: ",
    ),
    "confusion matrix, a file for runs": (
        file_for_runs, ("validate", f"{CALLBACK}.ConfusionMatrix"), "`folder` of ConfusionMatrix must be a folder"
    ),
    "mistakes, a file for the run": (
        file_for_run, ("test", f"{CALLBACK}.Misclassified"), "`folder` of Misclassified must be a folder"
    ),
    "checkpoints, no filesystem to write": (
        nothing,
        ("fit", "--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.dirpath", "/proc/x"),
        "`dirpath` of ModelCheckpoint must be a folder that can be written, got /proc/x: ",
    ),
    "a logger, no filesystem to write": (
        nothing,
        ("fit", "--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "/proc/x"),
        "the place of `trainer.logger` must be a folder that can be written, got /proc/x/lightning_logs/version_0: ",
    ),
}  # fmt: skip

EXCHANGE: dict[str, tuple[Setting, tuple[str, ...], str]] = {
    "export below a file": (file_for_runs, (*EXPORT, "runs/x.pth"), f"`--to` {NO_FILE}runs/x.pth: "),
    "export deep below a file": (file_for_runs, (*EXPORT, "runs/a/b/x.pth"), "/runs is no folder"),
    "export to a folder": (folder_of_run, (*EXPORT, "runs"), "`--to` must be a file, got the folder runs"),
    "export where nothing is written": (nothing, (*EXPORT, "/proc/x.pth"), f"`--to` {NO_FILE}/proc/x.pth: "),
    "export of a folder": (folder_of_run, ("export", "runs", *EXPORT[2:], "x.pth"), "runs is a folder; a file"),
    "export to another's format": (
        nothing, ("export", "fashion_resnet_nat", "--format", "torchvision", "--to", "new/x.pth"), "torchvision format"
    ),
    "export to another ending": (nothing, (*EXPORT, "new/x.ckpt"), "`--to` must end in .pth or .safetensors"),
    "import below a file": (file_for_runs, ("import", "x.pth", "--to", "runs/x.ckpt"), "/runs is no folder"),
    "import where nothing is written": (nothing, ("import", "x.pth", "--to", "/proc/x.ckpt"), "`--to` must be a file"),
    "import of a folder": (folder_of_run, ("import", "runs", "--to", "new/x.ckpt"), "runs is a folder; a file"),
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
    "a metric to stop by": (
        ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor", "val/nosuch"),
        "`monitor` of EarlyStopping must be a metric that is logged",
    ),
}

MESSAGES: dict[str, tuple[Setting, tuple[str, ...], str]] = {
    **{
        f"{name} without root": (
            nothing,
            ("--data", f"asim_lightning.data.{name}"),
            f"`data.init_args.root` is missing, which {name} needs: --data.init_args.root FOLDER, with FOLDER/{tree}",
        )
        for name, tree in {
            "CIFAR10": "cifar-10-batches-py/{data_batch_1",
            "CIFAR100": "cifar-100-python/{train,test}, or FOLDER/{train,test}/<class>/*.png",
            "ImageNet": "train/<class>/*.jpg and FOLDER/{valid,val}/<class>/*.jpg",
            "ImageFolder": "train/<class>/*.jpg and FOLDER/{val,valid,test}/<class>/*.jpg",
        }.items()
    },
    "null root": (
        nothing,
        ("--data", "asim_lightning.data.CIFAR10", "--data.init_args.root", "null"),
        "`data.init_args.root` is missing, which CIFAR10 needs",
    ),
    "null data": (nothing, ("--data", "null"), "`data` must be a data module, such as asim_lightning.data.CIFAR10"),
    "negative seed": (nothing, ("--seed_everything", "-1"), "`seed_everything` must be 0..4294967295, true or false"),
    "large seed": (nothing, ("--seed_everything", "4294967296"), "true or false, got 4294967296"),
    "no seed": (nothing, ("--seed_everything", "null"), "true or false or an integer, got null"),
    "folder as config": (folder_of_run, ("--config", "runs"), "runs is a folder; a file (.yaml) is needed"),
    "folder as checkpoint": (folder_of_run, ("--ckpt_path", "runs"), "runs is a folder; a file (.ckpt) is needed"),
    "file as checkpoint's folder": (nothing, ("--ckpt_path", "tiny.yaml/best.ckpt"), "There is no file 'tiny.yaml/"),
    "file as data": (nothing, ("--data.init_args.root", "tiny.yaml"), "does not exist or is not a folder"),
    "bytes as data": (nothing, ("--data.init_args.root", "b\udcff"), "must be text in UTF-8, got b\\xff; a path may"),
    "bytes as config": (nothing, ("--config", "b\udcff.yaml"), "There is no file 'b\\xff.yaml'"),
}


@pytest.mark.parametrize("case", UNWRITABLE.values(), ids=UNWRITABLE)
def test_an_output_that_cannot_be_written(case: Any, asim: Asim, written: Write, folder: Path) -> None:
    setting, (command, *rest), expected = case
    config = written().name
    setting(folder)
    before = contents(folder)
    answer = asim(command, "-c", config, *rest)
    assert expected in answer.error
    assert not {"accuracy", "machine", "kind"} & set(answer.out.split())  # found before the work
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
    assert error == "the working folder does not exist any more; change to another one"


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
        assert asim(*EXPORT, "pipe.pth").error == f"`--to` {NO_FILE}pipe.pth: Permission denied"
