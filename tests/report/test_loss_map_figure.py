"""A map of the loss as a table of layers, and as a heat map of layers and bit positions."""

from math import isnan

import pytest

from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.report.draw import figure_of
from asim_lightning.report.plotly_figure import layout_of, traces_of
from asim_lightning.report.spec_doctor import loss_map_picture, loss_map_table
from tests.report.runs import MAPPED


def many(count: int) -> LossMap:
    return LossMap({f"layer{number}": (0.001 * number,) for number in range(count)}, 1.0, 0.5)


def test_rows_are_layers_by_their_share_and_say_where_most_of_it_is() -> None:
    head, *rows = loss_map_table(MAPPED).numbers
    assert head == ["layer", "share", "percent", "first_bit", "last_bit", "percent_in_them"]
    assert [row[0] for row in rows] == ["fc <a>", "conv1", "head"]
    assert [[round(number, 6) for number in row[1:]] for row in rows[:2]] == [
        [1.6, 80, 1, 1, 87.5],
        [0.4, 20, 2, 3, 75],
    ]
    assert rows[2][3:] == [None] * 3  # nothing is lost in it
    assert [row[3] for row in loss_map_table(MAPPED).shown[1:]] == ["bit 1: 88 %", "bits 2 to 3: 75 %", ""]
    assert "2 nats; the macro adds 1.9 " in loss_map_table(MAPPED).note


def test_the_smallest_of_many_layers_are_one_row() -> None:
    _, *rows = loss_map_table(many(27)).numbers
    assert (len(rows), rows[14][0], rows[15][0]) == (16, "layer12", "12 other layers")
    assert rows[15][1] == pytest.approx(0.066)
    assert sum(row[2] for row in rows) == pytest.approx(100)
    assert len(loss_map_table(many(15))) == 15


def test_the_heat_map_has_a_row_a_layer_and_gaps_where_a_layer_has_no_such_bit() -> None:
    picture = loss_map_picture(MAPPED, "t")
    grid = picture.grid
    assert grid is not None
    assert (picture.y.names, picture.x.names) == (["conv1", "fc <a>", "head"], ["0", "1", "2", "3"])
    assert [round(value, 6) for value in grid.values[0]] == [0, 5, 10, 5]
    assert [isnan(value) for value in grid.values[2]] == [False, False, True, True]
    assert [round(end, 6) for end in grid.ends] == [-0.2, 70]
    assert [grid.text(column, 1) for column in range(4)] == ["1", "70", "9", ""]
    assert grid.text(0, 2) == ""  # -0.2 % would be written as -0
    assert len(picture.numbers) == 1 + 4 + 3 + 2


def test_without_a_loss_there_are_no_percents() -> None:
    helps = LossMap({"a": (0.02, -0.05)}, -0.03)
    assert [row[1:] for row in loss_map_table(helps).shown[1:]] == [["-0.0300", "", ""]]
    picture = loss_map_picture(helps, "t")
    assert picture.grid is not None
    assert all(map(isnan, picture.grid.values[0]))
    assert figure_of(picture).axes


def test_the_first_layer_is_at_the_top_and_many_have_room() -> None:
    few, more = (loss_map_picture(found, "t") for found in (MAPPED, many(60)))
    figures = [figure_of(each) for each in (few, more)]
    assert all(each.axes[0].yaxis_inverted() for each in figures)
    assert figures[1].get_figheight() > 2 * figures[0].get_figheight()
    layouts = [layout_of(each) for each in (few, more)]
    assert [each["yaxis"]["autorange"] for each in layouts] == ["reversed"] * 2
    assert layouts[1]["height"] > 2 * layouts[0]["height"]
    (cells,) = traces_of(few)
    assert cells["text"][1] == ["1", "70", "9", ""]


def test_names_of_layers_stay_on_a_line() -> None:
    name = "model.layers.29.self_attn.q_proj"
    plot = figure_of(loss_map_picture(LossMap({name: (1.0,)}, 1.0), "t")).axes[0]
    assert [text.get_text() for text in plot.get_yticklabels()] == [name]
