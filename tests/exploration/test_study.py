"""A study asks a method for points, computes each trial once, and loses none, whoever stops it or works next to it."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asim_lightning import MacroConfig
from asim_lightning.evaluation.binomial import hypergeometric_interval
from asim_lightning.evaluation.results import AxisValue, Kind, Outcomes, Result
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.methods import Method, Point, replayed
from asim_lightning.exploration.publish import publish
from asim_lightning.exploration.runner import Steps
from asim_lightning.exploration.study import Planned, Study
from asim_lightning.exploration.sweep import Sweep
from tests.exploration.conftest import (
    IMAGES,
    Make,
    environment,
    grid,
    kill_at,
    predictions,
    rows,
    stored,
    without_time,
    write_recipe,
)

HOLDS = """
import sys
from pathlib import Path
from asim_lightning.evaluation.store import FileLocks

locks = FileLocks(Path(sys.argv[1]))
print(locks.take(sys.argv[2], wait=False), flush=True)
sys.stdin.readline()
"""


def halved(axis: str, low: float, high: float, halvings: int) -> Method[tuple[float, float]]:
    """Halve the range of an axis: at its low end points keep a target, and at its high end they do not."""
    for _ in range(halvings):
        middle = (low + high) / 2
        result = yield {axis: middle}
        low, high = (low, middle) if result.accuracy < 0.5 else (middle, high)
    return low, high


class Bisected(Study):
    """What a user writes for a study of his own, here with the records of a sweep."""

    def __init__(self, sweep: Sweep) -> None:
        super().__init__(sweep.work)
        self.records = sweep.records

    def planned(self, point: Point) -> Planned:
        self.records.points.add(point, "simulated")
        return Planned(point, "simulated", (point,), 2, self.records)


def test_a_method_is_told_each_result_and_proposes_the_next_point(make: Make) -> None:
    said = list[str]()

    def bisected() -> tuple[float, float, list[Result], int]:
        sweep = make(images=60)
        results = Bisected(sweep).evaluate([], halved("random_noise", 0.0, 1.6, 4), 8, False, said.append)
        return *replayed(halved("random_noise", 0.0, 1.6, 4), results), results, sweep.evaluations

    low, high, results, evaluations = bisected()
    assert (len(results), evaluations, said) == (2 + 4, 2 + 4 * 2, [])
    assert [row.trials for row in results] == [1, 1, 2, 2, 2, 2]
    accuracies = {float(row.axes["random_noise"]): row.accuracy for row in results[2:]}  # type: ignore[arg-type]
    assert high - low == pytest.approx(0.1)
    assert {noise for noise, accuracy in accuracies.items() if accuracy >= 0.5} == {
        noise for noise in accuracies if noise <= low
    }
    *again, known, evaluations = bisected()
    assert (without_time(tuple(known)), again, evaluations) == (without_time(tuple(results)), [low, high], 0)
    with pytest.raises(RuntimeError, match="of all points"):
        replayed(halved("random_noise", 0.0, 1.6, 4), results[:-1])
    assert said == ["record   10 of 10 trials are of an earlier run, seconds too"]


def test_ctrl_c_in_an_evaluation_loses_no_images_and_the_next_run_continues(make: Make) -> None:
    options: dict[str, Any] = {"trials": 1, "images": 120, "until": Target("width", 0.1)}
    axes = grid(random_noise=[0.3])  # parts of 25 images until the interval is narrow
    whole = make(axes, **options)
    expected = without_time(whole.run())
    assert len(whole.asked) > 5
    for at in (1, 5):
        stopped = make(axes, **options, folder=f"at {at}")
        stopped.stops_at = at
        with pytest.raises(SystemExit):  # Lightning's after Ctrl-C
            stopped.run()
        resumed = make(axes, **options, folder=f"at {at}")
        assert without_time(resumed.run()) == expected
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


AXES = grid(random_noise=[0, 0.2])
MACRO = MacroConfig()
TARGET = Target("accuracy", 0.5)


def test_points_end_where_they_are_answered(make: Make) -> None:
    sweep = make(AXES, trials=1, images=120, macro=MACRO, until=TARGET, batch=25)
    results = sweep.run()
    assert [row.images for row in results[:2]] == [120, 120]
    (sure, chance) = results[2:]
    assert sure.images < 120
    assert chance.images < 120
    for row in (sure, chance):
        found = hypergeometric_interval(sum(row.right), row.images, 120)
        assert (row.low, row.high) == (found.low, found.high)
    assert sure.low >= 0.5
    assert chance.high < 0.5
    assert "Images ended by 'accuracy 50 %'" in publish(results, sweep, "tiny", 10)
    again = make(AXES, trials=1, images=120, macro=MACRO, until=TARGET, batch=60)
    assert without_time(again.run()) == without_time(results)
    assert again.evaluations == 0


def test_what_it_does_not_go_with(make: Make) -> None:
    with pytest.raises(ValueError, match=r"`trials` must be 1 with `until` 'accuracy 50 %', .*got 2"):
        make(AXES, trials=2, until=TARGET)
    with pytest.raises(ValueError, match=r"^'accuracy 50 %' ends images early only with a data"):
        make(AXES, trials=1, until=TARGET, trainer_options={"limit_test_batches": 1})


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A sweep of 2 + 2 x 3 trials as a program."""
    trainer = {"accelerator": "cpu", "default_root_dir": str(tmp_path / "runs")}
    write_recipe(tmp_path, 100, trainer=trainer, axes={"random_noise": [0.3, 1.0]}, trials=3)
    return [sys.executable, "-m", "asim_lightning", "sweep", "-c", str(tmp_path / "tiny.yaml")]


def said_by(command: list[str], *arguments: object) -> str:
    """What a command prints, in a process of its own, as modules of the tests would be code of the user's."""
    given = [*command, *map(str, arguments)]
    done = subprocess.run(given, env=environment(), capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_9_at_five_moments_loses_no_point_and_doubles_none(command: list[str], tmp_path: Path) -> None:
    grid = [*command, "--axes.random_noise", "[0.3, 0.5, 0.7, 1.0]", "--data.init_args.test_images", "60"]

    kill_at((1, 3, 6, 9, 12), grid, tmp_path)
    before = stored(tmp_path)
    said_by(grid)
    assert before.items() <= stored(tmp_path).items()
    said_by(grid, "--trainer.default_root_dir", tmp_path / "other")
    (folder,), (whole,) = (list(tmp_path.glob(f"{root}/tiny/sweep-*")) for root in ("runs", "other"))
    assert rows(folder) == rows(whole)
    assert len(rows(folder)) == 6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_that_share_the_images_stop_at_the_same_chip(command: list[str], tmp_path: Path) -> None:
    given = ["--data.init_args.test_images", "41", "--axes.random_noise", "[0.3]", "--trials", "1"]
    given += ["--model.plan.macro.column", "current", "--model.plan.macro.column_args.cell_sigma", "20"]
    found = []
    for devices, strategy in (("1", "auto"), ("2", "ddp"), ("2", "ddp_fork")):
        options = ["--trainer.devices", devices, "--trainer.strategy", strategy, "--until", "yield 0.3 at 10 %"]
        said_by(command, *given, *options, "--trainer.default_root_dir", tmp_path / strategy)
        (table,) = (tmp_path / strategy).glob("tiny/sweep-*/yield.csv")
        found.append(table.read_text())
    assert found[0] == found[1] == found[2]
