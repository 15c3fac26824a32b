import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from asim_lightning.exploration.estimate import time_left
from asim_lightning.exploration.runner import Evaluation, Run, Steps, TrainerRunner, proceed
from asim_lightning.exploration.search import Search
from tests.exploration.conftest import Make, MakeSearch, grid


@pytest.mark.parametrize(
    ("seconds", "left", "workers", "expected"),
    [
        ([], 100, 1, ""),
        ([30.0], 100, 1, ""),  # kernels may have been compiled in it
        ([30.0, 2.0], 100, 1, "about 3 min for 100 more trials, as the last took 2.0 s"),
        ([30.0, 2.0, 4.0], 36_000, 1, "about 30.0 h for 36,000 more trials, as the last took 4.0 s"),
        ([90.0], 36_000, 1, "about 37.5 days for 36,000 more trials, as the last took 90.0 s"),
        ([30.0, 0.1], 100, 1, ""),  # not worth a line
        ([9.0, 100.0], 6, 3, "about 3 min for 6 more trials, by 3 workers, as the last took 100.0 s"),
        ([9.0, 25.0], 6, 3, ""),
    ],
)
def test_the_time_that_is_left(seconds: list[float], left: int, workers: int, expected: str) -> None:
    assert time_left(seconds, left, workers) == expected


class Slow(TrainerRunner):
    """Says of each evaluation that it took 100 s."""

    def work(self, work: Callable[[Run], Any], advance: Callable[[], None] = lambda: None) -> Any:
        def slow(run: Run) -> Any:
            def slowed(steps: Steps) -> Steps:
                asked = proceed(steps, None)
                while isinstance(asked, Evaluation):
                    asked = proceed(steps, replace((yield asked), seconds=100.0))
                return asked

            return work(lambda trials: run((key, slowed(steps)) for key, steps in trials))

        return super().work(slow, advance)


def said_by(search: Search, runner: type[Slow] = Slow) -> list[str]:
    """The lines that a slow search says."""
    said: list[str] = []
    search.runner = runner(search.trainer, search.model, search.data)
    search.run(said.append, progress=False)
    return said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # the first trial tells, as it takes more than a minute; one of 4 points is of the sweep
        ({}, "time     about 3 min for 2 more trials, as the last took 100.0 s"),
        ({"reads": 2}, "time     about 10 min for 6 more trials, as the last took 100.0 s"),
        (
            {"method": "random", "trials": 3, "seed": 1},  # the sweep's among them
            "time     about 100 s for 1 more trial, as the last took 100.0 s",
        ),
    ],
)
def test_the_time_that_is_left_is_of_trials_that_no_record_has(
    options: dict[str, Any], expected: str, search: MakeSearch, make: Make
) -> None:
    make(grid(adc_bits=[6], random_noise=[0.3]), trials=1, batch=8).run()
    assert said_by(search(**options))[1:] == [expected]  # after what is of the sweep


def test_trials_that_another_command_computes_meanwhile_are_not_left(search: MakeSearch, make: Make) -> None:
    class Beside(Slow):
        def work(self, work: Any, advance: Any) -> Any:
            make(grid(adc_bits=[6], random_noise=[0.3, 1.0]), trials=1, batch=8).run()
            return super().work(work, advance)

    assert said_by(search(), Beside) == ["time     about 100 s for 1 more trial, as the last took 100.0 s"]


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs optuna")
def test_the_time_that_is_left_is_at_most_so_long_where_points_follow_from_outcomes(search: MakeSearch) -> None:
    said = said_by(search(method="optuna", trials=3))
    assert said == ["time     at most about 3 min for 2 more trials, as the last took 100.0 s"]
