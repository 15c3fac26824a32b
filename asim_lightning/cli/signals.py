"""A kill (SIGTERM) ends a command as Ctrl-C does."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Killed(SystemExit):
    """SIGTERM came."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


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


def kill_raises_at_once() -> None:
    """Raise `Killed` where SIGTERM comes within Lightning's loops too; for a run of several processes.

    Lightning's own handler tells the other processes by a collective operation, in the middle of whichever one is under
    way: the processes then wait for each other until a timeout of half an hour. Lightning puts the handler of before
    back when its loops end.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the process that started this one may send another
        raise Killed

    process = os.getpid()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handle)
