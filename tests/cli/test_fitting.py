"""What a fit prints and keeps; `--ckpt_path last` goes on in the folder of the run that was stopped."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from asim_lightning.callbacks import LastCheckpoint, SimulatedAccuracy
from asim_lightning.cli.fitting import ContinuedCSV, LoggingInterval, fit_arguments, with_checkpoints
from asim_lightning.cli.weights import Start
from tests.callbacks.conftest import read_events
from tests.classifier.conftest import make_model
from tests.cli.conftest import Asim, Run, Write, last_of, write_config
from tests.conftest import rows_of
from tests.data.published_layouts import plain, write_class_folders

METRICS = "runs/tiny/version_0/metrics.csv"


def callback(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": arguments}


@pytest.mark.parametrize(
    ("arguments", "folders"),
    [
        (("--trainer.default_root_dir", "elsewhere"), ["elsewhere"]),
        (("--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", "boards"), ["boards"]),
    ],
)
def test_charts_are_announced_if_there_are_some(
    arguments: tuple[str, ...], folders: list[str], asim: Asim, written: Write
) -> None:
    answer = asim("fit", "-c", written("small.yaml"), *arguments)
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


def test_a_short_epoch_is_logged_and_a_longer_interval_of_the_users_warns(
    asim: Asim, written: Write, recwarn: pytest.WarningsRecorder
) -> None:
    path = written(trainer__log_every_n_steps=None, trainer__limit_train_batches=5)
    ramp = ("--trainer.callbacks+=NoiseRamp", "--trainer.callbacks.end", "1", "--data.init_args.batch_size", "10")
    assert asim("fit", "-c", path, *ramp).code == 0
    logged = {"train/loss", "cim/train_noise", "lr-SGD", "val/acc"}
    steps = {name: [row["step"] for row in rows_of(METRICS) if row.get(name)] for name in logged}
    assert steps == {name: ["4"] for name in logged} | {"lr-SGD": ["0"]}  # a multistep schedule advances at epochs
    assert {each.step for each in read_events(Path(METRICS).parent).Scalars("train/loss")} == {4}
    warned = [str(each.message) for each in recwarn]
    assert asim("fit", "-c", path, *ramp, "--trainer.log_every_n_steps", "6").code == 0
    more = [str(each.message) for each in recwarn][len(warned) :]
    assert [any("log_every_n_steps=" in text for text in texts) for texts in (warned, more)] == [False, True]


@pytest.mark.parametrize(
    ("batches", "most", "wanted"), [(20, -1, 20), (120, -1, 50), (20, 7, 7), (float("inf"), -1, 50)]
)
def test_the_interval_of_logs_fits_an_epoch_and_the_fit(batches: float, most: int, wanted: int) -> None:
    trainer = SimpleNamespace(
        num_training_batches=batches, accumulate_grad_batches=1, max_steps=most, log_every_n_steps=1
    )
    LoggingInterval().on_train_start(trainer, make_model())  # type: ignore[arg-type]
    assert trainer.log_every_n_steps == wanted


def test_a_fit_without_validation_says_which_weights_it_kept(
    asim: Asim, written: Write, recwarn: pytest.WarningsRecorder
) -> None:
    answer = asim("fit", "-c", written(), "--trainer.limit_val_batches=0")
    assert (answer.code, answer.err) == (0, "")
    assert [each for each in recwarn if "could not find the monitored key" in str(each.message)]
    assert "weights  runs/tiny/version_0/checkpoints/last.ckpt\n" in answer.out


class Logs(Callback):
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("mine/score", 0.5)


def test_metrics_of_the_users_callbacks_are_monitored_and_end_a_fit(asim: Asim, written: Write) -> None:
    monitored = callback("ModelCheckpoint", monitor="mine/score", filename="best", mode="max")
    stopping = callback("EarlyStopping", monitor="mine/score", mode="max", stopping_threshold=0.1)
    path = written(trainer__callbacks=[callback(f"{__name__}.Logs"), monitored, stopping], trainer__max_epochs=3)
    answer = asim("fit", "-c", path)
    assert (answer.code, answer.err) == (0, "")
    assert "weights  runs/tiny/version_0/checkpoints/best.ckpt\n" in answer.out
    assert "\nstopped  by EarlyStopping in epoch 0: Stopping threshold reached: mine/score = 0.5" in answer.out


@pytest.mark.parametrize("kind", ["EarlyStopping", "ModelCheckpoint"])
def test_a_metric_that_nothing_logs_is_refused_before_a_fit(kind: str, asim: Asim, written: Write) -> None:
    error = asim("fit", "-c", written(trainer__callbacks=[callback(kind, monitor="val/accuracy")])).error
    assert error.startswith(f"`monitor` of {kind} must be a logged metric, val/acc, ")
    assert error.endswith("got 'val/accuracy'")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("monitor", "others"),
    [
        ("cim/train_noise", [callback("NoiseRamp", end=1.0)]),
        ("noise/acc_mean", [callback("NoiseSweep", levels=[0, 0.1])]),
        ("val/loss", []),
        ("val/acc5", []),
        ("train/loss", []),
        ("lr-SGD", []),
    ],
)
def test_every_metric_that_is_logged_may_be_monitored(
    monitor: str, others: list[dict[str, Any]], asim: Asim, written: Write
) -> None:
    callbacks = [*others, callback("EarlyStopping", monitor=monitor)]
    answer = asim("fit", "-c", written(trainer__callbacks=callbacks))
    assert (answer.code, answer.err) == (0, "")


def test_a_fit_for_the_macro_says_what_it_monitors_and_a_fast_run_leaves_nothing(asim: Asim, written: Write) -> None:
    path = written(model__train_noise=1.0, model__train_noise_model="macro", trainer__callbacks=[])
    first = asim("fit", "-c", path, "--trainer.fast_dev_run", "true").out.splitlines()[0]
    assert first.startswith("monitor  val/acc_simulated, because the fit trains for the macro: up to 200")
    assert not Path("runs").exists()


@pytest.mark.parametrize("fidelity", ["float", "quantized", "estimated", "simulated"])
def test_the_accuracy_of_the_macro_is_monitored_in_every_fidelity(fidelity: str, asim: Asim, written: Write) -> None:
    named = {"monitor": SimulatedAccuracy.METRIC, "mode": "max"}
    callbacks = [callback("ModelCheckpoint", filename="best", **named), callback("EarlyStopping", **named)]
    path = written(trainer__callbacks=callbacks, model__fidelity=fidelity, model__calibration_images=10)
    assert "monitor  val/acc_simulated, because a callback monitors it" in asim("fit", "-c", path).out
    (measured,) = [row[SimulatedAccuracy.METRIC] for row in rows_of(METRICS) if row["val/loss"]]
    saved = torch.load(last_of(Path.cwd()), weights_only=True)["callbacks"]
    (best,) = [state["best_model_score"] for key, state in saved.items() if key.startswith("ModelCheckpoint")]
    assert float(best) == pytest.approx(float(measured))


def test_a_learning_rate_finder_is_refused(asim: Asim, written: Write) -> None:
    error = asim("fit", "-c", written(trainer__callbacks=[callback("LearningRateFinder")])).error
    assert error.startswith("LearningRateFinder must be left out, because ")


@pytest.mark.process
def test_a_corrupt_picture_that_a_worker_reads_is_named(asim: Asim, written: Write, folder: Path) -> None:
    for half in ("train", "val"):
        write_class_folders(folder / "pictures" / half, plain([0, 0], [0, 1], (40, 40)), ["cat", "dog"])
    broken = folder / "pictures" / "train" / "cat" / "00000000.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    data = {"root": str(folder / "pictures"), "batch_size": 2, "eval_batch_size": 2, "image_size": 28, "num_workers": 1}
    path = written(
        data={"class_path": "ImageFolder", "init_args": data}, model__num_classes=2,
        model__backbone__kwargs={"in_chans": 3, "stem_width": 4, "channels": [8, 16, 32, 64]},
    )  # fmt: skip
    error = asim("fit", "-c", path).error
    assert error.startswith(f"{broken} must be a whole image, but is corrupt or of another format")


# going on


def test_last_goes_on_in_the_same_folder_and_keeps_the_metrics(asim: Asim, images: Path, folder: Path) -> None:
    path = write_config(folder, images)
    assert asim("fit", "-c", path, "--trainer.max_epochs", "1").code == 0
    version = folder / "runs" / "tiny" / "version_0"
    before = (version / "metrics.csv").read_text()
    refused = ("fit", "-c", path, "--ckpt_path", "last", "--trainer.max_epochs", "2", "--data.init_args.root", "nosuch")
    assert "The Fashion-MNIST folder nosuch" in asim(*refused).error
    assert (version / "metrics.csv").read_text() == before
    # a part of the ramp, which counts epochs of the whole training
    more = ("--trainer.max_epochs", "2", "--model.optimizer.lr", "0.002")
    answer = asim("fit", "-c", path, "--ckpt_path", "last", *more)
    assert "resumes at epoch 1 of 2, step 4, from runs/tiny/version_0/checkpoints/last.ckpt; " in answer.out
    assert "run      runs/tiny/version_0\nnumbers  runs/tiny/version_0/metrics.csv\n" in answer.out
    assert [each.name for each in (folder / "runs" / "tiny").iterdir()] == ["version_0"]
    rows = rows_of(version / "metrics.csv")
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(steps)
    assert [row["step"] for row in rows if row["val/acc"]] == ["3", "7"]
    state = torch.load(last_of(folder), weights_only=True)
    assert state["global_step"] == 8
    assert state["optimizer_states"][0]["param_groups"][0]["initial_lr"] == 0.002


@pytest.mark.parametrize("killed", [False, True])
def test_a_continued_file_leaves_out_rows_that_come_again_and_survives_a_kill(killed: bool, folder: Path) -> None:
    first = CSVLogger(str(folder), "tiny", 3)
    for step in range(6):
        first.log_metrics({"train/loss": step / 2}, step)
    first.save()
    file = folder / "tiny" / "version_3" / "metrics.csv"
    if killed:  # between the two writes of the next fit
        file.rename(file.with_name("metrics.csv.before"))
        file.write_text("step\r\n")
    start = Start(continued=folder / "tiny" / "version_3" / "checkpoints" / "last.ckpt", logged_from=4)
    loggers = fit_arguments({}, folder / "tiny", make_model(), start)[0]["logger"]
    assert [each.version for each in loggers] == [3, 3]  # the bar shows the last four letters of a text
    loggers[1].log_metrics({"train/loss": 9.0, "val/acc": 0.5}, 4)
    loggers[1].save()
    found = [(row["step"], row["train/loss"], row["val/acc"]) for row in rows_of(file)]
    assert found == [("0", "0.0", ""), ("1", "0.5", ""), ("2", "1.0", ""), ("3", "1.5", ""), ("4", "9.0", "0.5")]
    assert [path.name for path in file.parent.glob("metrics*")] == ["metrics.csv"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("epoch,step,train/loss\n0,4,1.0\n0,9,0.5\n1", ["4", "9"]),
        ("epoch,step,train/loss\n0,4,1.0\n0,9,0.5\n1,14\n", ["4", "9"]),  # 14 comes again, and lacks a field
        ("epoch,step,train/loss\n0,4,1.0\n0,9,0.51", ["4"]),  # cut within a number
        ("epoch,step,train/loss\n0,4.0,1.0\n,,0.5\n0,x,0.5\n", ["4.0"]),
        ("epoch,step,train/loss\n0,4,1.0\n\0\0\0\0", ["4"]),
        ("0,4,1.0\n", []),
        ("", []),
    ],
)
def test_a_damaged_file_of_metrics_goes_on_with_its_whole_rows(text: str, kept: list[str], folder: Path) -> None:
    file = folder / "tiny" / "version_0" / "metrics.csv"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    logger = ContinuedCSV(str(folder), "tiny", 0, 10)
    logger.log_metrics({"val/acc": 0.5}, 10)
    logger.save()
    assert [row["step"] for row in rows_of(file)] == [*kept, "10"]
    assert rows_of(file)[-1]["val/acc"] == "0.5"


def test_last_is_the_newest_of_all_versions_and_a_finished_fit_has_nothing_left_to_do(
    asim: Asim, written: Write, run: Run, folder: Path
) -> None:
    path = written()
    Path("sub").mkdir()
    by_recipe = written("sub/tiny.yaml", trainer__default_root_dir="there")
    others = ("--trainer.default_root_dir", "others")
    for command, root, flags in (("fit", "there", ()), ("validate", "others", others)):
        error = asim(command, "-c", by_recipe, "--ckpt_path", "last", *flags).error
        assert error.startswith(f"`ckpt_path: last` is the newest {root}/tiny/version_*/checkpoints/last.ckpt, and ")
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
    assert answer.last.startswith("nothing is trained, because `trainer.max_epochs 1` is reached")
    assert last_of(folder).read_bytes() == before
    (folder / "runs").rename(folder / "moved")
    checkpoint = ("--ckpt_path", f"moved/{last.removeprefix('runs/')}", "--trainer.max_epochs", "9")
    answer = asim("fit", "-c", path, *checkpoint, "--trainer.max_steps", "2")
    assert "`trainer.max_steps 2` is reached" in answer.last
    assert not (folder / "runs").exists()


def test_a_checkpoint_that_has_its_epochs_trains_nothing_or_starts_anew(asim: Asim, run: Run, folder: Path) -> None:
    resumes = ("fit", "-c", run.config, "--ckpt_path", run.checkpoint)
    answer = asim(*resumes, "--trainer.max_epochs", "0")
    assert (answer.code, "`trainer.max_epochs 0` is reached" in answer.last) == (0, True)
    answer = asim(*resumes, "--resume", "false")
    assert answer.out.startswith(f"starts from the weights of {run.checkpoint} at epoch 0 of 1; `--resume true` ")
    (last,) = folder.glob("runs/*/version_*/checkpoints/last.ckpt")
    assert torch.load(last, weights_only=True)["global_step"] == 2


# callbacks of the user's own


def test_a_fit_whose_ranges_of_adcs_begin_or_end_to_be_trained_starts_anew(asim: Asim, run: Run, folder: Path) -> None:
    of_chip = ("--model.train_adc", "true", "--model.train_noise_model", "chip")
    answer = asim("fit", "-c", run.config, "--ckpt_path", run.checkpoint, *of_chip)
    assert f"starts from the weights of {run.checkpoint} at epoch 0 of 1; `--model.train_adc false` " in answer.out
    assert answer.code == 0


def test_callbacks_of_a_fit_hold_one_that_saves_last() -> None:
    model, names = make_model(), {"monitor": "val/acc", "mode": "max"}
    mine, own = ModelCheckpoint(filename="best", **names), LastCheckpoint(5)
    assert with_checkpoints([own, mine], model)[0] == [mine, own]
    *others, last = with_checkpoints([mine], model)[0]
    assert others == [mine]
    assert isinstance(last, LastCheckpoint)
    assert last.every_n_steps is None
    noisy = make_model(train_noise=1.0, train_noise_model="macro")
    for made, lines in (noisy, 0), (make_model(train_noise_model="macro"), 1):
        _, said = fit_arguments({"enable_checkpointing": False}, Path("x"), made, Start())
        assert sum(each.startswith("noise    none at the start") for each in said) == lines
    measuring, best, _ = with_checkpoints([], noisy)[0]
    assert isinstance(measuring, SimulatedAccuracy)
    given, said = with_checkpoints([SimulatedAccuracy(images=7, chips=[3])], noisy)
    assert said[0].endswith(": up to 7 validation images on chip 3")
    assert sum(isinstance(each, SimulatedAccuracy) for each in given) == 1
    assert isinstance(best, ModelCheckpoint)
    assert (best.monitor, best.mode) == (measuring.METRIC, "max")
    for wrong in ({"filename": "last"}, {"save_last": True}, {"save_last": "link"}):
        with pytest.raises(ValueError, match="of ModelCheckpoint must be left out: LastCheckpoint, "):
            with_checkpoints([ModelCheckpoint(**wrong, **names)], model)
    assert with_checkpoints([ModelCheckpoint("elsewhere", "last")], model)
