"""Work of the kernels is shared out over torch's own threads, or over threads made for the call."""

import ctypes
import os
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from asim_lightning.engine.native import backend
from asim_lightning.engine.noise_source import fill
from asim_lightning.engine.threads import parallel_entry

pytestmark = pytest.mark.process  # a compiler
SetThreads = Callable[[int], None]
PROBE = """
#include <sched.h>
#include "threads.h"

ASIM_EXPORT void use(void* entry) { asim::parallel_entry.store(reinterpret_cast<asim::ParallelEntry>(entry)); }

// Sum of 0..units-1; `calls` counts the threads that were called.
ASIM_EXPORT int64_t sum_by_threads(int64_t units, int32_t threads, int32_t* calls) {
    std::atomic<int64_t> sum{0};
    std::atomic<int32_t> called{0};
    asim::parallel_for(units, threads, [&](asim::Shares& shares) {
        called.fetch_add(1);
        int64_t own = 0;
        for_units(shares, [&](int64_t unit) { own += unit; });
        sum.fetch_add(own);
    });
    *calls = called.load();
    return sum.load();
}

// First unit of each unit's share, where one thread of so many takes all.
ASIM_EXPORT void shares(int64_t units, int64_t threads, int64_t* firsts) {
    asim::Shares shares(units, threads);
    int64_t low, high;
    while (shares.next(low, high)) for (int64_t i = low; i < high; ++i) firsts[i] = low;
}

// Whether all other shares are done while the first is held up, for at most so many turns.
ASIM_EXPORT bool others_finish(int64_t units, int threads, int64_t turns) {
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
def built(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.cpp").write_text(PROBE)
    include = ["-std=c++17", "-O2", "-pthread", "-fPIC", "-shared", "-I", backend.FOLDER / "src"]
    subprocess.run(["c++", *include, folder / "probe.cpp", "-o", folder / "probe.so"], check=True)
    return ctypes.CDLL(str(folder / "probe.so"))


@pytest.fixture(params=["OpenMP", "own"])
def probe(built: ctypes.CDLL, request: pytest.FixtureRequest) -> ctypes.CDLL:
    """The probe, for each way in which work comes on threads."""
    built.use(ctypes.c_void_p(parallel_entry() if request.param == "OpenMP" else None))
    return built


def sum_by_threads(probe: ctypes.CDLL, units: int, threads: int) -> tuple[int, int]:
    """Sum of 0..units-1, and how many threads were called for it."""
    probe.sum_by_threads.restype = ctypes.c_int64
    calls = ctypes.c_int32()
    return int(probe.sum_by_threads(ctypes.c_int64(units), threads, ctypes.byref(calls))), calls.value


def expected(units: int) -> int:
    return units * (units - 1) // 2


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_every_unit_is_done_once(probe: ctypes.CDLL, threads: int) -> None:
    for units in (0, 1, 2, 3, 100, 1_000_003):
        assert sum_by_threads(probe, units, threads)[0] == expected(units)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not list libraries")
def test_the_threads_are_those_of_the_library_that_torch_has_loaded() -> None:
    maps = Path("/proc/self/maps").read_text()
    loaded = set(re.findall(rf"{Path(torch.__file__).parent}/\S*lib(?:gomp|iomp5|omp)\b\S*", maps))
    assert len(loaded) == 1
    assert parallel_entry() == ctypes.cast(ctypes.CDLL(loaded.pop()).GOMP_parallel, ctypes.c_void_p).value


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_torchs_threads_is_honoured(probe: ctypes.CDLL, set_threads: SetThreads, threads: int) -> None:
    set_threads(threads)
    assert sum_by_threads(probe, 1000, torch.get_num_threads()) == (expected(1000), threads)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system does not list threads")
def test_no_threads_are_made_beside_torchs(built: ctypes.CDLL, set_threads: SetThreads) -> None:
    built.use(ctypes.c_void_p(parallel_entry()))
    set_threads(3)
    torch.rand(1_000_000).exp_()  # torch's threads are there now
    before = len(os.listdir("/proc/self/task"))
    sum_by_threads(built, 1000, 3)
    assert len(os.listdir("/proc/self/task")) == before


def test_python_threads_may_share_out_work_at_once(probe: ctypes.CDLL, set_threads: SetThreads) -> None:
    set_threads(2)
    finished: list[int] = []

    def call(units: int) -> None:
        if all(sum_by_threads(probe, units, 2)[0] == expected(units) for _ in range(100)):
            finished.append(units)

    callers = [threading.Thread(target=call, args=(units,), daemon=True) for units in (1000, 5000)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=100)
    assert sorted(finished) == [1000, 5000]


def noise(sample: int) -> Tensor:
    """Enough normals for two threads, also in a data worker, where torch has one."""
    torch.set_num_threads(2)
    return fill((1, 2), torch.tensor([sample]), torch.tensor([0]), 2**16, range(4), 0, 0)


def test_forked_data_workers_share_out_work(set_threads: SetThreads) -> None:
    set_threads(2)
    torch.rand(1_000_000).exp_()
    wanted = [noise(index) for index in range(6)]  # the workers inherit a process whose threads they lack
    settings: dict[str, Any] = {"num_workers": 2, "multiprocessing_context": "fork", "timeout": 60}
    found = [*DataLoader(range(6), batch_size=None, collate_fn=noise, **settings)]  # type: ignore[arg-type]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, wanted, strict=True))
    assert torch.equal(noise(3), wanted[3])  # the parent's threads are as they were


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("units", [1, 2, 7, 64, 1000, 100_000])
def test_shares_shrink_and_are_few(built: ctypes.CDLL, units: int, threads: int) -> None:
    firsts = np.full(units, -1)
    built.shares(ctypes.c_int64(units), ctypes.c_int64(threads), ctypes.c_void_p(firsts.ctypes.data))
    sizes = np.unique(firsts, return_counts=True)[1].tolist()
    assert min(firsts) == 0
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert max(sizes) <= max(1, units // (2 * threads))
    assert len(sizes) <= 16 * threads


def test_others_do_the_work_of_a_thread_that_is_held_up(probe: ctypes.CDLL) -> None:
    probe.others_finish.restype = ctypes.c_bool
    assert probe.others_finish(ctypes.c_int64(48), 3, ctypes.c_int64(1_000_000))
