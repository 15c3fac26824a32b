"""Folders, figures and charts of callbacks, and the epochs in which callbacks act."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from asim_lightning.whole_file import write_whole

if TYPE_CHECKING:  # callbacks that draw import them
    from matplotlib.figure import Figure

    from asim_lightning.report.tensorboard_curves import Charts


def write_layout(trainer: Trainer) -> None:
    """Write the layout of the custom scalars tab: accuracy against noise, and training loss next to training noise.

    A run has one layout, so every callback writes all of it, with the ``charts`` of all callbacks, when the fit starts.
    """
    if not trainer.is_global_zero:
        return
    accuracy: Charts = {}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        accuracy.update(getattr(callback, "charts", dict)())
    # Tags of a Multiline chart are regular expressions, and "train/loss" would also find train/loss_epoch.
    # The loss also has a separate chart, because noise in percent flattens it on a shared axis.
    training: Charts = {
        "training loss and noise": ["Multiline", ["train/loss$", "cim/train_noise$"]],
        "training loss": ["Multiline", ["train/loss$"]],
    }
    layout = {**({"Sweep": accuracy} if accuracy else {}), "Training": training}
    for logger in tensorboard_loggers(trainer):
        logger.experiment.add_custom_scalars(layout)


def output_folder(trainer: Trainer, folder: str | Path | None = None) -> Path | None:
    """The folder of a run's files; call it on every process.

    Returns:
        The given folder, else the logger's, else the one of this configuration's runs, else the trainer's root; None if
        nothing is written (fast_dev_run, or a logger without files).
    """
    log_dir = trainer.log_dir  # asks the first process, so all processes must call it
    of_runs = log_dir if trainer.loggers else getattr(trainer, "run_folder", log_dir)
    found = of_runs if folder is None else folder
    return None if found is None or getattr(trainer, "fast_dev_run", False) else Path(found)


def tensorboard_loggers(trainer: Trainer) -> list[TensorBoardLogger]:
    """The trainer's TensorBoard loggers."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def show_figure(trainer: Trainer, tag: str, figure: "Figure", file: Path | None = None) -> None:
    """Show a figure in TensorBoard at the current step, and write it as PNG; call it on the first process."""
    for logger in tensorboard_loggers(trainer):
        logger.experiment.add_figure(tag, figure, trainer.global_step, close=False)
    if file is not None:
        write_whole(file, lambda opened: figure.savefig(opened, format="png"))


def log_equal(module: LightningModule, name: str, value: float, logger: bool = True) -> None:
    """Log a value that is equal on every process, as their maximum: their mean could change its last bit."""
    module.log(name, value, logger=logger, reduce_fx="max", sync_dist=True)


def class_names(trainer: Trainer, num_classes: int) -> list[str]:
    """The data module's class names, else the numbers of the classes."""
    names: Any = getattr(getattr(trainer, "datamodule", None), "class_names", None)
    if names is None or len(names) != num_classes:
        return [str(number) for number in range(num_classes)]
    return [str(name) for name in names]


def stage_of(trainer: Trainer) -> str:
    """Kind of evaluated images, as in names of metrics: val or test."""
    return "test" if trainer.testing else "val"


def is_due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Whether this validation is in epoch 0, k, 2k, ... or the last of a fit; always true outside of a fit."""
    if trainer.state.fn != "fit":
        return True
    epochs, steps = trainer.max_epochs, trainer.max_steps
    last = epochs is not None and 0 <= epochs <= trainer.current_epoch + 1
    last = last or 0 <= steps <= trainer.global_step or trainer.should_stop
    return last or trainer.current_epoch % every_n_epochs == 0
