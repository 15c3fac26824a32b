"""A fit that is refused leaves nothing."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from asim_lightning.cli.reworded import is_refusal


@contextmanager
def nothing_left(places: Sequence[Path], is_refused: Callable[[Exception], bool]) -> Iterator[None]:
    """Take away the files and folders that are new in some places, where an error ends what was begun.

    Args:
        places: Files and folders that it writes, in full; they need not exist.
        is_refused: Whether an error means that what was written is of no use.
    """
    before = {place: set(place.rglob("*")) for place in places if place.exists()}
    absent = {parent for place in places for parent in place.parents if not parent.exists()}
    try:
        yield
    except Exception as error:
        if is_refused(error):
            for place in places:
                _restore(place, before.get(place))
            for folder in sorted(absent, key=lambda path: len(path.parts), reverse=True):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        raise


def is_of_no_use(trainer: Trainer, start: int, joins_run: bool, error: Exception) -> bool:
    """Whether what a fit wrote before an error is of no use.

    It is where no step was made, or what the user wrote is refused in the first epoch, with no checkpoint kept. All
    else is the user's to keep.

    Args:
        trainer: The trainer of the fit.
        start: Optimizer steps that had been made where it began.
        joins_run: Whether it wrote to the folder of a run that was there.
        error: The error.
    """
    if not trainer.is_global_zero:
        return False
    if trainer.global_step <= start:
        return True
    if joins_run or trainer.current_epoch > 0 or not is_refusal(error) or isinstance(error, OSError):
        return False
    return not any(True for folder in log_folders(trainer) for _ in folder.rglob("*.ckpt"))


def log_folders(trainer: Trainer) -> list[Path]:
    """Folders in which a fit's loggers write, in full."""
    loggers = (each for each in trainer.loggers if isinstance(each, (CSVLogger, TensorBoardLogger)))
    return list(dict.fromkeys(Path(logger.log_dir).absolute() for logger in loggers))


def files_without_logger(trainer: Trainer) -> list[Path]:
    """What a fit writes where it has no logger, in full: its settings and checkpoints, beside other runs'."""
    root = Path(trainer.default_root_dir).absolute()
    return [] if trainer.loggers else [root / "config.yaml", root / "checkpoints"]


def _restore(place: Path, before: set[Path] | None) -> None:
    if before is None:
        place.unlink(missing_ok=True) if place.is_file() else shutil.rmtree(place, ignore_errors=True)
        return
    for path in sorted(set(place.rglob("*")) - before, key=lambda found: len(found.parts), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
