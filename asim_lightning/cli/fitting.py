"""The trainer of `asim fit`: its callbacks and checkpoints, and the point where a stopped fit continues."""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.plugins import CheckpointIO, TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    Checkpoint,
    EarlyStopping,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
)
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from asim_lightning.callbacks import (
    LastCheckpoint,
    NetworkSummary,
    NoiseRamp,
    RangeCalibration,
    SimulatedAccuracy,
)
from asim_lightning.callbacks.own_module import OwnBest, OwnRanges
from asim_lightning.callbacks.simulated_accuracy import accuracy_of_training
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.optimizer import steps_of_an_epoch
from asim_lightning.classifier.outcome import TRAINING_LOSS
from asim_lightning.cli.command_line import shorter_path
from asim_lightning.cli.weights import Start
from asim_lightning.whole_file import write_lines, write_whole

_LAST = LastCheckpoint.NAME
_OURS = ("lightning", "asim_lightning")
"""Packages whose callbacks log known metrics."""
_LOGGED_EVERY = 50
"""Most optimizer steps from one log entry to the next, if `trainer.log_every_n_steps` is not given."""


def start_line(start: Start, trainer: Trainer, initial: str) -> str:
    """The start of a fit, and how to start otherwise."""
    most, steps = trainer.max_epochs, trainer.max_steps
    epoch = f"epoch {start.epoch}" + (f" of {most}" if most is not None and most >= 0 else "")
    if start.path is None:
        return f"starts from {initial} at {epoch}; --ckpt_path FILE starts from a checkpoint"
    path = shorter_path(start.path)
    if not start.resumes:
        return f"starts from the weights of {path} at {epoch}; {start.resumed_by}"
    step = f"step {start.step}" + (f" of {steps}" if steps >= 0 else "")
    return f"resumes at {epoch}, {step}, from {path}; --resume false starts from its weights at epoch 0"


def ended_by(start: Start, trainer: Trainer) -> str:
    """The limit that a resumed fit has reached or passed, such as "max_epochs 2"; empty if there is none."""
    limits = {"max_epochs": (start.epoch, trainer.max_epochs), "max_steps": (start.step, trainer.max_steps)}
    return next(
        (f"{name} {most}" for name, (done, most) in limits.items() if most is not None and 0 <= most <= done), ""
    )


def fit_arguments(
    given: Mapping[str, Any], folder: Path, model: LightningModule, start: Start
) -> tuple[dict[str, Any], list[str]]:
    """Arguments of the trainer of a fit, which logs in a folder and saves the state to continue; lines for the user."""
    callbacks, found = _listed(given.get("callbacks")), dict[str, Any]()
    if isinstance(model, CimClassifier) and any(isinstance(each, LearningRateFinder) for each in callbacks):
        raise ValueError(
            "LearningRateFinder must be left out, because it changes an attribute `lr`, and the learning rate here is "
            "`model.optimizer.lr` with its schedule; compare short fits with several `--model.optimizer.lr`"
        )
    if given.get("enable_model_summary") is not False and not any(isinstance(each, ModelSummary) for each in callbacks):
        callbacks.append(NetworkSummary())
    if not isinstance(model, CimClassifier) and not any(isinstance(each, RangeCalibration) for each in callbacks):
        callbacks.append(OwnRanges())
    if given.get("enable_checkpointing") is not False:
        callbacks, said = with_checkpoints(callbacks, model)
        plugins = _listed(given.get("plugins"))
        writes = any(isinstance(each, CheckpointIO) for each in plugins)
        found["plugins"] = plugins if writes else [*plugins, WholeFiles()]
    else:
        callbacks, said = with_accuracy(callbacks, model, chooses=False)
    _check_monitors(callbacks, model)
    if given.get("logger") in (None, True):
        found["logger"] = _loggers(folder, start)
    logs = given.get("logger") is None or given["logger"]
    if logs and not any(isinstance(each, LearningRateMonitor) for each in callbacks):
        callbacks.append(LearningRateMonitor())
    if given.get("log_every_n_steps") is None:
        found["log_every_n_steps"] = 1  # until the length of an epoch is known
        callbacks.append(LoggingInterval())
    kind = model.hparams.get("train_noise_model")
    if isinstance(model, CimClassifier) and kind in ("macro", "chip") and not _is_noisy(model, callbacks):
        said.append(f"noise    none at the start, because `model.train_noise` is 0 (`train_noise_model` {kind})")
    return {**found, "callbacks": callbacks}, said


def _check_monitors(callbacks: Sequence[Callback], model: LightningModule) -> None:
    """Refuse a metric that nothing logs, which Lightning would find out after the first epoch.

    A user's module or callback may log any name.
    """
    if type(model) is not CimClassifier or any(type(each).__module__.split(".")[0] not in _OURS for each in callbacks):
        return
    among = (int(name.removeprefix("val_top")) for name in model.means if name.startswith("val_top"))
    means = [model.outcome.logged_as("val", model.fidelity == "estimated", k) for k in among]
    names, begin = [*means, "val/loss", SimulatedAccuracy.METRIC, TRAINING_LOSS], ["lr-"]
    begin += [f"{each.prefix}/" for each in callbacks if hasattr(each, "prefix")]  # a NoiseSweep, slow to import
    begin += ["adc_step/", "adc_low/"] if model.hparams["train_adc"] else []
    if any(isinstance(each, NoiseRamp) for each in callbacks):
        names.append(NoiseRamp.METRIC)
    for each in callbacks:
        if not isinstance(each, (EarlyStopping, ModelCheckpoint)) or not getattr(each, "strict", True):
            continue
        if each.monitor is not None and each.monitor not in names and not each.monitor.startswith(tuple(begin)):
            raise ValueError(
                f"`monitor` of {type(each).__name__} must be a logged metric, {', '.join(dict.fromkeys(names))}, got "
                f"{each.monitor!r}"
            )


def _is_noisy(model: CimClassifier, callbacks: Sequence[Callback]) -> bool:
    return model.train_noise > 0 or any(isinstance(each, NoiseRamp) for each in callbacks)


def evaluation_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the trainer of another command, which saves no checkpoints and logs nothing."""
    kept = [each for each in _listed(given.get("callbacks")) if not isinstance(each, Checkpoint)]
    return {"callbacks": kept, "logger": False, "enable_checkpointing": False, "enable_model_summary": False}


def _listed(configured: Any) -> list[Any]:
    """Configured callbacks or plugins, none, one or several."""
    several = isinstance(configured, (list, tuple))
    return list(configured) if several else [] if configured is None else [configured]


def with_accuracy(
    configured: Sequence[Callback], model: LightningModule, chooses: bool
) -> tuple[list[Callback], list[str]]:
    """Callbacks with one that logs the macro's accuracy, if a callback monitors it or if it `chooses` the saved epoch
    of a fit that trains for the macro; lines for the user.

    Such a fit may change the quantised accuracy differently.
    """
    monitored = SimulatedAccuracy.METRIC in (getattr(each, "monitor", None) for each in configured)
    trained, callbacks = None, list(configured)
    if isinstance(model, CimClassifier) and _is_noisy(model, callbacks) and (monitored or chooses):
        trained = accuracy_of_training(model)
    if trained is None and not monitored:
        return callbacks, []
    measuring = next((each for each in callbacks if isinstance(each, SimulatedAccuracy)), None)
    if measuring is None:
        measuring = trained or SimulatedAccuracy()
        callbacks.insert(0, measuring)  # before a callback that restores averaged weights
    why = "a callback monitors it" if trained is None else "the fit trains for the macro"
    return callbacks, [f"monitor  {SimulatedAccuracy.METRIC}, because {why}: {measuring}"]


def with_checkpoints(configured: Sequence[Callback], model: LightningModule) -> tuple[list[Callback], list[str]]:
    """Callbacks of a fit: the configured ones, one that saves the best epoch, and `LastCheckpoint`; lines for the user.

    Lightning's last.ckpt may come before a validation or the end of an epoch, which a resumed fit would skip or repeat.
    """
    keeping = [each for each in configured if isinstance(each, Checkpoint) and not isinstance(each, LastCheckpoint)]
    for each in keeping:
        if isinstance(each, ModelCheckpoint) and (each.save_last or (each.filename, each.dirpath) == (_LAST, None)):
            raise ValueError(
                f"`save_last` and the `filename` {_LAST!r} of {type(each).__name__} must be left out: LastCheckpoint, "
                "whose every_n_train_steps says how often, writes the last.ckpt of every fit"
            )
    callbacks, said = with_accuracy(configured, model, chooses=not keeping)
    if not keeping and isinstance(model, CimClassifier):
        metric = SimulatedAccuracy.METRIC if said else model.outcome.logged_as("val", model.fidelity == "estimated")
        mode = "max" if model.outcome.more_is_better else "min"
        best = {"filename": "best", "monitor": metric, "mode": mode, "save_weights_only": True}
        callbacks.append(ModelCheckpoint(**best, enable_version_counter=False))  # type: ignore[arg-type]
    elif not keeping:
        callbacks.append(OwnBest())
    if not any(isinstance(each, LastCheckpoint) for each in callbacks):
        callbacks.append(LastCheckpoint())
    # its file has the best epoch of the other callbacks, so they come first
    return sorted(callbacks, key=lambda each: isinstance(each, LastCheckpoint)), said


class LoggingInterval(Callback):
    """Logs every 50 steps, as Lightning does by default, or once an epoch or fit if it is shorter."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the interval of the trainer; nothing is logged before."""
        most = [each for each in (trainer.max_steps, steps_of_an_epoch(trainer)) if each > 0]  # -1: any number of steps
        trainer.log_every_n_steps = int(min([_LOGGED_EVERY, *most]))  # type: ignore[attr-defined]


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint next to the old one, and replaces that in one step.

    Lightning moves the file from the folder for temporary files, which may be another filesystem, so a kill may leave
    half a file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save; a missing folder is made."""
        # replace Lightning's link, not the checkpoint that it points to
        write_whole(Path(path), lambda opened: torch.save(checkpoint, opened), follow_link=False)


def weights_line(callbacks: Sequence[Checkpoint]) -> str:
    """The path of a fit's weights: the best epoch's, else the last; empty if none were saved."""
    ordered = sorted(callbacks, key=lambda each: isinstance(each, LastCheckpoint))
    paths = [path for each in ordered if isinstance(each, ModelCheckpoint) and (path := each.best_model_path)]
    # if the run continues, the file may be in another folder
    return next((shorter_path(path) for path in paths if Path(path).exists()), "")


def _rows_before(file: Path, step: int) -> tuple[list[str], list[list[str]]]:
    """Names and rows of a metrics.csv before a step; no names if it has no header. Broken rows are left out."""
    text = file.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    whole = text[: text.rfind("\n") + 1]  # a kill may cut the last line within a number
    names, *rows = [*csv.reader(whole.splitlines())] or [[]]
    if "step" not in names:
        return [], []
    return names, [row for row in rows if len(row) == len(names) and _step_of(row[names.index("step")]) < step]


def _step_of(text: str) -> float:
    with suppress(ValueError):
        return float(text)  # a module may log a step of its own, such as 4.0
    return math.inf


class ContinuedCSV(CSVLogger):
    """Goes on in the metrics.csv of a stopped run, whose rows from a step on are left out, because they come again.

    Lightning's logger removes the file when it logs first. Until the kept rows are written, they are in
    metrics.csv.before, so that a kill loses none.

    Args:
        root: Folder of all runs.
        name: Folder of this configuration's runs.
        version: The run, as in TensorBoardLogger.
        step: The first step that the fit logs.
    """

    def __init__(self, root: str, name: str, version: int | str, step: int) -> None:
        super().__init__(root, name, version)
        self._continues_at: int | None = step

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Lightning's writer, which appends to the kept rows."""
        step, self._continues_at = self._continues_at, None
        if step is None:
            return super().experiment
        file, before = (Path(self.log_dir, f"metrics.csv{ending}") for ending in ("", ".before"))
        if file.exists() and not before.exists():
            file.rename(before)
        writer = super().experiment
        if before.exists():
            names, rows = _rows_before(before, step)
            if names:
                writer.metrics_keys = names
                write_lines(file, [names, *rows])
            before.unlink()
        return writer


def _loggers(folder: Path, start: Start) -> list[Logger]:
    """TensorBoard and CSV loggers of a run in ``folder/version_N``: a new one, or one that continues after a step."""
    root, name = str(folder.parent), folder.name
    if start.continued is None:
        tensorboard = TensorBoardLogger(root, name, default_hp_metric=False)
        return [tensorboard, CSVLogger(root, name, tensorboard.version)]
    run = start.continued.parent.parent.name
    # the bar shows a number whole, and the end of a text
    version = int(run.partition("_")[2]) if re.fullmatch(r"version_(0|[1-9]\d*)", run) else run
    # charts leave out logs of the stopped run after the step
    tensorboard = TensorBoardLogger(root, name, version, default_hp_metric=False, purge_step=start.logged_from)
    return [tensorboard, ContinuedCSV(root, name, version, start.logged_from)]
