"""Where a callback's files and figures go, and in which epochs a callback acts."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure


def output_folder(trainer: Trainer, folder: str | Path | None = None) -> Path | None:
    """The folder of a run's files; to be called on every process.

    Args:
        trainer: The trainer.
        folder: What the user asked for, which counts before all else.

    Returns:
        That folder, else the logger's, else the one of this configuration's runs, else the trainer's root; None where
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


def show_figure(trainer: Trainer, tag: str, figure: Figure) -> None:
    """Show a figure in TensorBoard at the current step; to be called on the first process."""
    for logger in tensorboard_loggers(trainer):
        logger.experiment.add_figure(tag, figure, trainer.global_step, close=False)


def class_names(trainer: Trainer, num_classes: int) -> list[str]:
    """The data module's names of the classes, else their numbers."""
    names: Any = getattr(getattr(trainer, "datamodule", None), "class_names", None)
    if names is None or len(names) != num_classes:
        return [str(number) for number in range(num_classes)]
    return [str(name) for name in names]


def is_due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Whether this validation is in epoch 0, k, 2k, ... or the last of a fit; always where nothing is fit."""
    if trainer.state.fn != "fit":
        return True
    epochs, steps = trainer.max_epochs, trainer.max_steps
    last = epochs is not None and 0 <= epochs <= trainer.current_epoch + 1
    last = last or 0 <= steps <= trainer.global_step or trainer.should_stop
    return last or trainer.current_epoch % every_n_epochs == 0
