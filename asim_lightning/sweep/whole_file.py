"""Files that are whole or as they were before, whenever a process is killed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace a file in one step, so that a kill leaves the old file or the new one and never a part of it.

    Args:
        path: The file; its folder exists.
        write: Writes the content to an open file.
    """
    # beside it, since a rename is one step within a filesystem alone
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
