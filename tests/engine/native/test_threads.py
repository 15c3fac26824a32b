"""Work of the kernels is shared out over torch's own threads, or over threads made for the call."""

import ctypes
import multiprocessing
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from asim_lightning.engine.native import backend, library
from asim_lightning.engine.threads import parallel_entry

SetThreads = Callable[[int], None]


def sum_by_threads(units: int, threads: int, lib: Any = None) -> tuple[int, int]:
    """Sum of 0..units-1, and how many threads were called for it."""
    call = (lib or library.library()).asim_sum_by_threads
    call.restype = ctypes.c_int64
    calls = ctypes.c_int32()
    total = call(ctypes.c_int64(units), ctypes.c_int32(threads), ctypes.byref(calls))
    return int(total), calls.value


def expected(units: int) -> int:
    return units * (units - 1) // 2


@pytest.fixture(params=["OpenMP", "own"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each way in which work comes on threads."""
    lib = library.library()
    if request.param == "own":
        lib.asim_set_threads_entry(None)
    yield str(request.param)
    lib.asim_set_threads_entry(parallel_entry())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("units", [0, 1, 2, 3, 100, 1_000_003])
def test_every_unit_is_done_once(units: int, threads: int) -> None:
    assert sum_by_threads(units, threads)[0] == expected(units)


def test_every_level_shares_out_work() -> None:
    for level in library.processor_levels():
        assert sum_by_threads(1000, 3, library.library(level)) == (expected(1000), 3)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not list libraries")
def test_the_threads_are_those_of_the_library_that_torch_has_loaded() -> None:
    maps = Path("/proc/self/maps").read_text()
    loaded = set(re.findall(rf"{Path(torch.__file__).parent}/\S*lib(?:gomp|iomp5|omp)\b\S*", maps))
    assert len(loaded) == 1
    assert parallel_entry() == ctypes.cast(ctypes.CDLL(loaded.pop()).GOMP_parallel, ctypes.c_void_p).value


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.usefixtures("way")
def test_the_number_of_torchs_threads_is_honoured(set_threads: SetThreads, threads: int) -> None:
    set_threads(threads)
    assert sum_by_threads(1000, torch.get_num_threads()) == (expected(1000), threads)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system does not list threads")
def test_no_threads_are_made_beside_torchs(set_threads: SetThreads) -> None:
    set_threads(3)
    torch.rand(1_000_000).exp_()  # torch's threads are there now
    before = len(os.listdir("/proc/self/task"))
    sum_by_threads(1000, 3)
    assert len(os.listdir("/proc/self/task")) == before


@pytest.mark.usefixtures("way")
def test_python_threads_may_share_out_work_at_once(set_threads: SetThreads) -> None:
    set_threads(2)
    wrong: list[int] = []
    finished: list[int] = []

    def call(units: int) -> None:
        for _ in range(100):
            total, _ = sum_by_threads(units, torch.get_num_threads())
            if total != expected(units):
                wrong.append(total)
        finished.append(units)

    callers = [threading.Thread(target=call, args=(units,), daemon=True) for units in (1000, 5000)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=100)
    assert sorted(finished) == [1000, 5000]
    assert wrong == []


class Sums(Dataset[int]):
    """Sums that data workers compute, on two threads although torch has one there."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        assert torch.get_num_threads() == 1
        assert sum_by_threads(1000, torch.get_num_threads()) == (expected(1000), 1)
        return sum_by_threads(1000 + index, 2)[0]


def test_forked_data_workers_share_out_work(set_threads: SetThreads) -> None:
    set_threads(2)
    torch.rand(1_000_000).exp_()
    sum_by_threads(1000, 2)  # the workers inherit a process whose threads they lack
    loader: Any = DataLoader(Sums(), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
    assert [*loader] == [expected(1000 + index) for index in range(6)]
    assert sum_by_threads(1000, 2) == (expected(1000), 2)  # the parent's are as they were


def in_child(units: int) -> tuple[int, int]:
    torch.set_num_threads(2)
    return sum_by_threads(units, torch.get_num_threads())


def test_spawned_processes_share_out_work(set_threads: SetThreads) -> None:
    set_threads(2)
    sum_by_threads(1000, 2)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map_async(in_child, [1000, 2000]).get(timeout=200) == [(expected(1000), 2), (expected(2000), 2)]


PROBE = """
#include <sched.h>
#include "threads.h"

// First unit of each unit's share, where one thread of so many takes all.
ASIM_EXPORT void shares(int64_t units, int64_t threads, int64_t* firsts) {
    asim::Shares shares(units, threads);
    int64_t low, high;
    while (shares.next(low, high)) for (int64_t i = low; i < high; ++i) firsts[i] = low;
}

// Whether all other shares are done while the first is held up, for at most so many turns.
ASIM_EXPORT bool others_finish(void* entry, int64_t units, int threads, int64_t turns) {
    asim::parallel_entry.store(reinterpret_cast<asim::ParallelEntry>(entry));
    std::atomic<int64_t> done{0};
    bool finished = false;
    asim::parallel_for(units, threads, [&](asim::Shares& shares) {
        int64_t low, high;
        while (shares.next(low, high)) {
            for (int64_t i = 0; low == 0 && !finished && i < turns; ++i) {
                finished = done.load() == units - high;
                sched_yield();
            }
            done.fetch_add(high - low);
        }
    });
    return finished;
}
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.cpp").write_text(PROBE)
    include = ["-std=c++17", "-O2", "-pthread", "-fPIC", "-shared", "-I", backend.FOLDER / "src"]
    subprocess.run(["c++", *include, folder / "probe.cpp", "-o", folder / "probe.so"], check=True)
    return ctypes.CDLL(str(folder / "probe.so"))


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("units", [1, 2, 7, 64, 1000, 100_000])
def test_shares_shrink_and_are_few(probe: ctypes.CDLL, units: int, threads: int) -> None:
    firsts = np.full(units, -1)
    probe.shares(ctypes.c_int64(units), ctypes.c_int64(threads), ctypes.c_void_p(firsts.ctypes.data))
    sizes = np.unique(firsts, return_counts=True)[1].tolist()
    assert min(firsts) == 0
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert max(sizes) <= max(1, units // (2 * threads))
    assert len(sizes) <= 16 * threads


@pytest.mark.parametrize("entry", [parallel_entry(), None], ids=["OpenMP", "own"])
def test_others_do_the_work_of_a_thread_that_is_held_up(probe: ctypes.CDLL, entry: int | None) -> None:
    probe.others_finish.restype = ctypes.c_bool
    assert probe.others_finish(ctypes.c_void_p(entry), ctypes.c_int64(48), 3, ctypes.c_int64(1_000_000))
