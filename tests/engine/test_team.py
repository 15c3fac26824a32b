"""Kernels on torch's own threads take their arguments as from Python."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asim_lightning.engine import openmp, threads
from asim_lightning.engine.memory import whole_block
from asim_lightning.engine.numba_words import compiled
from asim_lightning.engine.scratch import Scratch, with_scratch


@pytest.fixture(params=["team", "pool", "one thread"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, set_threads: Callable[[int], None]) -> str:
    """Every test, by each way in which kernels come on threads."""
    if request.param == "pool":
        monkeypatch.setattr(threads, "openmp", lambda: None)
    elif openmp.openmp() is None:
        pytest.skip("torch's OpenMP library is not to be found here")
    set_threads(1 if request.param == "one thread" else 3)
    return str(request.param)


def _all_kinds(
    a: Any, b: Any, flag: bool, word: Any, whole: int, single: Any, double: float, out: Any, low: int, high: int
) -> None:
    for i in range(low, high):
        out[i, 0] += a[i % 2, i % 3, i % 5] + b[i] * word + whole + single * double
        out[i, 1] += 1.0 if flag else 0.0


@pytest.fixture(scope="module")
def all_kinds() -> Any:
    return compiled("void(i8[:,:,::1], u1[::1], b1, u4, i8, f4, f8, f8[:,::1], i8, i8)", _all_kinds, allocates=False)


@pytest.mark.parametrize("units", [1, 2, 3, 100, 1001])
@pytest.mark.parametrize("flag", [False, True])
def test_every_kind_of_argument(all_kinds: Any, units: int, flag: bool) -> None:
    a = np.arange(30).reshape(2, 3, 5) - 2**40
    b, out = np.arange(units).astype(np.uint8), np.zeros((units, 2))
    threads.spread_kernel(
        all_kinds, (a, b, flag, np.uint32(2**32 - 1), -7, np.float32(0.5), 2.0**-30, out), units, fewest=2
    )
    expected = [a[i % 2, i % 3, i % 5] + b[i] * float(2**32 - 1) - 7 + 0.5 * 2.0**-30 for i in range(units)]
    assert out[:, 0].tolist() == expected
    assert out[:, 1].tolist() == [float(flag)] * units


@pytest.mark.parametrize(
    "wrong", [np.zeros((8, 2), np.float32), np.zeros((2, 8)).T, np.zeros(16)], ids=["type", "layout", "dimensions"]
)
def test_other_arrays_are_refused(all_kinds: Any, wrong: np.ndarray) -> None:
    a, b = np.zeros((2, 3, 5), np.int64), np.zeros(8, np.uint8)
    with pytest.raises(TypeError):
        threads.spread_kernel(all_kinds, (a, b, True, np.uint32(1), 1, np.float32(1), 1.0, wrong), 8)


def _own(room: Any, out: Any, low: int, high: int) -> None:
    room[1] = 0
    for i in range(low, high):
        room[0] = i
        for _ in range(1000):
            room[1] += 1
        out[i] = room[0] + room[1]
        room[1] = 0


def test_each_thread_has_its_own_part() -> None:
    kernel = compiled("void(i8[::1], i8[::1], i8, i8)", _own, allocates=False)
    out = np.zeros(300, np.int64)
    threads.spread_kernel(kernel, (Scratch((2,), np.int64), out), 300)
    assert out.tolist() == [i + 1000 for i in range(300)]


def _counted(room: Any, out: Any, low: int, high: int) -> None:
    for i in range(low, high):
        room[0] = 1
        for _ in range(300_000):  # half a millisecond: all threads come before all is done
            room[0] ^= room[0] << 7
            room[0] ^= room[0] >> 9
        out[i] = 1


def test_there_are_rooms_for_all_threads_that_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is work for fewer threads than there are."""
    blocks: list[tuple[np.ndarray, int]] = []

    def longer(size: int) -> np.ndarray:
        block = whole_block(size + 4096)
        block[:] = 0
        blocks.append((block, size))
        return block

    monkeypatch.setattr("asim_lightning.engine.scratch.whole_block", longer)
    kernel = compiled("void(i8[::1], i8[::1], i8, i8)", _counted, allocates=False)
    out = np.zeros(100, np.int64)
    threads.spread_kernel(kernel, (Scratch((1,), np.int64), out), 100, fewest=50)
    assert out.tolist() == [1] * 100
    assert blocks
    assert not any(block[size:].any() for block, size in blocks)


def _waiting(done: Any, spins: Any, most: int, low: int, high: int) -> None:
    for i in range(low, high):
        left = done.shape[0] - high if i == 0 else 0
        while left > 0 and spins[0] < most:
            spins[0] += 1
            left = 0
            for other in range(high, done.shape[0]):
                left += 1 - done[other]
        done[i] = 1


def test_others_do_the_work_of_a_thread_that_is_held_up(way: str) -> None:
    kernel = compiled("void(i8[::1], i8[::1], i8, i8, i8)", _waiting, allocates=False)
    if way != "team":
        pytest.skip("threads have parts of their own")
    # the first share waits for all others, or for seconds
    done, spins, most = np.zeros(48, np.int64), np.zeros(1, np.int64), 50_000_000
    threads.spread_kernel(kernel, (done, spins, most), 48)
    assert done.tolist() == [1] * 48
    assert spins[0] < most


def _shares(firsts: Any, low: int, high: int) -> None:
    for i in range(low, high):
        firsts[i] = low


@pytest.mark.parametrize("units", [1, 2, 7, 64, 1000, 100_000])
def test_shares_shrink(way: str, units: int) -> None:
    if way != "team":
        pytest.skip("threads have parts of their own")
    kernel = compiled("void(i8[::1], i8, i8)", _shares, allocates=False)
    firsts = np.full(units, -1)
    threads.spread_kernel(kernel, (firsts,), units)
    sizes = np.unique(firsts, return_counts=True)[1].tolist()
    assert min(firsts) == 0
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert max(sizes) <= max(1, units // 6) or units < 3
    assert len(sizes) <= 48


def _greedy(out: Any, low: int, high: int) -> None:
    for i in range(low, high):
        out[i] = np.empty(1 << 58)[i]


def test_want_of_memory_is_told() -> None:
    kernel = compiled("void(f8[::1], i8, i8)", _greedy)
    with pytest.raises(MemoryError):
        threads.spread_kernel(kernel, (np.zeros(6),), 6)


def _any_layout(x: Any, out: Any, low: int, high: int) -> None:
    for i in range(low, high):
        out[i] = 2 * x[i]


def test_arrays_of_any_layout() -> None:
    kernel, out = compiled("void(f8[:], f8[::1], i8, i8)", _any_layout, allocates=False), np.zeros(9)
    threads.spread_kernel(kernel, (np.arange(18.0)[::2], out), 9)
    assert out.tolist() == [4.0 * i for i in range(9)]


def test_rooms_lie_apart_at_whole_lines() -> None:
    rooms = Scratch((3, 5)), Scratch((1,), np.uint8), Scratch((0,)), Scratch((2, 8), np.float64)
    (a, one, b, none, wide), bits, step = with_scratch((rooms[0], 7, *rooms[1:]), 4)
    assert one == 7
    assert bits == 0b11101
    assert step == 64 + 64 + 0 + 128
    places = [array.ctypes.data for array in (a, b, none, wide)]
    assert [place - places[0] for place in places] == [0, 64, 128, 128]
    assert all(place % 64 == 0 for place in places)
    assert [(array.shape, array.dtype) for array in (a, b, wide)] == [
        ((3, 5), np.uint32), ((1,), np.uint8), ((2, 8), np.float64)
    ]  # fmt: skip
    assert places[0] + 4 * step <= wide.base.ctypes.data + wide.base.nbytes  # the other threads' too


def test_arguments_without_rooms_are_left_as_they_are() -> None:
    arguments = np.zeros(3), 4
    assert with_scratch(arguments, 2) == (arguments, 0, 0)
