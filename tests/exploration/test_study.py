"""A study asks a method for points, computes each trial once, and loses none, whoever stops it or works next to it."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from asim_lightning.evaluation.results import AxisValue, Kind, Outcomes, Result
from asim_lightning.evaluation.target import Target, costs
from asim_lightning.exploration.axes import SweepAxes
from asim_lightning.exploration.methods import Point
from asim_lightning.exploration.runner import Steps
from asim_lightning.exploration.study import Planned, Study
from asim_lightning.exploration.sweep import Sweep
from tests.exploration.conftest import IMAGES, Make, environment, predictions, rows, without_time

HOLDS = """
import sys
from pathlib import Path
from asim_lightning.evaluation.store import FileLocks

locks = FileLocks(Path(sys.argv[1]))
print(locks.take(sys.argv[2], wait=False), flush=True)
sys.stdin.readline()
"""


class Bisection:
    """Halves the range of an axis: at its low end points keep a target, and at its high end they do not."""

    known = None

    def __init__(self, axis: str, low: float, high: float, halvings: int) -> None:
        self.axis, self.low, self.high, self._left = axis, low, high, halvings

    def ask(self) -> Point | None:
        return {self.axis: (self.low + self.high) / 2} if self._left else None

    def tell(self, point: Point, costs: Sequence[float], excesses: Mapping[str, float]) -> None:
        self._left -= 1
        middle = float(point[self.axis])  # type: ignore[arg-type]
        self.low, self.high = (self.low, middle) if max(excesses.values()) > 0 else (middle, self.high)


class Bisected(Study):
    """What a user writes for a study of his own, here with the records of a sweep."""

    def __init__(self, sweep: Sweep, method: Bisection) -> None:
        super().__init__(sweep.trainer, sweep.model, sweep.data)
        self.records, self.method, self.target = sweep.records, method, Target("accuracy", 0.5)

    def planned(self, point: Point) -> Planned:
        self.records.points.add(point, "simulated")
        return Planned(point, "simulated", (point,), 2, self.records)

    def told(self, planned: Planned, chips: list[list[Outcomes]]) -> list[Result]:
        result = self.records.result(planned.point, planned.kind, chips)
        if planned.kind == "simulated":
            excess = -self.target.margin(result, None)
            self.method.tell(planned.point, costs(result, ["accuracy"]), {str(self.target): excess})
        return [result]


def test_a_method_is_told_each_result_and_proposes_the_next_point(make: Make) -> None:
    said = list[str]()

    def bisected() -> tuple[Bisection, list[Result], int]:
        sweep, method = make(images=60), Bisection("random_noise", 0.0, 1.6, 4)
        reference = Planned({}, "quantized", ({},), 1, sweep.records)
        results = Bisected(sweep, method).evaluate([reference], method, 8, False, said.append)
        return method, results, sweep.evaluations

    method, results, evaluations = bisected()
    assert (len(results), evaluations, said) == (1 + 4, 1 + 4 * 2, [])
    assert [row.trials for row in results] == [1, 2, 2, 2, 2]
    accuracies = {float(row.axes["random_noise"]): row.accuracy for row in results[1:]}  # type: ignore[arg-type]
    assert method.high - method.low == pytest.approx(0.1)
    assert {noise for noise, accuracy in accuracies.items() if accuracy >= 0.5} == {
        noise for noise in accuracies if noise <= method.low
    }
    again, known, evaluations = bisected()
    assert (without_time(tuple(known)), again.low, evaluations) == (without_time(tuple(results)), method.low, 0)
    assert said == ["record   9 of 9 trials are of an earlier run, seconds too"]


@pytest.mark.parametrize("at", [1, 5])
def test_ctrl_c_in_an_evaluation_loses_no_images_and_the_next_run_continues(at: int, make: Make) -> None:
    options: dict[str, Any] = {"trials": 1, "images": 120, "until": Target("width", 0.1)}
    axes = SweepAxes(random_noise=[0.3])  # parts of 25 images until the interval is narrow
    stopped = make(axes, **options)
    stopped.stops_at = at
    with pytest.raises(SystemExit):  # Lightning's after Ctrl-C
        stopped.run()
    resumed, whole = make(axes, **options), make(axes, **options, folder="b")
    assert without_time(resumed.run()) == without_time(whole.run())
    assert len(whole.asked) > 5
    assert stopped.asked[:-1] + resumed.asked == whole.asked
    assert predictions(resumed) == predictions(whole)
    assert rows(resumed.folder) == rows(whole.folder)


def test_a_trial_that_another_process_computes_is_taken_from_it_at_the_end(make: Make) -> None:
    sweep, order = make(), list[tuple[Kind, AxisValue, int]]()
    axes, trial_of = {"random_noise": 0.3}, sweep.records.trial
    key = sweep.records.key(axes, "simulated")
    given = [sys.executable, "-c", HOLDS, str(sweep.folder.parent / "runs.locks"), f"{key}-0"]
    other = subprocess.Popen(given, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "True\n"

    def counted(axes: Mapping[str, AxisValue], kind: Kind, trial: int) -> Steps:
        order.append((kind, axes.get("random_noise"), trial))
        if order[-1] == ("simulated", 1.0, 1):  # the last, so that the other process is finished now
            index = sweep.data.test_indices().sort().values.numpy()  # type: ignore[attr-defined]
            sweep.records.store.add(key, 0, Outcomes(index, np.ones(IMAGES, np.float32), 1.0, "theirs"))
            other.communicate("\n")
        return trial_of(axes, kind, trial)

    sweep.records.trial = counted  # type: ignore[method-assign]
    results = sweep.run()
    assert order == [
        ("float", None, 0), ("quantized", None, 0), ("simulated", 0.3, 1), ("simulated", 1.0, 0), ("simulated", 1.0, 1)
    ]  # fmt: skip
    assert results[2].right[0] == IMAGES
    assert "theirs" in results[2].algorithm
