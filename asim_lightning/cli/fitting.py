"""The trainer of `asim fit`: its callbacks and checkpoints, and the point where a stopped fit continues."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO, TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, ModelSummary
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from asim_lightning.callbacks import LastCheckpoint, NetworkSummary, NoiseRamp, SimulatedAccuracy
from asim_lightning.callbacks.simulated_accuracy import accuracy_of_training
from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.command_line import shorter_path
from asim_lightning.cli.start import Start
from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.lightning_private import steps_between_saves


def start_line(start: Start, trainer: Trainer, initial: str) -> str:
    """The start of a fit, and how to start otherwise; refuses a checkpoint with more epochs than the trainer allows."""
    most, steps = trainer.max_epochs, trainer.max_steps
    epoch = f"epoch {start.epoch}" + (f" of {most}" if most is not None and most >= 0 else "")
    if start.path is None:
        return f"starts from {initial} weights at {epoch}; --ckpt_path FILE starts from a checkpoint"
    path = shorter_path(start.path)
    if start.resumes:
        if most is not None and 0 <= most < start.epoch:
            raise ValueError(
                f"`trainer.max_epochs` must be {start.epoch} or more to resume {path}, got {most}; --resume false "
                "starts from its weights at epoch 0"
            )
        step = f"step {start.step}" + (f" of {steps}" if steps >= 0 else "")
        return f"resumes at {epoch}, {step}, from {path}; --resume false starts from its weights at epoch 0"
    return f"starts from the weights of {path} at {epoch}; {start.resumed_by}"


def fit_arguments(
    given: Mapping[str, Any], folder: Path, model: LightningModule, continued: Path | None, step: int
) -> tuple[dict[str, Any], list[str]]:
    """Arguments of the trainer of a fit, which logs in a folder and saves the state to continue; lines for the user.

    For a fit that continues after a step, `continued` names its last.ckpt.
    """
    callbacks, said, found = _listed(given.get("callbacks")), list[str](), dict[str, Any]()
    if given.get("enable_model_summary") is not False and not any(isinstance(each, ModelSummary) for each in callbacks):
        callbacks.append(NetworkSummary())
    if given.get("enable_checkpointing") is not False:
        if isinstance(model, CimClassifier):
            callbacks, said = with_checkpoints(callbacks, model)
        elif not any(isinstance(each, LastCheckpoint) for each in callbacks):
            callbacks.append(LastCheckpoint())
        plugins = _listed(given.get("plugins"))
        writes = any(isinstance(each, CheckpointIO) for each in plugins)
        found["plugins"] = plugins if writes else [*plugins, WholeFiles()]
    if given.get("logger") in (None, True):
        found["logger"] = _loggers(folder, continued, step)
    return {**found, "callbacks": callbacks}, said


def evaluation_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the trainer of another command, which saves no checkpoints and logs nothing."""
    kept = [each for each in _listed(given.get("callbacks")) if not isinstance(each, Checkpoint)]
    return {"callbacks": kept, "logger": False, "enable_checkpointing": False, "enable_model_summary": False}


def _listed(configured: Any) -> list[Any]:
    """Configured callbacks or plugins, none, one or several."""
    several = isinstance(configured, (list, tuple))
    return list(configured) if several else [] if configured is None else [configured]


def with_checkpoints(configured: Sequence[Callback], model: CimClassifier) -> tuple[list[Callback], list[str]]:
    """Callbacks of a fit: the configured ones, one that saves the best epoch, and `LastCheckpoint`; lines for the user.

    Training for a macro or chip may change the quantised accuracy differently, so the macro's accuracy is measured.
    Lightning's last.ckpt may come before a validation or the end of an epoch, which a resumed fit would skip or repeat.
    `LastCheckpoint` replaces it, as often as `save_last` asks for.
    """
    callbacks, said = list(configured), list[str]()
    keeping = [each for each in callbacks if isinstance(each, Checkpoint) and not isinstance(each, LastCheckpoint)]
    steps = [_take_over_last(each, said) for each in keeping if isinstance(each, ModelCheckpoint)]
    metric = model.outcome.logged_as("val", model.fidelity == "estimated")
    monitors = {getattr(each, "monitor", None): type(each).__name__ for each in callbacks}
    measuring = accuracy_of_training(model) if trains_with_noise(model, callbacks) else None
    if measuring is not None and keeping and SimulatedAccuracy.METRIC not in monitors:
        wrong = " and ".join(f"{name} of {kind}" for name, kind in monitors.items() if name in model.logged)
        advice = f"is not the accuracy on the macro that is trained for; `monitor: {SimulatedAccuracy.METRIC}` is"
        said += [f"monitor  {wrong} {advice}"] if wrong else []
    elif measuring is not None:
        installed = next((each for each in callbacks if isinstance(each, SimulatedAccuracy)), None)
        if installed is None:
            callbacks.insert(0, measuring)  # before a callback that restores averaged weights
        metric = SimulatedAccuracy.METRIC
        said.append(f"monitor  {metric}, because the fit trains for the macro: {installed or measuring}")
    if not keeping:
        mode = "max" if model.outcome.more_is_better else "min"
        best = {"filename": "best", "monitor": metric, "mode": mode, "save_weights_only": True}
        callbacks.append(ModelCheckpoint(**best, enable_version_counter=False))  # type: ignore[arg-type]
    if not any(isinstance(each, LastCheckpoint) for each in callbacks):
        callbacks.append(LastCheckpoint(min(filter(None, steps), default=None)))
    # its file has the best epoch of the other callbacks, so they come first
    return sorted(callbacks, key=lambda each: isinstance(each, LastCheckpoint)), said


def trains_with_noise(model: CimClassifier, callbacks: Sequence[Callback]) -> bool:
    """Whether training noise is asked for."""
    return model.train_noise > 0 or any(isinstance(each, NoiseRamp) for each in callbacks)


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint next to the old one, and replaces that in one step.

    Lightning moves the file from the folder for temporary files, which may be another filesystem, so a kill may leave
    half a file. Lightning also removes whatever a checkpoint names, even whole folders.
    """

    def __init__(self) -> None:
        super().__init__()
        self._folders: set[Path] = set()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save; a missing folder is made."""
        self._folders.add(Path(path).resolve().parent)
        # replace Lightning's link, not the checkpoint that it points to
        write_whole(Path(path), lambda opened: torch.save(checkpoint, opened), follow_link=False)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint inside a folder to which this run saved; leave anything else."""
        file = Path(path)
        ours = bool(self._folders & set(file.resolve().parents))
        if ours and file.suffix == ModelCheckpoint.FILE_EXTENSION and file.is_file():
            file.unlink()


def weights_line(callbacks: Sequence[Checkpoint]) -> str:
    """The path of a fit's weights: the best epoch's, else the last; empty if none were saved."""
    kept = [each for each in callbacks if isinstance(each, ModelCheckpoint) and each.best_model_path]
    best, last = (
        next((each.best_model_path for each in kept if isinstance(each, LastCheckpoint) == is_last), "")
        for is_last in (False, True)
    )
    if best and Path(best).exists():  # if the run continues, the file may be in another folder
        return shorter_path(best)
    monitors = (each.monitor for each in callbacks if isinstance(each, ModelCheckpoint) and each.save_top_k)
    monitor = None if best else next((each for each in monitors if each), None)
    reason = f", the last epoch's, because {monitor} was not measured" if monitor else ""
    return f"{shorter_path(last)}{reason}" if last else ""


def _loggers(folder: Path, continued: Path | None, step: int) -> list[Logger]:
    """TensorBoard and CSV loggers of a run in ``folder/version_N``: a new one, or one that continues after a step."""
    root, name, more = str(folder.parent), folder.name, dict[str, Any]()
    if continued is not None:
        _keep_metrics(continued.parent.parent, step)
        # charts leave out logs of the stopped run after the step
        more = {"version": continued.parent.parent.name, "purge_step": step}
    tensorboard = TensorBoardLogger(root, name, default_hp_metric=False, **more)
    return [tensorboard, CSVLogger(root, name, tensorboard.version)]


@rank_zero_only
def _keep_metrics(folder: Path, step: int) -> None:
    # a CSVLogger removes an old file of the same name
    metrics = folder / "metrics.csv"
    if metrics.exists():
        names = (f"metrics_until_step_{step}{again}.csv" for again in ("", *(f"_{n}" for n in range(1, 1000))))
        metrics.rename(next(path for name in names if not (path := folder / name).exists()))


@rank_zero_only
def put_back_metrics(folder: Path) -> None:
    """Rename the numbers of a run to metrics.csv again if the continued fit added none."""
    kept = sorted(folder.glob("metrics_until_step_*.csv"), key=lambda path: path.stat().st_mtime_ns)
    if kept and not (folder / "metrics.csv").exists():
        kept[-1].rename(folder / "metrics.csv")


def _take_over_last(callback: ModelCheckpoint, said: list[str]) -> int:
    """Steps between two saves of a last.ckpt that `LastCheckpoint` writes instead of a callback; 0 if unknown."""
    name, last = type(callback).__name__, LastCheckpoint.NAME
    if callback.filename == last and callback.dirpath is None:
        raise ValueError(
            f"`filename` of {name} must not be {last!r}: {last}.ckpt is LastCheckpoint's, which every fit writes"
        )
    if not callback.save_last:
        return 0
    callback.save_last = None
    said.append(f"{last}.ckpt is written by LastCheckpoint, so a fit can continue, instead of `save_last` of {name}")
    return steps_between_saves(callback)
