"""A point's result depends on the point alone, and the network is left as it was."""

from itertools import product
from statistics import fmean

import pytest

from asim_lightning import Rule
from asim_lightning.evaluation.chip_yield import thresholds_of
from asim_lightning.evaluation.interval import NO_DIFFERENCE
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.axes import grid_of
from asim_lightning.exploration.publish import publish
from asim_lightning.surgery import macro_layers
from tests.conftest import rows_of
from tests.exploration.conftest import IMAGES, MACRO, Make, grid, predictions, without_time


def test_several_axes_give_every_combination(make: Make) -> None:
    results = make(grid(adc_bits=[6, None], random_noise=[0.0, 0.2])).run()
    points = [{"adc_bits": bits, "random_noise": noise} for bits, noise in product((6, None), (0, 0.2))]
    assert [r.kind for r in results] == ["float", "quantized", *["simulated"] * 4]
    assert [r.axes for r in results] == [{}, {}, *points]
    assert [r.trials for r in results] == [1, 1, 1, 2, 1, 2]  # what has no noise gives the same each time
    assert all(r.images == IMAGES and r.low <= r.accuracy <= r.high for r in results)
    assert results[4].accuracy == results[1].accuracy  # an ideal converter is the quantised network
    assert [row.difference == NO_DIFFERENCE for row in results[2:]] == [False, False, True, False]


def test_trials_differ_and_batches_do_not_matter(make: Make) -> None:
    axes = grid(random_noise=[1.0])
    whole, parts = make(axes, batch=IMAGES), make(axes, batch=5, folder="b")
    whole.run()
    parts.run()
    assert predictions(whole) == predictions(parts)
    (second,) = (answers for (_, trial), answers in predictions(whole).items() if trial == 1)
    assert second not in [answers for (_, trial), answers in predictions(whole).items() if trial == 0]


def test_a_point_is_what_asim_test_measures_there_and_rules_win_over_axes(make: Make) -> None:
    rules = [Rule("fc", {"adc_bits": 8}), Rule("layer1.*", {"random_noise": 0})]
    sweep = make(grid(adc_bits=[3], random_noise=[1.0]), trials=1, rules=rules)
    layers = macro_layers(sweep.work.model.backbone)
    before = {name: layer.assignment for name, layer in layers.items()}
    accuracy = sweep.run()[-1].accuracy
    assert {name: layer.assignment for name, layer in layers.items()} == before
    alone = make(macro=MACRO.with_fields(adc_bits=3, random_noise=1.0), rules=rules)
    measured = alone.work.trainer.test(alone.work.model, datamodule=alone.work.data, verbose=False)[0]["test/acc"]
    assert measured == pytest.approx(accuracy)
    without = make(grid(adc_bits=[3], random_noise=[1.0]), trials=1, folder="b")
    without.run()
    assert sorted(predictions(without).values()) != sorted(predictions(sweep).values())


CHIPS = MACRO.with_fields(static={"offset": "0.3 lsb"})
EASY, HARD = ({"until": f"yield {text} %"} for text in ("0.3 at 1", "0.9 at 100"))
QUIET = grid(random_noise=[0.0])


def test_chips_are_inside_their_point_and_each_differs(make: Make) -> None:
    sweep = make(grid(random_noise=[0.0, 1.0]), macro=CHIPS, settings={"chips": 4})
    run = sweep.run()
    assert [row.axes for row in run] == [{}, {}, {"random_noise": 0}, {"random_noise": 1}]
    points = [(row.axes["random_noise"], row.axes["chip"]) for row in run.rows[2:]]
    assert points == [(noise, chip) for noise in (0, 1) for chip in range(4)]
    assert len({tuple(each) for each in predictions(sweep).values()}) >= 6
    assert [(each.axes, each.chips, each.reads) for each in run.yields] == [
        ({"random_noise": 0}, (0, 1, 2, 3), 1),
        ({"random_noise": 1}, (0, 1, 2, 3), 2),
    ]
    assert [each.right.tolist() for each in run.yields] == [
        [list(row.right) for row in run.rows[2:] if row.axes["random_noise"] == noise] for noise in (0, 1)
    ]
    assert [row.accuracy for row in run[2:]] == [fmean(chip.accuracy for chip in row.chips) for row in run[2:]]


def test_chips_of_other_calls_stay_in_the_table(make: Make) -> None:
    def chips(*numbers: int, trials: int = 1) -> list[tuple[str, str]]:
        sweep = make(grid(chip=list(numbers), random_noise=[1.0]), trials=trials, macro=CHIPS)
        found = sweep.run()
        assert [row.axes["chip"] for row in found.rows[2:]] == list(numbers)
        return [(row["chip"], row["trials"]) for row in rows_of(sweep.folder / "results.csv") if row["chip"]]

    assert chips(0, 1, trials=2) == [("0", "2"), ("1", "2")]
    assert chips(1, 4) == [("0", "2"), ("1", "2"), ("4", "1")]
    assert sorted(chips(0, 1, 2, 3, 5)) == [("0", "2"), ("1", "2"), ("2", "1"), ("3", "1"), ("4", "1"), ("5", "1")]


def test_chips_of_an_axis_and_a_target_that_ends_images(make: Make) -> None:
    several = make(grid(chip=[3, 5]), trials=1, macro=CHIPS).run()
    assert [row.axes for row in several.rows[2:]] == [{"chip": 3}, {"chip": 5}]
    assert not several.yields
    ended = make(grid(chip=[3, 5]), trials=1, macro=CHIPS, settings={"until": "accuracy 50 %"}, folder="b").run()
    assert [(row.axes, row.chips) for row in ended[2:]] == [({"chip": 3}, ()), ({"chip": 5}, ())]


def test_an_answer_is_the_same_from_the_record_and_with_chips_after_it(make: Make) -> None:
    macro = MACRO.with_fields(static={"offset": "0.1 lsb"})
    first = make(QUIET, macro=macro, settings={"chips": 20, **EASY})
    results = first.run()
    count = len(results[2].chips)
    assert count == 4  # all good
    make(QUIET, macro=macro, settings={"chips": 10}).run()  # more than were needed
    again = make(QUIET, macro=macro, settings={"chips": 20, **EASY})
    said: list[str] = []
    assert without_time(again.run(said.append)) == without_time(results)
    assert again.evaluations == 0
    assert said == ["Reusing 12 stored results; at most 10 to compute."]
    text = publish(again.run(), again.made, "name")
    assert f"after {count} chips with {count} good on these {IMAGES} images" in text
    assert "Clopper" not in text + "".join((again.folder / "yield.csv").read_text())


def test_a_target_counts_all_reads(make: Make) -> None:
    sweep = make(grid(random_noise=[1.0]), macro=CHIPS, trials=3, settings={"chips": 2, **HARD})
    assert [each.reads for each in sweep.run().yields] == [3]
    assert sweep.evaluations == 2 + 2 * 3


def test_yields_are_a_picture_and_a_table(make: Make) -> None:
    axes = grid(static=[{"offset": "0.3 lsb"}, {"offset": "9 lsb"}])
    sweep = make(axes, images=4, settings={"chips": 3, "thresholds": [50, 25]})
    text = publish(sweep.run(), sweep.made, "name")
    rows = rows_of(sweep.folder / "yield.csv")
    expected = product(('{"offset": "0.3 lsb"}', '{"offset": "9 lsb"}'), ("0.5", "0.25"), "3")
    assert [(row["static"], row["accuracy"], row["chips"]) for row in rows] == list(expected)
    assert {row["bounds"] for row in rows} == {"Clopper-Pearson"}
    assert (sweep.folder / "yield.png").read_bytes().startswith(b"\x89PNG")
    assert f"picture  {sweep.folder / 'yield.png'}" in text


def test_chips_that_are_none_are_refused() -> None:
    for count in (1, 0, 10_001):
        with pytest.raises(ValueError, match=f"`chips` must be 2..10000, got {count}"):
            grid_of({}, count)
    with pytest.raises(ValueError, match=r"`chips` 3 takes chips 0, 1, 2, ...; leave out `axes.chip`"):
        grid_of({"chip": [1]}, 3)
    with pytest.raises(ValueError, match=r"`until` 'yield 0.3 at 1 %' takes chips"):
        grid_of({"chip": [1]}, None, Target.read(EASY["until"], "`until`"))
    with pytest.raises(ValueError, match="ends the images of a chip, so `chips` must be null, got 3"):
        grid_of({}, 3, Target.read("accuracy 50 %", "`until`"))
    assert grid_of({}, None, Target.read(EASY["until"], "`until`")).axes == {"chip": list(range(500))}


def test_thresholds_are_percents_of_chips() -> None:
    assert thresholds_of(None, False) == []
    assert thresholds_of([90, 0.5], True) == [0.9, 0.005]
    for wrong in ([], [0], [101], [float("nan")]):
        with pytest.raises(ValueError, match="`thresholds` must be a list of percents above 0, 100 at most"):
            thresholds_of(wrong, True)
    with pytest.raises(ValueError, match="need `chips` or `until`"):
        thresholds_of([90], False)
