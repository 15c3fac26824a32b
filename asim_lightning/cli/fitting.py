"""`asim fit`, and what it says."""

from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from asim_lightning.callbacks.output import tensorboard_loggers
from asim_lightning.cli.checkpointing import put_back_metrics, weights_line
from asim_lightning.cli.command_line import shorter_path
from asim_lightning.cli.messages import UsageError
from asim_lightning.cli.start import Setup, Start, read_data
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.whole_file import naming
from asim_lightning.lightning_private import works_elsewhere


@dataclass(frozen=True)
class FitOptions:
    """Where a fit starts."""

    resume: bool = True
    """Whether the fit goes on with the optimizer state of `ckpt_path`, if it has one; else it starts from the weights
    at epoch 0."""


def fit(setup: Setup, options: FitOptions) -> None:
    """Train a network, quantised and with noise."""
    trainer, start = setup.trainer, setup.start
    resumed = start.path if start.resumes else None
    try:
        if isinstance(setup.data, ImageDataModule) and trainer.world_size == 1:  # of several, the first one downloads
            read_data(setup.model, setup.data, "fit")  # before loggers make files
        with naming(_log_folders(trainer)):
            trainer.fit(setup.model, datamodule=setup.data, ckpt_path=resumed, weights_only=True)
    finally:
        if start.continued is not None:
            put_back_metrics(start.continued.parent.parent)
    if not getattr(trainer, "fast_dev_run", False):
        _say_what_came(setup)


def start_line(start: Start, trainer: Trainer, initial: str) -> str:
    """Where a fit starts, and how to start otherwise; refuses a checkpoint of more epochs than the trainer allows."""
    most, steps = trainer.max_epochs, trainer.max_steps
    epoch = f"epoch {start.epoch}" + (f" of {most}" if most is not None and most >= 0 else "")
    if start.path is None:
        return f"starts from {initial} weights at {epoch}; --ckpt_path FILE starts from a checkpoint"
    path = shorter_path(start.path)
    if start.resumes:
        if most is not None and 0 <= most < start.epoch:
            raise UsageError(
                f"`trainer.max_epochs` must be {start.epoch} or more to resume {path}, got {most}; --resume false "
                "starts from its weights at epoch 0"
            )
        step = f"step {start.step}" + (f" of {steps}" if steps >= 0 else "")
        return f"resumes at {epoch}, {step}, from {path}; --resume false starts from its weights at epoch 0"
    return f"starts from the weights of {path} at {epoch}; {start.resumed_by}"


def _say_what_came(setup: Setup) -> None:
    trainer, start = setup.trainer, setup.start
    # of forked processes that train, this one does not learn the steps
    if trainer.global_step <= start.step and not works_elsewhere(trainer):
        limits = "`trainer.max_epochs`, `max_steps`, `max_time` or `limit_train_batches` allows no"
        anew = f" after step {start.step}; raise it, or --resume false starts from the weights at epoch 0"
        setup.say(f"nothing was trained, as {limits} step{anew if start.resumes else ''}")
    for stopping in trainer.early_stopping_callbacks:
        if trainer.should_stop and (why := stopping.stopping_reason_message):
            reason = why.removesuffix(" Signaling Trainer to stop.")
            setup.say(f"stopped  by EarlyStopping in epoch {stopping.stopped_epoch}: {reason}")
    setup.say(f"run      {trainer.log_dir}")
    if weights := weights_line(trainer.checkpoint_callbacks):
        setup.say(f"weights  {weights}")
    for folder in dict.fromkeys(logger.root_dir for logger in tensorboard_loggers(trainer)):
        setup.say(f"charts   tensorboard --logdir {Path(folder).parent}")


def _log_folders(trainer: Trainer) -> list[Path]:
    loggers = (each for each in trainer.loggers if isinstance(each, (CSVLogger, TensorBoardLogger)))
    return list(dict.fromkeys(Path(logger.log_dir).absolute() for logger in loggers))
