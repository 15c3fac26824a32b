"""Columns of results in a table: one description gives text, cells of a page and cells of a CSV."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asim_lightning.report.table_columns import axis_columns, interval
from asim_lightning.table import Table, TableColumn, plain


@dataclass
class Row:
    axes: Mapping[str, Any]
    ends: tuple[float, float] | None


ROWS = [Row({"full_scale_mv": 64, "random_noise": "0.1 lsb"}, (0.5, 1.0)), Row({"random_noise": "2 lsb"}, None)]
COLUMNS: list[TableColumn[Row]] = [
    *axis_columns(ROWS, is_labelled=True),
    interval("95 %\ninterval", lambda row: row.ends),
    plain("number", lambda row: len(row.axes)),
    TableColumn("", None, {"full": lambda row: 0.125}),
]


def test_text_has_heads_of_several_lines_and_a_last_row() -> None:
    assert str(Table(COLUMNS, ROWS, "Note.", last=("", "all", "", "3"))).splitlines() == [
        "                                          95 %",
        "full scale (mV)  random noise         interval  number",
        "---------------  ------------  ---------------  ------",
        "             64  0.1 lsb       [50.00, 100.00]       2",
        "              -  2 lsb                       -       1",
        "                 all                                 3",
        "Note.",
    ]


def test_a_number_next_to_quantities_has_its_unit() -> None:
    mixed = [Row({"random_noise": value}, None) for value in (0.1, "0.1 lsb")]
    assert Table(axis_columns(mixed), mixed).shown == [["random_noise"], ["0.1 %"], ["0.1 lsb"]]
    assert Table(axis_columns(mixed[:1]), mixed[:1]).shown[1] == ["0.1"]


def test_cells_of_a_page_and_of_a_csv() -> None:
    assert Table(COLUMNS, ROWS).shown[1:] == [["64", "0.1 lsb", "[50.00, 100.00]", 2], ["-", "2 lsb", "-", 1]]
    assert Table(COLUMNS, ROWS).numbers == [
        ["full_scale_mv", "random_noise", "low", "high", "number", "full"],
        ["64", "0.1 lsb", 0.5, 1.0, 2, 0.125],
        ["", "2 lsb", "", "", 1, 0.125],
    ]


def test_html_stands_as_the_text_does_and_shows_no_more_than_asked() -> None:
    table = Table([plain("<name>", str, "l"), plain("size", len)], ["a" * 50, "b&c", "d"], marked=(1,))
    head, *rows = re.findall("<tr.*?</tr>", table.html(2))
    assert head.startswith('<tr><th style="text-align: left">&lt;name&gt;</th>')
    assert [row.count("class=") for row in rows] == [1, 1]
    assert rows[1].startswith("<tr class=marked>")
    assert '>b&amp;c</td><td style="text-align: right">3</td>' in rows[1]
    assert table._repr_html_().count("<tr") == 4
