"""The compiled kernels, loaded: the best level that the processor runs, if it was built from the present sources."""

import ctypes
import os
import shlex
import sys
from functools import lru_cache
from pathlib import Path

from asim_lightning.engine.native.backend import FOLDER, LEVELS, digest, library_path
from asim_lightning.engine.threads import parallel_entry

__all__ = ["LEVELS", "best_level", "library", "processor_levels", "why_missing"]


@lru_cache
def library(level: str | None = None) -> ctypes.CDLL:
    """The kernels of one of `processor_levels`; None: of the best one that was built.

    Raises:
        RuntimeError: The library is missing, was built from other sources, or cannot be loaded.
    """
    return _load(FOLDER, level or best_level())


def best_level() -> str:
    """The best level that the processor runs and that was built; a RuntimeError if none was."""
    return next(name for name in reversed(processor_levels()) if library_path(name).exists())


def processor_levels() -> tuple[str, ...]:
    """Levels of `LEVELS` that this processor runs, the best last; a RuntimeError if no library is built."""
    if not LEVELS:
        raise RuntimeError("The C++ kernels are not built for Windows.")
    return tuple(LEVELS)[: _load(FOLDER, "portable").asim_processor_level() + 1]


def why_missing() -> str | None:
    """Why there are no compiled kernels, and how to get them, in a sentence; None if there are."""
    try:
        library()
    except RuntimeError as error:
        return str(error)
    return None


@lru_cache
def _load(folder: Path, level: str) -> ctypes.CDLL:
    path = library_path(level, folder)
    again = f"`{shlex.join([sys.executable, str(folder / 'backend.py')])}`"
    if not path.exists():
        ways = "with a C++ compiler, or after `pip install ziglang`"
        raise RuntimeError(f"The C++ kernels are not built: {ways}, {again} builds them.")
    # read from the file, because a process that has loaded an old library does not load another one of that name
    if digest(level, folder).encode() not in path.read_bytes():
        raise RuntimeError(f"{path.name} was built from other sources than those next to it: {again} builds it anew.")
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise RuntimeError(f"{path.name} cannot be loaded ({error}): {again} builds it anew.") from error
    loaded.asim_set_threads_entry.argtypes = [ctypes.c_void_p]
    loaded.asim_set_threads_entry(parallel_entry())
    # a child has none of its parent's OpenMP threads, and GNU's OpenMP would wait for them forever
    os.register_at_fork(after_in_child=lambda: loaded.asim_set_threads_entry(None))
    return loaded
