"""Names that one process holds at a time, so that several may work in one folder at once."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class FileLocks:
    """Names that one process of a machine or a shared filesystem holds at a time; a process that ends holds none.

    Each name is a byte of one file, which stays empty. Where a filesystem or system has no locks, all are free.

    Args:
        path: The file; made where it is absent, once a name is taken.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._process = 0

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

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold a name, after waiting for it where another process holds it."""
        self.take(name, wait=True)
        try:
            yield
        finally:
            self.give(name)

    def _opened(self) -> BinaryIO:
        # the file stays open, as closing it would give all names; a forked process opens its own
        if self._file is None or self._process != os.getpid():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file, self._process = self._path.open("ab"), os.getpid()
        return self._file


def _place(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=7).digest(), "big")
