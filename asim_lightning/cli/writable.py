"""Whether what a command will write can be written, found out before its work."""

import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path


def check_file(path: Path, setting: str) -> None:
    """Refuse a file that cannot be written; it is not made, nor are its folders.

    Args:
        path: The file, a link to one, or what is there and no file, such as /dev/stdout.
        setting: What the user wrote to name it, such as `--to`.

    Raises:
        ValueError: It is a folder, or cannot be written.
    """
    if path.is_dir():
        raise ValueError(f"{setting} must be a file, got the folder {path}")
    refusal = f"{setting} must be a file that can be written, got {path}"
    if not path.exists() or path.is_file():
        _check(Path(os.path.realpath(path)).parent, refusal)
    elif not os.access(path, os.W_OK):
        raise ValueError(f"{refusal}: {os.strerror(errno.EACCES)}")


def check_folder(path: Path, setting: str) -> None:
    """Refuse a folder in which nothing can be written; it is not made.

    Args:
        path: The folder.
        setting: What the user wrote to name it.

    Raises:
        ValueError: It, or a folder that it will be in, is a file or cannot be written.
    """
    _check(path, f"{setting} must be a folder that can be written, got {path}")


def check_callbacks(callbacks: Sequence[object], run_folder: Path | None) -> None:
    """Refuse callbacks whose files cannot be written.

    Args:
        callbacks: All of a trainer; their `folder` or `dirpath` counts.
        run_folder: Folder of those that name none; None where a logger decides.

    Raises:
        ValueError: A folder, or one that it will be in, is a file or cannot be written.
    """
    for callback in callbacks:
        for name in ("folder", "dirpath"):
            folder = getattr(callback, name, None) or (
                run_folder if name == "folder" and hasattr(callback, name) else None
            )
            if isinstance(folder, (str, Path)):
                check_folder(Path(folder), f"`{name}` of {type(callback).__name__}")


def _check(folder: Path, refusal: str) -> None:
    there = folder.absolute()
    try:
        while not os.path.lexists(there):  # a link to nowhere is in the way too
            there = there.parent
        if not there.is_dir():
            raise ValueError(f"{refusal}: {there} is no folder")
        # permissions say little: a disk may be full or read-only, and root may do everything
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        raise ValueError(f"{refusal}: {error.strerror or error}") from None
