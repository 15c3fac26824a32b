"""A kill (SIGTERM) ends a command as Ctrl-C does."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
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
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, _handler(at_once=False))
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
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _handler(at_once=True))


def _handler(at_once: bool) -> Callable[[int, FrameType | None], None]:
    process = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # forked, such as a worker that loads data
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        if at_once:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the process that started this one may send another
        elif signal.getsignal(signal.SIGTERM) is not handle:  # Lightning's, which passes on to this one
            return
        raise Killed

    return handle
