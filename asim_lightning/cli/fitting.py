"""`asim fit`: what it says, and that one which is refused leaves nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from asim_lightning.callbacks.output import tensorboard_loggers
from asim_lightning.cli.checkpointing import put_back_metrics, weights_line
from asim_lightning.cli.command_line import shorter_path
from asim_lightning.cli.messages import UsageError
from asim_lightning.cli.start import Setup, Start
from asim_lightning.evaluation.whole_file import naming
from asim_lightning.lightning_private import works_elsewhere

_WRITTEN = ("config.yaml", "hparams.yaml", "metrics.csv", "events.out.tfevents.*", "checkpoints/*.ckpt")
"""Files that a fit writes in a folder of a logger, or of its own where it has none."""


@dataclass(frozen=True)
class FitOptions:
    """Where a fit starts."""

    resume: bool = True
    """Whether the fit goes on with the optimizer state of `ckpt_path`, if it has one; else it starts from the weights
    at epoch 0."""


def fit(setup: Setup, options: FitOptions = FitOptions()) -> None:
    """Train a network, quantised and with noise; if nothing was trained, no file is left."""
    trainer, start = setup.trainer, setup.start
    folders = _log_folders(trainer)
    # without a logger: its settings and checkpoints, beside other runs'
    places = folders if trainer.loggers else [Path(trainer.default_root_dir).absolute()]
    resumed = start.path if start.resumes else None
    try:
        with (
            naming(folders),
            _nothing_left(places, lambda: trainer.is_global_zero and _made_no_step(trainer, start.step)),
        ):
            trainer.fit(setup.model, datamodule=setup.data, ckpt_path=resumed, weights_only=True)
    except Exception:
        if start.continued is not None:
            put_back_metrics(start.continued.parent.parent)
        raise
    if not getattr(trainer, "fast_dev_run", False):
        _say_what_came(setup)


def start_line(start: Start, trainer: Trainer, initial: str) -> str:
    """Where a fit starts, and how to start otherwise.

    Raises:
        UsageError: The checkpoint has more epochs than the trainer allows.
    """
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
    if start.continued is not None:
        put_back_metrics(start.continued.parent.parent)
    if _made_no_step(trainer, start.step):
        limits = "`trainer.max_epochs`, `max_steps`, `max_time` or `limit_train_batches` allows no"
        anew = f" after step {start.step}; raise it, or --resume false starts from the weights at epoch 0"
        setup.say(f"nothing was trained, as {limits} step{anew if start.resumes else ''}")
        if start.continued is None:
            return
    for stopping in trainer.early_stopping_callbacks:
        if trainer.should_stop and (why := stopping.stopping_reason_message):
            reason = why.removesuffix(" Signaling Trainer to stop.")
            setup.say(f"stopped  by EarlyStopping in epoch {stopping.stopped_epoch}: {reason}")
    setup.say(f"run      {trainer.log_dir}")
    if weights := weights_line(trainer.checkpoint_callbacks):
        setup.say(f"weights  {weights}")
    for folder in dict.fromkeys(logger.root_dir for logger in tensorboard_loggers(trainer)):
        setup.say(f"charts   tensorboard --logdir {Path(folder).parent}")


@contextmanager
def _nothing_left(places: Sequence[Path], is_of_no_use: Callable[[], bool]) -> Iterator[None]:
    """Take away what a fit wrote, if it ends before anything came of it.

    Only files that are new, and have the names of those that a fit writes, are taken away; and folders that are new and
    empty then. Whatever else is found there is somebody else's.

    Args:
        places: Folders that it writes to, in full; they need not exist.
        is_of_no_use: Whether what was written is of no use.
    """
    before = {path for place in places for path in _written(place)}
    absent = {
        folder for place in places for folder in (place / "checkpoints", place, *place.parents) if not folder.exists()
    }

    def take_away() -> None:
        if is_of_no_use():
            for path in {path for place in places for path in _written(place)} - before:
                path.unlink()
            for folder in sorted(absent, key=lambda path: len(path.parts), reverse=True):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    try:
        yield
    except Exception:
        take_away()
        raise
    take_away()


def _written(place: Path) -> set[Path]:
    return {path for pattern in _WRITTEN for path in place.glob(pattern) if path.is_file()}


def _made_no_step(trainer: Trainer, start: int) -> bool:
    # of forked processes that train, this one does not learn the steps
    return trainer.global_step <= start and not works_elsewhere(trainer)


def _log_folders(trainer: Trainer) -> list[Path]:
    loggers = (each for each in trainer.loggers if isinstance(each, (CSVLogger, TensorBoardLogger)))
    return list(dict.fromkeys(Path(logger.log_dir).absolute() for logger in loggers))
