"""Work of Numba kernels, which release the interpreter lock, spread over as many threads as torch uses."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from asim_lightning.engine.openmp import openmp
from asim_lightning.engine.scratch import with_scratch

_NAME = "asim-engine"


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # keyed by process: threads do not survive a fork
    return ThreadPoolExecutor(threads, thread_name_prefix=_NAME)


def spread(work: Callable[[int, int], None], units: int, fewest: int = 1) -> None:
    """Call ``work(low, high)`` on consecutive ranges that cover 0..units-1, at once on ``torch.get_num_threads()``: on
    torch's own threads where they can be had, else on those of a pool.

    Args:
        work: Function that releases the interpreter lock and writes disjoint results.
        units: Number of units of work.
        fewest: Least number of units that is worth a thread.
    """
    threads = _threads(units, fewest)
    if threads == 1:
        work(0, units)
        return
    team = openmp()
    if team is not None:
        team.run(lambda number, size: _share(work, units, number, min(threads, size)), torch.get_num_threads())
        return
    pool = _pool(os.getpid(), torch.get_num_threads())
    others = [pool.submit(_share, work, units, number, threads) for number in range(1, threads)]
    _share(work, units, 0, threads)
    for other in others:
        other.result()


def spread_kernel(kernel: Any, arguments: tuple[Any, ...], units: int, fewest: int = 1) -> None:
    """Call ``kernel(*arguments, low, high)`` as `spread` calls its function, without the interpreter on the threads.

    Args:
        kernel: A compiled Numba kernel that raises nothing but for want of memory, and writes disjoint results; each
            thread may call it several times.
        arguments: NumPy arrays, numbers, and scratch.
        units: Number of units of work.
        fewest: Least number of units that is worth a thread.
    """
    threads = _threads(units, fewest)
    if threads == 1:
        kernel(*with_scratch(arguments, 1)[0], 0, units)
        return
    library = openmp()
    if library is None:
        spread(lambda low, high: kernel(*with_scratch(arguments, 1)[0], low, high), units, fewest)
        return
    from asim_lightning.engine.team import team_of  # Numba takes half a second to import

    team_of(kernel, library)(*with_scratch(arguments, threads), units, threads, torch.get_num_threads())


def _threads(units: int, fewest: int) -> int:
    threads = min(torch.get_num_threads(), units // max(fewest, 1))
    if threads <= 1 or threading.current_thread().name.startswith(_NAME):  # a thread of the pool must not wait for it
        return 1
    return threads


def _share(work: Callable[[int, int], None], units: int, number: int, threads: int) -> None:
    if number < threads:
        work(units * number // threads, units * (number + 1) // threads)


def one_thread_each(work: Callable[[int], Tensor], units: Sequence[int]) -> list[Tensor]:
    """Results of ``work(unit)``, computed on as many threads as torch uses, with torch's operations on one thread each.

    A simulation is thousands of small operations. Threads that share each of them wait for one another thousands of
    times, which on a busy machine takes ten times as long as the work; threads that share out the batch do not wait.
    """
    threads = torch.get_num_threads()
    pool = _pool(os.getpid(), threads)
    torch.set_num_threads(1)  # threads that torch first meets now keep to one, too
    try:
        return list(pool.map(work, units))
    finally:
        torch.set_num_threads(threads)
