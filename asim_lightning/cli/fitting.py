"""`asim fit`: what it says, and that one which is refused leaves nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from asim_lightning.callbacks.output import tensorboard_loggers
from asim_lightning.cli.checkpoint_checks import is_of_restoring
from asim_lightning.cli.checkpointing import put_back_metrics, weights_line
from asim_lightning.cli.messages import UsageError
from asim_lightning.cli.reworded import is_refusal
from asim_lightning.cli.start import Setup
from asim_lightning.cli.writable import check_folder
from asim_lightning.evaluation.whole_file import naming

_WRITTEN = ("config.yaml", "hparams.yaml", "metrics.csv", "events.out.tfevents.*", "checkpoints/*.ckpt")
"""Files that a fit writes in a folder of a logger, or of its own where it has none."""


def fit(setup: Setup) -> None:
    """Train a network, quantised and with noise; where that is refused before anything came of it, no file is left.

    Args:
        setup: What it works with.
    """
    trainer, start = setup.trainer, setup.start
    folders = _log_folders(trainer)
    for folder in folders:  # a logger of the user's own may have another one than the runs'
        check_folder(folder, "the place of `trainer.logger`")
    # without a logger: its settings and checkpoints, beside other runs'
    places = folders if trainer.loggers else [Path(trainer.default_root_dir).absolute()]
    resumed = start.path if start.resumes or start.found_by_lightning else None
    try:
        with naming(folders), _nothing_left(places, lambda: _is_of_no_use(trainer, start.step)):
            trainer.fit(setup.model, datamodule=setup.data, ckpt_path=resumed, weights_only=True)
    except Exception as error:
        if start.continued is not None:
            put_back_metrics(start.continued.parent.parent)
        if start.resumes and not is_refusal(error) and is_of_restoring(error):
            said = f"{type(error).__name__}: {error}"
            raise UsageError(f"{resumed} holds a state from which no fit goes on: {said}") from error
        raise
    if not getattr(trainer, "fast_dev_run", False):
        _say_what_came(setup)


def _say_what_came(setup: Setup) -> None:
    trainer, start = setup.trainer, setup.start
    if start.continued is not None:
        put_back_metrics(start.continued.parent.parent)
        if trainer.global_step == start.step:
            setup.say("the run had ended: nothing was trained; `--trainer.max_epochs`, or steps, can be raised")
    elif trainer.global_step == 0:
        setup.say("nothing was trained; `trainer.max_epochs`, `max_steps` and `limit_train_batches` bound it")
    setup.say(f"run      {trainer.log_dir}")
    if weights := weights_line(trainer.checkpoint_callbacks):
        setup.say(f"weights  {weights}")
    for folder in dict.fromkeys(logger.root_dir for logger in tensorboard_loggers(trainer)):
        setup.say(f"charts   tensorboard --logdir {Path(folder).parent}")


@contextmanager
def _nothing_left(places: Sequence[Path], is_refused: Callable[[], bool]) -> Iterator[None]:
    """Take away what a fit wrote, where an error ends it before anything came of it.

    Only files that are new, and have the names of those that a fit writes, are taken away; and folders that are new and
    empty then. Whatever else is found there is somebody else's.

    Args:
        places: Folders that it writes to, in full; they need not exist.
        is_refused: Whether what was written is of no use, after an error.
    """
    before = {path for place in places for path in _written(place)}
    absent = {
        folder for place in places for folder in (place / "checkpoints", place, *place.parents) if not folder.exists()
    }
    try:
        yield
    except Exception:
        if is_refused():
            for path in {path for place in places for path in _written(place)} - before:
                path.unlink()
            for folder in sorted(absent, key=lambda path: len(path.parts), reverse=True):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        raise


def _written(place: Path) -> set[Path]:
    return {path for pattern in _WRITTEN for path in place.glob(pattern) if path.is_file()}


def _is_of_no_use(trainer: Trainer, start: int) -> bool:
    # no step was made; all else is the user's to keep
    return trainer.is_global_zero and trainer.global_step <= start


def _log_folders(trainer: Trainer) -> list[Path]:
    loggers = (each for each in trainer.loggers if isinstance(each, (CSVLogger, TensorBoardLogger)))
    return list(dict.fromkeys(Path(logger.log_dir).absolute() for logger in loggers))
