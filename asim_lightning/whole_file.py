"""Files that stay complete even if a process is killed."""

import os
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from asim_lightning.table import csv_text

_STALE = 3600
"""Seconds after its last write from which an unfinished file belongs to a killed process."""


def write_whole(path: Path, write: Callable[[BinaryIO], object], follow_link: bool = True) -> None:
    """Replace a file in one step: a kill leaves the old file or the new one, never a part.

    Args:
        path: The file; a missing folder is made. A path that is not a regular file, such as a pipe or /dev/stdout, is
            written to directly.
        write: Writes the content to an open file.
        follow_link: Replace the target of a link, not the link.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                write(file)
        else:
            _replace(Path(os.path.realpath(path)) if follow_link else path, write)
    except Exception as error:
        # torch.save wraps the system's error in another one
        cause = error if isinstance(error, OSError) else error.__cause__ or error.__context__
        if not isinstance(cause, OSError):
            raise
        is_no_folder = isinstance(cause, FileExistsError)  # mkdir's error
        reason = f"{cause.filename} is no folder" if is_no_folder else cause.strerror or str(cause)
        raise OSError(f"{path} cannot be written: {reason}") from error


def write_lines(path: Path, rows: Iterable[Sequence[object]], line_end: str = "\r\n") -> None:
    """Write a CSV file like `write_whole`; the first row has the column names."""
    text = csv_text(rows, line_end)
    write_whole(path, lambda file: file.write(text.encode(errors="surrogateescape")))


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # next to the file, because a rename is atomic only within a filesystem; another name, because its may be too long
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
