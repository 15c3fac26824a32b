"""torch's threads: their OpenMP library, whether the system grants all of them, and one unit of work for each."""

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

_BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@lru_cache(maxsize=1)
def openmp() -> Any:
    """The OpenMP library that torch computes with (GNU's, LLVM's or Intel's, all with GNU's entry points); None if
    torch's threads are of another kind."""
    if not torch.backends.openmp.is_available():
        return None
    try:
        # torch makes the symbols of its OpenMP library global, so the process finds the library that torch calls
        library = ctypes.CDLL(None)
        return library if library.GOMP_parallel and library.omp_get_num_threads else None
    except (AttributeError, TypeError, OSError):  # TypeError: Windows has no such library of all symbols
        return None


def parallel_entry() -> int | None:
    """Address of the function that runs compiled code on torch's threads; None without OpenMP. It takes the addresses
    of the code and of the code's one argument, the number of threads, and 0."""
    library = openmp()
    return None if library is None else ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value


@lru_cache
def whole_team(threads: int) -> bool:
    """Whether the system grants a team of so many threads, despite OMP_THREAD_LIMIT and OMP_DYNAMIC; true if torch's
    library is not found."""
    library = openmp()
    if library is None:
        return True
    sizes: list[int] = []
    body = _BODY(lambda _: sizes.append(library.omp_get_num_threads()))
    library.GOMP_parallel(body, None, ctypes.c_uint(threads), ctypes.c_uint(0))
    return all(size == threads for size in sizes)


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # keyed by process: threads do not survive a fork
    return ThreadPoolExecutor(threads)


def one_thread_each(work: Callable[[int], Tensor], units: Sequence[int]) -> list[Tensor]:
    """Results of ``work(unit)``, on as many threads as torch uses; torch's operations use one thread each.

    A simulation is thousands of small operations. Threads that share each operation wait for one another thousands of
    times; on a busy machine this takes ten times as long as the work. Threads that share out the batch do not wait.
    """
    threads = torch.get_num_threads()
    pool = _pool(os.getpid(), threads)
    torch.set_num_threads(1)  # also for threads that torch meets for the first time now
    try:
        return list(pool.map(work, units))
    finally:
        torch.set_num_threads(threads)
