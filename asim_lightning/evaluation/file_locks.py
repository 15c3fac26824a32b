"""Names that one process holds at a time, so that several may work in one folder at once."""

import errno
import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


_files: dict[Path, tuple[int, BinaryIO]] = {}
"""By path: the process that opened a file, and the file.

A process that closes a file gives all names in it, whoever in the process holds them. So each file is opened once, and
stays open. A forked process opens its own."""


class FileLocks:
    """Names that one process of a machine or a shared filesystem holds at a time; a process that ends holds none.

    Each name is a byte of one file, which stays empty. Where a filesystem or system has no locks, all are free.

    Args:
        path: The file; made where it is absent, once a name is taken.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def take(self, name: str, wait: bool) -> bool:
        """Hold a name; False where another process holds it.

        Args:
            name: The name.
            wait: Wait until it is free.
        """
        if fcntl is None:
            return True
        try:
            fcntl.lockf(self._opened(), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, _place(name))
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EAGAIN)
        return True

    def give(self, name: str) -> None:
        """Hold a name no more."""
        if fcntl is not None:
            with suppress(OSError):
                fcntl.lockf(self._opened(), fcntl.LOCK_UN, 1, _place(name))

    def _opened(self) -> BinaryIO:
        process, file = _files.get(self._path, (0, None))
        if file is None or process != os.getpid() or not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("ab")
            _files[self._path] = os.getpid(), file
        return file


def _place(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=7).digest(), "big")
