"""A question on the accuracy ends the images of each point, the same whatever the records have."""

from pathlib import Path

import numpy as np
import pytest

from asim_lightning import MacroConfig
from asim_lightning.evaluation.accuracy_question import AccuracyQuestion, hypergeometric_interval
from asim_lightning.exploration.axes import SweepAxes
from asim_lightning.exploration.publish import publish
from asim_lightning.exploration.recorded import RecordedPoints
from tests.exploration.conftest import Make, MakeSearch, evaluations, without_time

AXES = SweepAxes(random_noise=[0, 0.2])
MACRO = MacroConfig()
QUESTION = AccuracyQuestion(share=0.5)


def test_points_end_where_they_are_answered(make: Make) -> None:
    sweep = make(AXES, trials=1, images=120, macro=MACRO, until=QUESTION, batch=25)
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
    assert "Images ended by the question 'accuracy 50 %'" in publish(results, sweep, "tiny", 10)
    again = make(AXES, trials=1, images=120, macro=MACRO, until=QUESTION, batch=7)
    assert without_time(again.run()) == without_time(results)
    assert evaluations(again) == 0


def test_the_answer_does_not_depend_on_what_was_there(make: Make) -> None:
    whole = make(AXES, trials=1, images=120, macro=MACRO)
    everything = whole.run()
    stopped = make(AXES, trials=1, images=120, macro=MACRO, until=QUESTION)
    first = stopped.run()
    assert evaluations(stopped) == 0
    alone = make(AXES, trials=1, images=120, macro=MACRO, until=QUESTION, folder="b")
    assert without_time(alone.run()) == without_time(first)
    assert whole.folder != stopped.folder
    rest = make(AXES, trials=1, images=120, macro=MACRO, folder="b")
    assert without_time(rest.run()) == without_time(everything)
    for row in everything:
        mine, its = (each.record.outcomes(row.axes, row.kind, 0) for each in (rest, whole))
        np.testing.assert_array_equal(mine.prediction, its.prediction)


def test_what_it_does_not_go_with(make: Make) -> None:
    with pytest.raises(ValueError, match=r"`trials` must be 1 with `until` 'accuracy 50 %', .*got 2"):
        make(AXES, trials=2, until=QUESTION)
    with pytest.raises(ValueError, match=r"`until` 'accuracy 50 %' needs a data module of asim_lightning.data and all"):
        make(AXES, trials=1, until=QUESTION, trainer_options={"limit_test_batches": 1})


def test_a_search_names_its_own_setting(search: MakeSearch, tmp_path: Path) -> None:
    one = search()
    one.trainer.limit_test_batches = 1
    points = RecordedPoints(one.trainer, one.model, one.data, [], tmp_path, "search", QUESTION)
    with pytest.raises(ValueError, match=r"^`search.until` 'accuracy 50 %' needs a data module of asim_lightning.data"):
        points.open()
