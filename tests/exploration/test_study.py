"""A study asks a method for points, computes each trial once, and loses none, whoever stops it or works next to it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning import MacroConfig, Plan, Results, study
from asim_lightning.evaluation.binomial import hypergeometric_interval
from asim_lightning.evaluation.run import read_run
from asim_lightning.exploration.publish import publish
from asim_lightning.exploration.running import time_left
from tests.exploration.conftest import (
    Make,
    MakeSearch,
    grid,
    predictions,
    rows,
    without_time,
)


def test_ctrl_c_in_an_evaluation_loses_no_images_and_the_next_run_continues(make: Make) -> None:
    options: dict[str, Any] = {"trials": 1, "images": 120, "settings": {"until": "accuracy within 10 %"}}
    axes = grid(random_noise=[0.3])  # parts of 25 images until the interval is narrow
    whole = make(axes, **options)
    expected = without_time(whole.run())
    assert len(whole.asked) > 5
    stopped = make(axes, **options, folder="b")
    stopped.stops_at = 5
    with pytest.raises(SystemExit):  # Lightning's after Ctrl-C
        stopped.run()
    resumed = make(axes, **options, folder="b")
    assert without_time(resumed.run()) == expected
    assert stopped.asked[:-1] + resumed.asked == whole.asked
    assert predictions(resumed) == predictions(whole)
    assert rows(resumed.folder) == rows(whole.folder)


AXES = grid(random_noise=[0, 0.2])
MACRO = MacroConfig()
UNTIL = {"until": "accuracy 50 %"}


def test_points_end_where_they_are_answered(make: Make) -> None:
    sweep = make(AXES, trials=1, images=120, macro=MACRO, settings=UNTIL, batch=25)
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
    assert "Images ended by 'accuracy 50 %'" in publish(results, sweep.made, "tiny")
    again = make(AXES, trials=1, images=120, macro=MACRO, settings=UNTIL, batch=60)
    assert without_time(again.run()) == without_time(results)
    assert again.evaluations == 0


def test_what_it_does_not_go_with(make: Make) -> None:
    with pytest.raises(ValueError, match=r"`trials` must be 1 with `until` 'accuracy 50 %', .*got 2"):
        make(AXES, trials=2, settings=UNTIL)
    with pytest.raises(ValueError, match=r"^'accuracy 50 %' ends images early only with a data"):
        make(AXES, trials=1, settings=UNTIL, trainer_options={"limit_test_batches": 1})


@pytest.mark.parametrize(
    ("seconds", "left", "workers", "expected"),
    [
        ([], 100, 1, ""),
        ([30.0], 100, 1, ""),  # kernels may have been compiled in it
        ([30.0, 2.0], 100, 1, "about 3 min for 100 more trials, as the last took 2.0 s"),
        ([90.0, 4.0, 2.0], 36_000, 1, "about 13.3 days for 36,000 more trials, as the last took 2.0 s"),
        ([30.0, 0.1], 100, 1, ""),  # not worth a line
        ([9.0, 100.0], 6, 3, "about 3 min for 6 more trials, by 3 workers, as the last took 100.0 s"),
        ([9.0, 25.0], 6, 3, ""),
    ],
)
def test_the_time_that_is_left(seconds: list[float], left: int, workers: int, expected: str) -> None:
    assert time_left(seconds, left, workers) == expected
    assert time_left(seconds, left, workers, fewest=4) == ""


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, 2),  # one of 4 points is of the sweep
        ({"reads": 2}, 6),
        ({"method": "random", "trials": 3, "seed": 1}, 1),  # the sweep's among them
    ],
)
def test_the_time_that_is_left_is_of_trials_that_no_record_has(
    options: dict[str, Any], left: int, search: MakeSearch, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stated(seconds: list[float], left: int, workers: int, fewest: int) -> str:
        return f"{left} after {len(seconds)} by {workers}" if all(seconds) and fewest == 1 else ""

    monkeypatch.setattr("asim_lightning.exploration.running.time_left", stated)
    make(grid(adc_bits=[6], random_noise=[0.3]), trials=1, batch=8).run()
    said: list[str] = []
    search(**options).run(said.append, progress=False)
    assert said[1:] == [f"time     {left} after 1 by 1"]  # after what is of the sweep


def test_rows_of_an_edited_file_are_left_out(tmp_path: Path) -> None:
    network, data = torch.nn.Sequential(torch.nn.Linear(4, 2)), (torch.rand(20, 4), torch.arange(20) % 2)
    edited, kept = (str(tmp_path / name) for name in ("edited.csv", "kept.csv"))

    def written(file: str, one: float) -> None:
        codes = (0, one, 2, 3)
        lines = (f"{count},{code},{0.5 * (code % 1 > 0)}\n" for count, code in enumerate(codes))
        Path(file).write_text("count,mean,std\n" + "".join(lines))

    def studied(*vote_levels: int) -> Results:
        axes = {"vote_levels": vote_levels, "column_args": [{"file": edited}, {"file": kept}]}
        return study(network, data, axes=axes, plan=plan, folder=tmp_path / "runs")

    def listed(folder: Path) -> list[tuple[Any, ...]]:
        points = [each for each in read_run(folder).results if each.kind == "simulated"]
        return [(each.axes["vote_levels"], each.axes["column_args"]["file"]) for each in points]  # type: ignore[index]

    for file in (edited, kept):
        written(file, 1)
    plan = Plan(MacroConfig(rows=3, adc_bits=2, column="measured", column_args={"file": kept}))
    folder = studied(0, 1).folder
    written(edited, 1.5)
    assert "left out 2 rows of earlier commands" in str(again := studied(2))
    assert again.folder == folder
    assert listed(folder) == [(0, kept), (1, kept), (2, edited), (2, kept)]
    written(edited, 1)  # trials of the first content are still in the store
    assert "left out 1 row " in str(studied(0))
    assert listed(folder) == [(0, kept), (1, kept), (2, kept), (0, edited)]
