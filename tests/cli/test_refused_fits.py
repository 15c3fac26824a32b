"""What can be known before the first step is refused before it, and the folder is as it was."""

import copy
import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback

from asim_lightning import CimClassifier
from tests.cli.conftest import TINY, Asim, Run
from tests.cli.wrong_inputs import FIT, Wrong, assert_refused, saved

Write = Callable[..., Path]

BEST = TINY["trainer"]["callbacks"][0]


def callback(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": arguments}


NOSUCH = callback("ModelCheckpoint", monitor="val/nosuch", filename="other")
LAST = "runs/tiny/version_0/checkpoints/last.ckpt"
NO_LAST = "`ckpt_path: last` is the newest runs/tiny/version_*/checkpoints/last.ckpt, and there is none; asim fit"


def last(message: str, command: str, content: Any = None) -> Wrong:
    return Wrong((command, *FIT[1:], "--ckpt_path", "last"), message, {} if content is None else {LAST: content})


LASTS = {
    "damaged": last(f"{LAST} is no checkpoint, or a damaged one", "fit", b"abc"),
    "damaged, validated": last(f"{LAST} is no checkpoint, or a damaged one", "validate", b"abc"),
    "weights alone": last(
        f"goes on from the state of an optimizer, which {LAST} lacks; `ckpt_path` with the file's path starts anew",
        "fit",
        saved(lambda checkpoint: {"state_dict": checkpoint["state_dict"]}),
    ),
    **{f"none, {command}": last(NO_LAST, command) for command in ("validate", "predict", "sweep", "explain")},
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wrong", LASTS.values(), ids=LASTS)
def test_rows(wrong: Wrong, asim: Asim, folder: Path, run: Run) -> None:
    assert_refused(wrong, asim, folder, run)


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


def test_what_another_callback_saved_is_kept_where_an_unknown_metric_is_found_late(
    asim: Asim, written: Write, folder: Path
) -> None:
    (folder / "own_logs.py").write_text(OWN)
    path = written(trainer__callbacks=[callback("own_logs.Logs"), BEST, NOSUCH])
    assert "val/nosuch" in asim("fit", "-c", path).error
    assert [each.name for each in folder.rglob("*.ckpt")] == ["best.ckpt"]


@pytest.mark.parametrize("setting", ["limit_val_batches=0", "max_steps=1", "check_val_every_n_epoch=5"])
def test_a_fit_without_validation_says_which_weights_it_kept(
    setting: str, asim: Asim, written: Write, recwarn: pytest.WarningsRecorder
) -> None:
    answer = asim("fit", "-c", written(), f"--trainer.{setting}")
    assert (answer.code, answer.err) == (0, "")
    assert not [each for each in recwarn if "monitored key" in str(each.message)]
    assert f"weights  {LAST}, the last epoch's, as val/acc was not measured\n" in answer.out


@pytest.mark.parametrize("setting", ["max_epochs=0", "limit_train_batches=0", "max_time=00:00:00:00"])
def test_a_fit_of_no_step_says_so(setting: str, asim: Asim, written: Write) -> None:
    answer = asim("fit", "-c", written(), f"--trainer.{setting}")
    assert (answer.code, answer.err) == (0, "")
    said = answer.out.splitlines()[1]
    assert said.startswith("nothing was trained, as ")
    assert setting.partition("=")[0] in said
    assert not Path("runs").exists()


def test_early_stopping_says_that_it_ended_the_fit_and_why(asim: Asim, written: Write) -> None:
    stopping = callback("EarlyStopping", monitor="val/acc", mode="max", stopping_threshold=-1.0)
    answer = asim("fit", "-c", written(trainer__callbacks=[stopping], trainer__max_epochs=3))
    assert "\nstopped  by EarlyStopping in epoch 0: Stopping threshold reached: val/acc = " in answer.out
    assert "EarlyStopping" not in asim("fit", "-c", written()).out


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


def test_the_line_on_the_monitor_tells_of_the_users_own_callback(asim: Asim, written: Write) -> None:
    own = callback("asim_lightning.callbacks.SimulatedAccuracy", images=7, chips=[3])
    path = written(trainer__callbacks=[own], model__train_noise=1.0, model__train_noise_model="macro")
    first = asim("fit", "-c", path, "--trainer.fast_dev_run", "true").out.splitlines()[0]
    assert first.endswith(": up to 7 validation images on chip 3")


def test_a_monitor_that_leaves_out_the_macro_is_said(asim: Asim, written: Write) -> None:
    answer = asim("fit", "-c", written(model__train_noise=1.0, model__train_noise_model="macro"))
    assert answer.out.startswith(
        "monitor  val/acc of ModelCheckpoint is not the accuracy on the macro that is trained "
    )


def test_noise_of_training_without_a_macro_is_said(asim: Asim, written: Write) -> None:
    answer = asim("fit", "-c", written(model__plan={"keep": ["*"]}), "--model.train_noise", "1")
    assert answer.out.startswith("noise    none in training, as no layer is on a macro\nstarts from ")


def test_last_is_the_newest_of_a_recipe_in_every_command(asim: Asim, written: Write, folder: Path) -> None:
    path = written()
    for _ in range(2):
        assert asim("fit", "-c", path).code == 0
    (folder / LAST).touch()
    assert f"weights  {LAST}\n" in asim("validate", "-c", path, "--ckpt_path", "last").out


class Failing(Callback):
    """Fails in a step, as somebody else has written a file where the fit's are."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_optimizer_step(self, trainer: Any, *_: Any) -> None:
        """Fail."""
        if trainer.global_step == self.step:
            Path("made_by_somebody.txt").write_text("mine")
            raise ValueError("failed on purpose")


@pytest.mark.parametrize("logger", [False, {"class_path": "CSVLogger", "init_args": {"save_dir": ".", "version": ""}}])
@pytest.mark.parametrize("step", [0, 1])
def test_what_is_taken_away_after_an_error(step: int, logger: Any, asim: Asim, folder: Path) -> None:
    values = copy.deepcopy(TINY)
    last = callback("asim_lightning.callbacks.LastCheckpoint", every_n_train_steps=1)
    values["trainer"].update(logger=logger, default_root_dir=".")
    if logger:
        values["trainer"]["logger"]["init_args"]["name"] = None
    values["trainer"]["callbacks"] = [last, callback(f"{__name__}.Failing", step=step)]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(values))
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "older.ckpt").write_text("older")
    assert "failed on purpose" in asim(*FIT).error
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    others = {"tiny.yaml", "made_by_somebody.txt", "checkpoints/older.ckpt"}
    assert others <= found
    assert ("checkpoints/last.ckpt" in found) == (step > 0)
    if step == 0:
        assert found == others
