"""What a fit prints: where it starts, what it monitors, what it kept and why it ended."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from asim_lightning import CimClassifier
from tests.cli.conftest import Asim, Write

LAST = "runs/tiny/version_0/checkpoints/last.ckpt"


def callback(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": arguments}


@pytest.mark.parametrize(
    ("arguments", "folders"),
    [
        (("--trainer.default_root_dir", "elsewhere"), ["elsewhere"]),
        (("--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", "boards"), ["boards"]),
        (("--trainer.logger", "false"), []),
    ],
)
def test_charts_are_announced_if_there_are_some(
    arguments: tuple[str, ...], folders: list[str], asim: Asim, written: Write
) -> None:
    answer = asim("fit", "-c", written("small.yaml"), *arguments)
    assert answer.code == 0, answer.err
    assert [line.split()[-1] for line in answer.out.splitlines() if line.startswith("charts")] == folders
    assert all(list(Path(folder).rglob("events.out.*")) for folder in folders)
    assert Path("elsewhere/small/version_0/checkpoints/best.ckpt").is_file() == (folders == ["elsewhere"])


def summary(out: str) -> tuple[list[str], list[list[str]]]:
    """Words of the header and of each row of a fit's table of its network."""
    lines = [line.split() for line in out.splitlines()]
    first = next(number for number, words in enumerate(lines) if words[:2] == ["Name", "Type"])
    last = next(number for number, words in enumerate(lines) if words[1:2] == ["parameters"])
    return lines[first], lines[first + 2 : last]


def test_the_summary_has_macs_for_flops_and_goes_as_deep_as_asked(asim: Asim, written: Write) -> None:
    path = written(trainer__enable_model_summary=True)
    answer = asim("fit", "-c", path)
    assert answer.code == 0
    header, (row,) = summary(answer.out)
    assert header == ["Name", "Type", "Params", "Mode", "MACs"]
    assert row[1] == "backbone"  # metrics have no parameters
    macs = row[-1]
    assert int(macs.replace(",", "")) > 10**6
    assert f"14 of 15 layers on a macro, 99.4 % of {macs} MACs a sample" in answer.out
    answer = asim("fit", "-c", path, "--trainer.callbacks+=NetworkSummary", "--trainer.callbacks.max_depth", "2")
    counts = {row[1]: int(row[-1].replace(",", "")) for row in summary(answer.out)[1]}
    assert counts["backbone"] == sum(count for name, count in counts.items() if name != "backbone")
    assert counts["backbone.fc"] == 640


OWN = """from lightning.pytorch import Callback


class Logs(Callback):
    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log("mine/score", 0.5)
"""


def test_a_metric_of_a_callback_of_the_users_own(asim: Asim, written: Write, folder: Path) -> None:
    (folder / "own_logs.py").write_text(OWN)
    monitored = callback("ModelCheckpoint", monitor="mine/score", filename="best", mode="max")
    answer = asim("fit", "-c", written(trainer__callbacks=[callback("own_logs.Logs"), monitored]))
    assert (answer.code, answer.err) == (0, "")
    assert "weights  runs/tiny/version_0/checkpoints/best.ckpt\n" in answer.out


def test_a_fit_without_validation_says_which_weights_it_kept(
    asim: Asim, written: Write, recwarn: pytest.WarningsRecorder
) -> None:
    answer = asim("fit", "-c", written(), "--trainer.limit_val_batches=0")
    assert (answer.code, answer.err) == (0, "")
    assert not [each for each in recwarn if "monitored key" in str(each.message)]
    assert f"weights  {LAST}, the last epoch's, as val/acc was not measured\n" in answer.out


def test_a_fit_of_no_step_says_so(asim: Asim, written: Write) -> None:
    answer = asim("fit", "-c", written(), "--trainer.max_time=00:00:00:00")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[1].startswith(
        "nothing was trained, as `trainer.max_epochs`, `max_steps`, `max_time`"
    )


def test_early_stopping_says_that_it_ended_the_fit_and_why(asim: Asim, written: Write) -> None:
    stopping = callback("EarlyStopping", monitor="val/acc", mode="max", stopping_threshold=-1.0)
    answer = asim("fit", "-c", written(trainer__callbacks=[stopping], trainer__max_epochs=3))
    assert "\nstopped  by EarlyStopping in epoch 0: Stopping threshold reached: val/acc = " in answer.out


def test_a_fit_for_a_chip_keeps_the_epoch_that_is_best_on_it(
    asim: Asim, written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the quantised accuracy falls, and the one on the chip rises."""
    quantized, on_chip = [0.75, 0.25], iter([0.25, 0.75])

    def validation_step(model: CimClassifier, *_: Any) -> None:
        model.log("val/acc", quantized[model.current_epoch], batch_size=1)

    monkeypatch.setattr(CimClassifier, "validation_step", validation_step)
    monkeypatch.setattr(
        "asim_lightning.callbacks.simulated_accuracy.result_of", lambda *_: SimpleNamespace(accuracy=next(on_chip))
    )
    path = written(
        trainer__callbacks=[], model__train_noise=1.0, model__train_noise_model="chip", trainer__max_epochs=2
    )
    lines = asim("fit", "-c", path, "--model.plan.macro.static.offset", "1 lsb").out.splitlines()
    assert lines[0] == "monitor  val/acc_simulated, as the fit trains for the macro: up to 200 validation images"
    with open("runs/tiny/version_0/metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["val/acc_simulated"]]
    logged = [[float(row[name]) for row in rows] for name in ("val/acc", "val/acc_simulated")]
    assert logged == [[0.75, 0.25], [0.25, 0.75]]
    best = torch.load("runs/tiny/version_0/checkpoints/best.ckpt", weights_only=True)
    assert best["epoch"] == 1


SIMULATED = callback("asim_lightning.callbacks.SimulatedAccuracy", images=7, chips=[3])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trainer__callbacks": [SIMULATED]}, ": up to 7 validation images on chip 3"),
        ({}, "val/acc of ModelCheckpoint is not the accuracy on the macro that is trained for; `monitor: val/acc_sim"),
        ({"model__plan": {"keep": ["*"]}}, "noise    none in training, as no layer is on a macro"),
    ],
    ids=["the user's callback", "another metric", "no macro"],
)
def test_what_is_said_of_noise_and_the_monitor(changes: dict[str, Any], said: str, asim: Asim, written: Write) -> None:
    path = written(model__train_noise=1.0, model__train_noise_model="macro", **changes)
    assert said in asim("fit", "-c", path, "--trainer.fast_dev_run", "true").out.splitlines()[0]


def test_a_measured_column_has_read_noise(asim: Asim, written: Write) -> None:
    measured = {"column": "measured", "column_args": {"file": "measured_chip.csv"}}
    noise = ("--model.train_noise", "1", "--model.train_noise_model", "chip")
    path = written(model__plan__macro=measured, model__train_noise_args={"read_noise": False})
    error = asim("fit", "-c", path, *noise).error
    assert "`train_noise_args.read_noise` must be true with a column that has noise of its own, got false" in error


def test_a_corrupt_picture_that_a_worker_reads_is_named(asim: Asim, written: Write, folder: Path) -> None:
    for half in ("train", "val"):
        for name in ("cat", "dog"):
            path = folder / "pictures" / half / name / "0.jpg"
            path.parent.mkdir(parents=True)
            Image.fromarray(numpy.zeros((40, 40, 3), dtype=numpy.uint8)).save(path)
    broken = folder / "pictures" / "train" / "cat" / "0.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    data = {"root": str(folder / "pictures"), "batch_size": 2, "eval_batch_size": 2, "image_size": 28, "num_workers": 1}
    path = written(
        data={"class_path": "ImageFolder", "init_args": data}, model__num_classes=2,
        model__backbone__kwargs={"in_chans": 3, "stem_width": 4, "channels": [8, 16, 32, 64]},
    )  # fmt: skip
    error = asim("fit", "-c", path).error
    assert error.startswith(f"{broken} must be a whole image, but is corrupt or of another format")
