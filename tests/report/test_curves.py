"""The lines that points form, and those that are drawn of many."""

import pytest

from asim_lightning.evaluation.results import Result
from asim_lightning.report.curves import drawn_lines, sweep_lines
from asim_lightning.report.picture import MOST_CURVES


def point(kind="simulated", accuracy=0.9, low=None, high=None, **axes):
    return Result(axes, kind, 2, 100, accuracy, accuracy if low is None else low, high or accuracy, 1.0, "exact")


def test_lines_are_the_combinations_of_the_other_axes():
    rows = [point("float"), *(point(random_noise=n, adc_bits=b, votes=3) for n in (0.1, 0) for b in (8, None))]
    lines = sweep_lines(rows, "random_noise")
    assert [others for others, _ in lines] == [{"adc_bits": 8}, {"adc_bits": None}]  # votes are the same everywhere
    assert [[row.axes["random_noise"] for row in line] for _, line in lines] == [[0, 0.1], [0, 0.1]]
    assert [others for others, _ in sweep_lines(rows[1::2], "random_noise")] == [{}]  # one line needs no name


def test_unknown_axis_names_the_known():
    with pytest.raises(ValueError, match=r"\(random_noise, votes\), got 'rows'"):
        sweep_lines([point(random_noise=0, votes=1)], "rows")


def grid(**axes):
    rows = [{}]
    for name, values in axes.items():
        rows = [{**row, name: value} for row in rows for value in values]
    return rows


def test_few_lines_are_drawn_as_they_are():
    rows = [point(low=0.8, high=0.95, **axes) for axes in grid(random_noise=(0, 1), adc_bits=range(MOST_CURVES))]
    assert drawn_lines(rows, "random_noise") == (sweep_lines(rows, "random_noise"), "bars: 95 % intervals")


def test_the_strongest_axis_is_drawn_of_many():
    many = grid(random_noise=(0, 1), rows=(64, 128, 255), votes=(1, 3, 5))
    rows = [point(accuracy=0.9 - 0.001 * axes["rows"] - 0.01 * axes["votes"], **axes) for axes in many]
    lines, note = drawn_lines(rows, "random_noise")
    assert [others for others, _ in lines] == [{"rows": 64}, {"rows": 128}, {"rows": 255}]
    assert [row.axes["random_noise"] for row in lines[0][1]] == [0, 1]
    assert [line[0].axes["votes"] for _, line in lines] == [1, 1, 1]  # the best, with its own interval
    assert note == "points: at the best votes; bars: 95 % intervals"


def test_the_best_design_is_the_best_under_its_hardest_conditions():
    many = grid(adc_bits=(6, 7), rows=(64, 128, 255), random_noise=(0, 1), votes=(1, 3))
    rows = [
        point(accuracy=0.9 - 0.001 * axes["rows"] - 0.05 * axes["random_noise"] + 0.01 * axes["votes"], **axes)
        for axes in many
    ]
    lines, note = drawn_lines(rows, "adc_bits")
    assert note == "points: at the best votes under the hardest random noise; bars: 95 % intervals"
    assert {(row.axes["votes"], row.axes["random_noise"]) for _, line in lines for row in line} == {(3, 1)}


def test_of_one_axis_with_many_values_the_ends_are_among_those_drawn():
    rows = [point(**axes) for axes in grid(random_noise=(0, 1), rows=(*range(20, 40), 10))]
    lines, note = drawn_lines(rows, "random_noise")
    found = [others["rows"] for others, _ in lines]
    assert (len(found), found[0], found[-1]) == (8, 10, 39)
    assert found == sorted(found)
    assert note == "bars: 95 % intervals; 8 of 21 lines are drawn"


def test_points_that_lack_an_axis_are_a_line_of_their_own():
    rows = [point(**axes) for axes in grid(random_noise=(0, 1), adc_bits=(6, 7, 8), votes=(1, 3, 5))]
    rows += [point(accuracy=0.2, random_noise=0)]
    lines, _ = drawn_lines(rows, "random_noise")
    assert {} in [others for others, _ in lines]
