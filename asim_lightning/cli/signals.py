"""A kill (SIGTERM) ends a command as Ctrl-C does."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Killed(SystemExit):
    """A SIGTERM arrived."""


@contextmanager
def kill_raises() -> Iterator[None]:
    """Raise `Killed` at SIGTERM, except in Lightning's loops, which finish a batch first and then stop.

    Lightning's handler is only active in its loops: between two trials of a sweep, a kill would have no effect.
    """
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, _handler(at_once=False))
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def kill_raises_at_once() -> None:
    """Raise `Killed` at SIGTERM also in Lightning's loops; for a run of several processes.

    Lightning's handler informs the other processes by a collective operation, in the middle of another operation: the
    processes then wait for each other until a timeout of half an hour. Lightning restores the previous handler at the
    end of its loops.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _handler(at_once=True))


def _handler(at_once: bool) -> Callable[[int, FrameType | None], None]:
    process = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # forked, such as a worker that loads data
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        if at_once:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the parent process may send another
        elif signal.getsignal(signal.SIGTERM) is not handle:  # Lightning's handler, which calls this one
            return
        raise Killed(128 + number)

    return handle
