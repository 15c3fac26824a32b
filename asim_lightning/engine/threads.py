"""torch's threads: the OpenMP library that has them, whether the system grants all of them, and work on one each."""

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
    """The OpenMP library that torch computes with, which may be GNU's, LLVM's or Intel's, with GNU's entry points; None
    where torch has threads of another kind."""
    if not torch.backends.openmp.is_available():
        return None
    try:
        # torch makes the symbols of its OpenMP library global, so that these are the ones its own calls are bound to
        library = ctypes.CDLL(None)
        return library if library.GOMP_parallel and library.omp_get_num_threads else None
    except (AttributeError, TypeError, OSError):  # TypeError: Windows has no such library of all symbols
        return None


def parallel_entry() -> int | None:
    """Address of the function that calls compiled code on torch's threads: with the code's address, that of its one
    argument, the number of threads and 0; None where there is none."""
    library = openmp()
    return None if library is None else ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value


@lru_cache
def whole_team(threads: int) -> bool:
    """Whether the system grants a team of so many threads, which OMP_THREAD_LIMIT and OMP_DYNAMIC may prevent; true
    where torch's library is not to be found."""
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
