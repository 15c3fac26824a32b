"""A fit that is refused leaves nothing."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger


@contextmanager
def nothing_left(folders: Sequence[Path], is_refused: Callable[[Exception], bool]) -> Iterator[None]:
    """Take away what is new in folders, and themselves, where an error ends what was begun.

    Args:
        folders: Where it writes; they need not exist.
        is_refused: Whether an error means that what was written is of no use.
    """
    before = {folder: set(folder.rglob("*")) for folder in folders if folder.exists()}
    absent = {parent for folder in folders for parent in (folder, *folder.parents) if not parent.exists()}
    try:
        yield
    except Exception as error:
        if is_refused(error):
            for folder in folders:
                _restore(folder, before.get(folder))
            for folder in sorted(absent, key=lambda path: len(path.parts), reverse=True):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        raise


def log_folders(trainer: Trainer) -> list[Path]:
    """Folders in which a fit's loggers write."""
    loggers = (each for each in trainer.loggers if isinstance(each, (CSVLogger, TensorBoardLogger)))
    return list(dict.fromkeys(Path(logger.log_dir).absolute() for logger in loggers))


def _restore(folder: Path, before: set[Path] | None) -> None:
    if before is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in sorted(set(folder.rglob("*")) - before, key=lambda found: len(found.parts), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
