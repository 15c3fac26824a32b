"""Accuracy along an axis: lines, those that are drawn of many, intervals, references and units."""

from dataclasses import replace

import pytest

from asim_lightning.evaluation.results import Result
from asim_lightning.report.accuracy import accuracy_picture, drawn_lines, epoch_rows
from tests.report.runs import REFERENCES, simulated


def rows_for(axis, values):
    return [*REFERENCES, *(simulated(0.9 - 0.01 * place, **{axis: value}) for place, value in enumerate(values))]


def test_values_intervals_and_references():
    rows = rows_for("random_noise", (0.2, 0, 0.05, 0.1))
    picture = accuracy_picture(rows, "random_noise", "Title", num_classes=10)
    (line,) = picture.series
    labels = (picture.title, picture.x.label, picture.y.label)
    assert labels == ("Title", "random noise (% of full scale)", "accuracy (%)")
    assert list(line.x) == [0, 0.05, 0.1, 0.2]
    assert list(line.y) == pytest.approx([89, 88, 87, 90])
    assert list(line.low) == pytest.approx([87, 86, 85, 88])
    assert list(line.high) == pytest.approx([90, 89, 88, 91])
    assert line.texts[0] == "random noise 0 %\n89.00 % [87.00, 90.00]\n2,000 images in 5 reads"
    assert [(mark.name, mark.at) for mark in picture.marks] == [("float 91.25 %", 91.25), ("quantized 92.00 %", 92)]
    assert picture.numbers[0] == ["line", "random_noise", "accuracy", "low", "high"]
    assert picture.numbers[1] == ["simulated", "0", pytest.approx(0.89), pytest.approx(0.87), pytest.approx(0.9)]
    assert [row[0] for row in picture.numbers[-2:]] == ["float", "quantized"]
    assert picture.y.ends[0] > 80  # chance is far below, and would press the points together


def test_only_import_paths_are_shortened():
    paths = [{"column": name} for name in ("charge", "my.own.Bent")]
    arguments = [{"k": 0.4, "gain": gain} for gain in (1.05, 1.1)]
    for axis, values, texts in (
        ("column", [each["column"] for each in paths], ["charge", "Bent"]),
        ("column_args", arguments, ["k 0.4, gain 1.05", "k 0.4, gain 1.1"]),
    ):
        assert [*accuracy_picture(rows_for(axis, values), axis).x.names] == texts


def test_points_of_different_numbers_of_images_are_said():
    rows = rows_for("random_noise", (0, 0.1))
    assert accuracy_picture(rows, "random_noise").note == "bars: 95 % intervals"
    few = [*rows[:-1], replace(rows[-1], images=4)]
    assert accuracy_picture(few, "random_noise").note == "4 to 2,000 images a point; bars: 95 % intervals"


def test_chance_is_marked_if_accuracies_come_near():
    rows = [REFERENCES[0], simulated(random_noise=0), simulated(0.2, random_noise=1)]
    picture = accuracy_picture(rows, "random_noise", num_classes=10)
    assert picture.marks[-1].name == "chance 10 %"
    assert picture.y.ends[0] < 10


def test_equal_references_are_one_line():
    rows = [REFERENCES[0], replace(REFERENCES[0], kind="quantized"), simulated(random_noise=0)]
    assert [mark.name for mark in accuracy_picture(rows, "random_noise").marks] == ["float and quantized 91.25 %"]


def test_noise_in_lsb_on_top_if_the_resolution_is_known():
    rows = rows_for("random_noise", (0, 0.1, 0.2))
    assert accuracy_picture(rows, "random_noise", adc_bits=8).x.above == ("noise in LSB of the 8-bit ADC", 2.55)
    same = [simulated(random_noise=0, adc_bits=6), simulated(random_noise=100, adc_bits=6)]
    assert accuracy_picture(same, "random_noise").x.above[1] == pytest.approx(0.63)
    mixed = [*same, simulated(random_noise=0, adc_bits=8)]
    in_lsb, ideal = [simulated(random_noise="0.3 lsb")], [simulated(random_noise=0, adc_bits=None)]
    for other in (mixed, in_lsb, ideal):
        assert accuracy_picture(other, "random_noise", adc_bits=8 if other is not mixed else None).x.above is None


def test_noise_in_several_units_and_names_stand_in_order_without_a_line():
    picture = accuracy_picture(rows_for("random_noise", (0.1, "0.3 lsb")), "random_noise")
    assert (picture.x.label, sorted(picture.x.names)) == ("random noise", ["0.1 %", "0.3 lsb"])
    assert picture.series[0].form == "points"
    columns = ("charge", "my_laboratory.columns.SplitCapacitorColumn", "silicon.columns.Measured")
    picture = accuracy_picture(rows_for("column", columns), "column")
    assert picture.x.names == ["charge", "SplitCapacitorColumn", "Measured"]


def test_one_line_for_each_combination_of_the_others():
    rows = [simulated(adc_bits=b, random_noise=n, column="charge") for b in (6, 7, 8, None) for n in (0, 0.1)]
    picture = accuracy_picture(rows, "adc_bits")
    assert [line.name for line in picture.series] == ["random noise 0 %", "random noise 0.1 %"]
    assert [line.form for line in picture.series] == ["line", "line"]
    assert picture.x.names == ["6", "7", "8", "null"]


def test_quantized_points_along_the_axis_are_a_line():
    quantized = [Result({"weight_bits": w}, "quantized", 1, 100, 0.1 * w, 0, 1, 1, "exact") for w in (8, 2, 4)]
    picture = accuracy_picture([*quantized, *(simulated(weight_bits=w) for w in (2, 4))], "weight_bits")
    line = picture.series[-1]
    assert (line.name, list(line.x), list(line.y)) == ("quantized", [2, 4, 8], pytest.approx([20, 40, 80]))


def test_the_first_best_and_last_epoch():
    results = {
        e: [simulated(a, random_noise=0), simulated(a - 0.1, random_noise=1)] for e, a in ((0, 0.5), (1, 0.9), (2, 0.8))
    }
    rows, title = epoch_rows(results, "val")
    assert title == "Epoch 2: 2000 images of val"
    assert [row.axes["epoch"] for row in rows[::2]] == ["0 (first)", "1 (best)", "2 (last)"]
    assert epoch_rows({2: results[2]}, "val") == (results[2], title)


def test_unknown_axis_names_the_known():
    with pytest.raises(ValueError, match=r"\(random_noise, votes\), got 'rows'"):
        accuracy_picture([simulated(random_noise=0, votes=1)], "rows")


def grid(**axes):
    rows = [{}]
    for name, values in axes.items():
        rows = [{**row, name: value} for row in rows for value in values]
    return rows


def test_the_strongest_axis_is_drawn_of_many():
    many = grid(random_noise=(0, 1), rows=(64, 128, 255), votes=(1, 3, 5))
    rows = [simulated(0.9 - 0.001 * axes["rows"] - 0.01 * axes["votes"], **axes) for axes in many]
    lines, note = drawn_lines(rows, "random_noise")
    assert [others for others, _ in lines] == [{"rows": 64}, {"rows": 128}, {"rows": 255}]
    assert [row.axes["random_noise"] for row in lines[0][1]] == [0, 1]
    assert [line[0].axes["votes"] for _, line in lines] == [1, 1, 1]  # the best, with its own interval
    assert note == "points: at the best votes; bars: 95 % intervals"


def test_the_best_design_is_the_best_under_its_hardest_conditions():
    many = grid(adc_bits=(6, 7), rows=(64, 128, 255), random_noise=(0, 1), votes=(1, 3))
    rows = [
        simulated(0.9 - 0.001 * axes["rows"] - 0.05 * axes["random_noise"] + 0.01 * axes["votes"], **axes)
        for axes in many
    ]
    lines, note = drawn_lines(rows, "adc_bits")
    assert note == "points: at the best votes under the hardest random noise; bars: 95 % intervals"
    assert {(row.axes["votes"], row.axes["random_noise"]) for _, line in lines for row in line} == {(3, 1)}


def test_of_one_axis_with_many_values_the_ends_are_among_those_drawn():
    rows = [simulated(**axes) for axes in grid(random_noise=(0, 1), rows=(*range(20, 40), 10))]
    lines, note = drawn_lines(rows, "random_noise")
    found = [others["rows"] for others, _ in lines]
    assert (len(found), found[0], found[-1]) == (8, 10, 39)
    assert found == sorted(found)
    assert note == "bars: 95 % intervals; 8 of 21 lines are drawn"


def test_points_that_lack_an_axis_are_a_line_of_their_own():
    rows = [simulated(**axes) for axes in grid(random_noise=(0, 1), adc_bits=(6, 7, 8), votes=(1, 3, 5))]
    rows += [simulated(0.2, random_noise=0)]
    lines, _ = drawn_lines(rows, "random_noise")
    assert {} in [others for others, _ in lines]
