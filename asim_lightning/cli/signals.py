"""A kill (SIGTERM) ends a command as Ctrl-C does."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Killed(SystemExit):
    """SIGTERM came."""


@contextmanager
def kill_raises() -> Iterator[None]:
    """Raise `Killed` where SIGTERM comes, but for Lightning's loops, which end a batch first and then stop themselves.

    Lightning's own handler is there within its loops alone: between two trials of a sweep a kill would say nothing.
    """
    process = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # forked, such as a worker that loads data
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        elif signal.getsignal(signal.SIGTERM) is handle:  # else Lightning's, which passes on to this one
            raise Killed

    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
