"""Files that are whole or as they were before, whenever a process is killed."""

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from asim_lightning.table import csv_text

_STALE = 3600
"""Seconds since its last write from which an unfinished file is of a process that was killed."""


def write_whole(path: Path, write: Callable[[BinaryIO], object], follow_link: bool = True) -> None:
    """Replace a file in one step, so that a kill leaves the old file or the new one and never a part of it.

    Args:
        path: The file; its folder is made if it is absent. What is there and no file, such as a pipe or /dev/stdout, is
            written to as it is.
        write: Writes the content to an open file.
        follow_link: Replace what a link stands for, not the link.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                write(file)
        else:
            _replace(Path(os.path.realpath(path)) if follow_link else path, write)
    except Exception as error:
        # torch.save raises an error of its own because of the system's
        cause = error if isinstance(error, OSError) else error.__cause__ or error.__context__
        if not isinstance(cause, OSError):
            raise
        raise OSError(f"{path} cannot be written: {_reason(cause)}") from error


def write_lines(path: Path, rows: Iterable[Sequence[object]], line_end: str = "\r\n") -> None:
    """Write a CSV file as `write_whole` does; the first row has the names of its columns."""
    text = csv_text(rows, line_end)
    write_whole(path, lambda file: file.write(text.encode(errors="surrogateescape")))


@contextmanager
def naming(folders: Sequence[Path]) -> Iterator[None]:
    """Say in an OSError where a file is that a library cannot write, such as TensorBoard's, whose errors name none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None or not folders:
            raise
        raise OSError(f"{' or '.join(map(str, folders))} cannot be written: {_reason(error)}") from error


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # next to the file, because a rename is one step within a filesystem only; not by its name, which may be too long
    partial = path.with_name(f"asim-{secrets.token_hex(8)}.partial")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    for other in path.parent.glob("asim-*.partial"):
        with suppress(OSError):
            if time.time() - other.stat().st_mtime > _STALE:
                other.unlink()


def _reason(error: OSError) -> str:
    if isinstance(error, FileExistsError):  # as mkdir says it
        return f"{error.filename} is no folder"
    return error.strerror or str(error)
