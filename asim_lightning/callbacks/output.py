"""Where a callback's files, figures and charts go, and in which epochs a callback acts."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure

from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.report.tensorboard_curves import Charts


def write_layout(trainer: Trainer) -> None:
    """Write the layout of the custom scalars tab: accuracy against noise, and training loss next to training noise.

    A run has one layout, so every callback writes all of it, with the ``charts`` of the others, when the fit starts.
    """
    if not trainer.is_global_zero:
        return
    accuracy: Charts = {}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        accuracy.update(getattr(callback, "charts", dict)())
    # Tags of a Multiline chart are regular expressions, and "train/loss" alone would find train/loss_epoch too.
    # The loss has a chart of its own too, as noise in percent presses it flat where both share an axis.
    training: Charts = {
        "training loss and noise": ["Multiline", ["train/loss$", "cim/train_noise$"]],
        "training loss": ["Multiline", ["train/loss$"]],
    }
    layout = {**({"Sweep": accuracy} if accuracy else {}), "Training": training}
    for logger in tensorboard_loggers(trainer):
        logger.experiment.add_custom_scalars(layout)


def output_folder(trainer: Trainer, folder: str | Path | None = None) -> Path | None:
    """The folder of a run's files; to be called on every process.

    Returns:
        The given folder, else the logger's, else the one of this configuration's runs, else the trainer's root; None if
        nothing is kept (fast_dev_run, or a logger without files).
    """
    log_dir = trainer.log_dir  # asks the first process, so that all have to get here
    if getattr(trainer, "fast_dev_run", False):
        return None
    if folder is not None:
        return Path(folder)
    if trainer.loggers:
        return Path(log_dir) if log_dir else None
    of_runs = getattr(trainer, "run_folder", None) or log_dir
    return Path(of_runs) if of_runs else None


def tensorboard_loggers(trainer: Trainer) -> list[TensorBoardLogger]:
    """The trainer's loggers that write for TensorBoard."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def show_figure(trainer: Trainer, tag: str, figure: Figure, file: Path | None = None) -> None:
    """Show a figure in TensorBoard at the current step, and write it as PNG; to be called on the first process."""
    for logger in tensorboard_loggers(trainer):
        logger.experiment.add_figure(tag, figure, trainer.global_step, close=False)
    if file is not None:
        write_whole(file, lambda opened: figure.savefig(opened, format="png"))


def log_equal(module: LightningModule, name: str, value: float, logger: bool = True) -> None:
    """Log a value that is equal on every process: their maximum, unlike their mean, keeps its last bit."""
    module.log(name, value, logger=logger, reduce_fx="max", sync_dist=True)


def class_names(trainer: Trainer, num_classes: int) -> list[str]:
    """The data module's names of the classes, else their numbers."""
    names: Any = getattr(getattr(trainer, "datamodule", None), "class_names", None)
    if names is None or len(names) != num_classes:
        return [str(number) for number in range(num_classes)]
    return [str(name) for name in names]


def stage_of(trainer: Trainer) -> str:
    """Which images are evaluated, as in the names of metrics: val or test."""
    return "test" if trainer.testing else "val"


def is_due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Whether this validation is in epoch 0, k, 2k, ... or the last of a fit; always where nothing is fit."""
    if trainer.state.fn != "fit":
        return True
    epochs, steps = trainer.max_epochs, trainer.max_steps
    last = epochs is not None and 0 <= epochs <= trainer.current_epoch + 1
    last = last or 0 <= steps <= trainer.global_step or trainer.should_stop
    return last or trainer.current_epoch % every_n_epochs == 0
