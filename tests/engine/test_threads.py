"""Work is shared out whole, on torch's threads or on a pool's."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from asim_lightning.engine import openmp, threads


@pytest.fixture(params=["openmp", "pool"], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pool":
        monkeypatch.setattr(threads, "openmp", lambda: None)
    elif openmp.openmp() is None:
        pytest.skip("torch's OpenMP library is not to be found here")
    return str(request.param)


@pytest.fixture
def three_threads(set_threads: Callable[[int], None]) -> None:
    set_threads(3)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("units", [1, 2, 3, 100])
def test_ranges_cover_all_units_once(units: int) -> None:
    ranges: list[tuple[int, int]] = []
    threads.spread(lambda low, high: ranges.append((low, high)), units)
    assert len(ranges) == min(units, 3)
    assert sorted(unit for low, high in ranges for unit in range(low, high)) == [*range(units)]


@pytest.mark.usefixtures("three_threads")
def test_ranges_are_worked_on_at_once() -> None:
    meeting = threading.Barrier(3, timeout=20)
    threads.spread(lambda low, high: meeting.wait() and None, 3)


@pytest.mark.usefixtures("three_threads")
def test_few_units_take_few_threads() -> None:
    ranges: list[tuple[int, int]] = []
    threads.spread(lambda low, high: ranges.append((low, high)), 10, fewest=5)
    assert sorted(ranges) == [(0, 5), (5, 10)]


@pytest.mark.usefixtures("three_threads")
def test_an_error_of_any_thread_is_raised_and_the_next_call_works() -> None:
    def wrong(low: int, high: int) -> None:
        if high == 9:
            raise ValueError("unit 8")

    with pytest.raises(ValueError, match=r"^unit 8$"):
        threads.spread(wrong, 9)
    test_ranges_cover_all_units_once(9)


@pytest.mark.usefixtures("three_threads")
def test_two_threads_may_share_out_work_at_once() -> None:
    found: list[int] = []

    def call() -> None:
        for _ in range(50):
            ranges: list[tuple[int, int]] = []
            threads.spread(lambda low, high: ranges.append((low, high)), 7)
            found.append(sum(high - low for low, high in ranges))

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert found == [7] * 100


def test_a_library_without_the_entry_points_is_refused() -> None:
    with pytest.raises(AttributeError):
        openmp.OpenMP(object())


def test_a_team_that_did_not_finish_is_an_interruption() -> None:
    class Idle:
        """A library whose threads never call, as after an interruption at the entry of a call."""

        omp_get_thread_num = staticmethod(lambda: 0)
        omp_get_num_threads = staticmethod(lambda: 2)

        @staticmethod
        def GOMP_parallel(body: Any, *_: Any) -> None:
            """Call for one thread of two."""
            body(None)

    with pytest.raises(KeyboardInterrupt):
        openmp.OpenMP(Idle()).run(lambda number, size: None, 2)
