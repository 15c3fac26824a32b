"""One description of columns gives text, cells of a page and cells of a CSV."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asim_lightning.report.table import Column, axis_columns, interval, number_rows, plain, shown_rows, text_of


@dataclass
class Row:
    axes: Mapping[str, Any]
    ends: tuple[float, float] | None


ROWS = [Row({"rows": 64, "offset": "0.1 lsb"}, (0.5, 1.0)), Row({"offset": "2 lsb"}, None)]
COLUMNS: list[Column[Row]] = [
    *axis_columns(["rows", "offset"], ROWS, str.upper),
    interval("95 %\ninterval", lambda row: row.ends),
    plain("number", lambda row: len(row.axes)),
    Column("", None, {"full": lambda row: 0.125}),
]


def test_text_has_heads_of_several_lines_and_a_last_row() -> None:
    assert text_of(COLUMNS, ROWS, ("", "all", "", "3")).splitlines() == [
        "                          95 %",
        "ROWS  OFFSET          interval  number",
        "----  -------  ---------------  ------",
        "  64  0.1 lsb  [50.00, 100.00]       2",
        "   -  2 lsb                  -       1",
        "      all                            3",
    ]


def test_cells_of_a_page_and_of_a_csv() -> None:
    assert shown_rows(COLUMNS, ROWS)[1:] == [["64", "0.1 lsb", "[50.00, 100.00]", 2], ["-", "2 lsb", "-", 1]]
    assert number_rows(COLUMNS, ROWS) == [
        ["rows", "offset", "low", "high", "number", "full"],
        ["64", "0.1 lsb", 0.5, 1.0, 2, 0.125],
        ["", "2 lsb", "", "", 1, 0.125],
    ]
