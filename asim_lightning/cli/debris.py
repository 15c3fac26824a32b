"""A fit that is refused leaves nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

_OURS = ("config.yaml", "hparams.yaml", "metrics.csv", "events.out.tfevents.*", "checkpoints/*.ckpt")
"""Files that a fit writes in a folder of a logger, or of its own where it has none."""


@contextmanager
def nothing_left(places: Sequence[Path], is_refused: Callable[[], bool]) -> Iterator[None]:
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
    return {path for pattern in _OURS for path in place.glob(pattern) if path.is_file()}


def is_of_no_use(trainer: Trainer, start: int) -> bool:
    """Whether what a fit wrote before an error is of no use: no step was made. All else is the user's to keep.

    Args:
        trainer: The trainer of the fit.
        start: Optimizer steps that had been made where it began.
    """
    return trainer.is_global_zero and trainer.global_step <= start


def log_folders(trainer: Trainer) -> list[Path]:
    """Folders in which a fit's loggers write, in full."""
    loggers = (each for each in trainer.loggers if isinstance(each, (CSVLogger, TensorBoardLogger)))
    return list(dict.fromkeys(Path(logger.log_dir).absolute() for logger in loggers))


def folders_without_logger(trainer: Trainer) -> list[Path]:
    """Where a fit writes that has no logger, in full: its settings and checkpoints, beside other runs'."""
    return [] if trainer.loggers else [Path(trainer.default_root_dir).absolute()]
