"""Work of Numba kernels, which release the interpreter lock, spread over as many threads as torch uses."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

import torch


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # keyed by process: threads do not survive a fork
    return ThreadPoolExecutor(threads, thread_name_prefix="asim")


def spread(work: Callable[[int, int], None], units: int, fewest: int = 1) -> None:
    """Call ``work(low, high)`` on consecutive ranges that cover 0..units-1, at once on ``torch.get_num_threads()``.

    Args:
        work: Function that releases the interpreter lock and writes disjoint results.
        units: Number of units of work.
        fewest: Least number of units that is worth a thread.
    """
    threads = max(1, min(torch.get_num_threads(), units // max(fewest, 1)))
    if threads == 1:
        work(0, units)
        return
    edges = [units * i // threads for i in range(threads + 1)]
    pool = _pool(os.getpid(), torch.get_num_threads())
    others = [pool.submit(work, low, high) for low, high in pairwise(edges[1:])]
    work(edges[0], edges[1])
    for other in others:
        other.result()
