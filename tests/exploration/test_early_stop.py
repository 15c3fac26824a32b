"""A target on the accuracy ends the images of each point, the same whatever the records have."""

import numpy as np
import pytest

from asim_lightning import MacroConfig
from asim_lightning.evaluation.binomial import hypergeometric_interval
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.axes import SweepAxes
from asim_lightning.exploration.publish import publish
from tests.exploration.conftest import Make, without_time

AXES = SweepAxes(random_noise=[0, 0.2])
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
    again = make(AXES, trials=1, images=120, macro=MACRO, until=TARGET, batch=7)
    assert without_time(again.run()) == without_time(results)
    assert again.evaluations == 0


def test_the_answer_does_not_depend_on_what_was_there(make: Make) -> None:
    whole = make(AXES, trials=1, images=120, macro=MACRO)
    everything = whole.run()
    stopped = make(AXES, trials=1, images=120, macro=MACRO, until=TARGET)
    first = stopped.run()
    assert stopped.evaluations == 0
    alone = make(AXES, trials=1, images=120, macro=MACRO, until=TARGET, folder="b")
    assert without_time(alone.run()) == without_time(first)
    assert whole.folder != stopped.folder
    rest = make(AXES, trials=1, images=120, macro=MACRO, folder="b")
    assert without_time(rest.run()) == without_time(everything)
    for row in everything:
        mine, its = (each.records.outcomes(row.axes, row.kind, 0) for each in (rest, whole))
        np.testing.assert_array_equal(mine.prediction, its.prediction)


def test_what_it_does_not_go_with(make: Make) -> None:
    with pytest.raises(ValueError, match=r"`trials` must be 1 with `until` 'accuracy 50 %', .*got 2"):
        make(AXES, trials=2, until=TARGET)
    with pytest.raises(ValueError, match=r"^'accuracy 50 %' ends images early only with a data"):
        make(AXES, trials=1, until=TARGET, trainer_options={"limit_test_batches": 1})
