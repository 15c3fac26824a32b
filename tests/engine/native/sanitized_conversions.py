"""Conversions of all kinds by a library that checks its accesses to memory: `python -m ... LIBRARY`."""

import ctypes
import sys
import tempfile
from pathlib import Path

import torch

from asim_lightning.engine import Weights, rare, sums_of
from asim_lightning.engine.native import conversion, native_engine, passes
from asim_lightning.engine.native import rare as native_rare
from asim_lightning.engine.native.structures import Counting
from tests.engine.native.random_cases import Case, random_case

RANDOM_CASES = 300


def converted(loaded: ctypes.CDLL, case: Case) -> int:
    """How many times a random case was computed by the library."""
    made, circuit, threads = 0, case.circuit, torch.get_num_threads()
    if native_engine.refuses(circuit):
        return 0
    torch.set_num_threads(case.threads)
    held = Weights(case.w).on_chip(case.chip, case.product, circuit)
    for way in [way for way in Counting if loaded.asim_counts_by(way)]:
        native_engine.NativeProgram(
            case.product, held, circuit, case.chip, counting=way, max_elements=case.max_elements
        ).sums(case.x, case.noise)
        made += 1
    if rare.refuses(circuit) is None:
        sums_of(rare, case.product, circuit, case.x, case.w, case.noise, case.chip)
        made += 1
    torch.set_num_threads(threads)
    return made


def main(path: str) -> None:
    """Convert random products on random macros by every way of counting of a library."""
    loaded = ctypes.CDLL(path)
    loaded.asim_set_threads_entry.argtypes = [ctypes.c_void_p]
    conversion.library = native_engine.library = lambda level=None: loaded
    passes.best_library = lambda: loaded
    native_rare._OF_PIXEL = 0  # counts of all candidates are bounded by their inputs
    conversion._NANOSECONDS_WORTH_THREADS = 0.0
    torch.set_num_threads(2)
    made = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(RANDOM_CASES):
            made += converted(loaded, random_case(seed, Path(folder)))
    print(f"{made} products")


if __name__ == "__main__":
    main(sys.argv[1])
