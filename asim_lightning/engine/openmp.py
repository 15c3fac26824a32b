"""The threads that torch itself computes with, lent to Python functions.

After an operation of torch its OpenMP threads spin for milliseconds, in wait for the next one. Threads of another pool
share the cores with them meanwhile: on two cores a kernel then took up to twice as long as on torch's own threads.
"""

import ctypes
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

_BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class OpenMP:
    """A loaded OpenMP library with GNU's entry points (those of LLVM and Intel have them too).

    Args:
        library: The library.

    Raises:
        AttributeError: It lacks an entry point.
    """

    def __init__(self, library: Any) -> None:
        self._parallel, self._number, self._team = (
            library.GOMP_parallel,
            library.omp_get_thread_num,
            library.omp_get_num_threads,
        )

    @property
    def enter_address(self) -> int:
        """Address of the function that calls compiled code on a team of threads at once: with the code's address, that
        of its one argument, the size of the team and 0."""
        return ctypes.cast(self._parallel, ctypes.c_void_p).value or 0

    @property
    def number_address(self) -> int:
        """Address of the function that gives a thread its number."""
        return ctypes.cast(self._number, ctypes.c_void_p).value or 0

    @property
    def size_address(self) -> int:
        """Address of the function that gives a thread the size of its team."""
        return ctypes.cast(self._team, ctypes.c_void_p).value or 0

    def run(self, body: Callable[[int, int], None], threads: int) -> None:
        """Call ``body(number, threads)`` on a team of threads at once, numbers 0..threads-1; wait for all of them.

        Args:
            body: Function that releases the interpreter lock; the second argument is the size that the team has.
            threads: Size of the team to ask for: that of torch, whose threads then need not be made anew.

        Raises:
            BaseException: What a call raised.
        """
        raised: list[BaseException] = []
        finished: list[int] = []

        def call(_: Any) -> None:
            try:
                body(self._number(), self._team())
                finished.append(self._team())
            except BaseException as error:  # no exception crosses a frame of C
                raised.append(error)

        self._parallel(_BODY(call), None, ctypes.c_uint(threads), ctypes.c_uint(0))
        if raised:
            raise raised[0]
        if not finished or len(finished) < finished[0]:
            raise KeyboardInterrupt  # it came as a call began, where ctypes drops it


@lru_cache
def whole_team(threads: int) -> bool:
    """Whether the system grants a team of so many threads, which OMP_THREAD_LIMIT and OMP_DYNAMIC may prevent; true
    where torch's library is not to be found."""
    sizes: list[int] = []
    team = openmp()
    if team is not None:
        team.run(lambda number, size: sizes.append(size), threads)
    return all(size == threads for size in sizes)


@lru_cache(maxsize=1)
def openmp() -> OpenMP | None:
    """The OpenMP library that torch has loaded; None where it is not to be found."""
    maps = Path("/proc/self/maps")
    if not torch.backends.openmp.is_available() or not maps.exists():
        return None
    loaded = sorted(set(re.findall(r"/\S*/lib(?:gomp|iomp5|omp)\b[^/\s]*\.so[^/\s]*", maps.read_text())))
    own = [path for path in loaded if path.startswith(str(Path(torch.__file__).parent))]
    candidates = own or loaded
    if len(candidates) != 1:  # another library's threads would be of no use
        return None
    try:
        return OpenMP(ctypes.CDLL(candidates[0]))
    except (OSError, AttributeError):
        return None
