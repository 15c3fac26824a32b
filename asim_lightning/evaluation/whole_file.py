"""Files that are whole or as they were before, whenever a process is killed."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from asim_lightning.text_table import csv_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PARTIAL = re.compile(r"([0-9a-f]{12})\.asim-(\d+)\.partial")


def write_whole(path: Path, write: Callable[[BinaryIO], object], follow_link: bool = True) -> None:
    """Replace a file in one step, so that a kill leaves the old file or the new one and never a part of it.

    Args:
        path: The file; its folder is made where absent, and taken away again where the file cannot be written. What is
            there and no file, such as a pipe or /dev/stdout, is written to as it is.
        write: Writes the content to an open file.
        follow_link: Replace what a link stands for, not the link.

    Raises:
        OSError: It cannot be written; the message names it.
    """
    path = Path(path)
    handled = sys.exc_info()[1]
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                write(file)
        else:
            _replace(Path(os.path.realpath(path)) if follow_link else path, write)
    except Exception as error:
        cause = _of_system(error, handled)
        if cause is None:
            raise
        raise OSError(f"{path} cannot be written: {_reason(cause)}") from error


def write_lines(path: Path, rows: Iterable[Sequence[object]], line_end: str = "\r\n") -> None:
    """Write a CSV file whole.

    Args:
        path: The file, as for `write_whole`.
        rows: Its lines, the names of the columns first, as for `csv_text`.
        line_end: What ends a line.

    Raises:
        OSError: It cannot be written; the message names it.
    """
    text = csv_text(rows, line_end)
    write_whole(path, lambda file: file.write(text.encode(errors="surrogateescape")))


@contextmanager
def naming(folders: Sequence[Path]) -> Iterator[None]:
    """Say where a file is that a library cannot write, such as TensorBoard's, whose errors name none.

    Raises:
        OSError: As it was, with the folders in its message.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None or not folders:
            raise
        raise OSError(f"{' or '.join(map(str, folders))} cannot be written: {_reason(error)}") from error


def remove_partials(folder: Path, name: str | None = None) -> None:
    """Remove what `write_whole` was writing in processes that were killed; what a living one writes stays.

    Args:
        folder: Where to look; it need not exist.
        name: The file that was written, directly in the folder; None: any file, at any depth.
    """
    pattern, digest = "*.partial", None
    if name is not None:
        path = Path(os.path.realpath(folder / name))
        folder, digest = path.parent, _digest(path)
    for found in list(folder.rglob(pattern) if name is None else folder.glob(pattern)):
        match = _PARTIAL.fullmatch(found.name)
        if match and digest in (None, match[1]) and _is_dead(int(match[2]), found):
            found.unlink(missing_ok=True)


def partial_of(path: Path, process: int) -> Path:
    """Where a process writes what will replace a file.

    Args:
        path: The file; no link.
        process: Number of the process.
    """
    # beside it, since a rename is one step within a filesystem alone; as short for a name of any length
    return path.with_name(f"{_digest(path)}.asim-{process}.partial")


def _digest(path: Path) -> str:
    return blake2b(os.fsencode(path.name), digest_size=6).hexdigest()


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    partial = partial_of(path, os.getpid())
    absent: list[Path] = []
    try:
        absent = [folder for folder in path.absolute().parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            _lock(file)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        _take_away(partial, absent)
        raise


def _take_away(partial: Path, folders: list[Path]) -> None:
    try:
        partial.unlink(missing_ok=True)
        for folder in folders:  # the innermost first
            folder.rmdir()
    except OSError:
        pass  # never made, or another process has put something there


def _of_system(error: BaseException | None, handled: BaseException | None) -> OSError | None:
    """The operating system's error, also where a library raised its own because of it, as torch.save does.

    Args:
        error: What was raised.
        handled: What was being handled before, which is no cause.
    """
    while error is not None and error is not handled:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _reason(error: OSError) -> str:
    if isinstance(error, FileExistsError):  # as mkdir says it
        return f"{error.filename} is no folder"
    return error.strerror or str(error)


def _lock(file: BinaryIO) -> bool:
    """Hold a file as long as this process lives, also against those of other machines; False where one holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a filesystem without locks, on which nothing is known
        return False
    return True


def _is_dead(process: int, partial: Path) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        pass
    except (OSError, OverflowError):
        return False
    else:
        return False
    try:
        with partial.open("rb") as file:
            return _lock(file)
    except OSError:
        return False
