"""One table formatter for all that is printed."""

import re
from pathlib import Path

import pytest

import asim_lightning
from asim_lightning.table import Table, count_text, csv_text, plain, text_table


def test_columns_line_up_below_a_rule() -> None:
    rows = [("", "ms,"), ("layer", "median"), ("conv1", "10.0"), ("a", "1,000")]
    assert text_table(rows, 2, "lr").splitlines() == [
        "          ms,",
        "layer  median",
        "-----  ------",
        "conv1    10.0",
        "a       1,000",
    ]


def test_no_line_ends_in_blanks() -> None:
    assert text_table([("a", "why"), ("b", "")], 1, "ll").splitlines() == ["a  why", "-  ---", "b"]


def test_cells_that_a_spreadsheet_would_compute_are_quoted() -> None:
    assert csv_text([["=HYPERLINK(0)", Path("@a"), -0.5, "-", "a=b", None]], "\n") == "'=HYPERLINK(0),'@a,-0.5,-,a=b,\n"


@pytest.mark.parametrize("writes", [r"csv\.(writer|DictWriter)\(|\.to_csv\(|savetxt\(", r"\.[lr]just\("])
def test_tables_and_csvs_are_written_in_one_place(writes: str) -> None:
    root = Path(asim_lightning.__file__).parent
    found = [str(path.relative_to(root)) for path in root.rglob("*.py") if re.search(writes, path.read_text("utf-8"))]
    assert found == ["table.py"]


def test_a_notebook_shows_the_note() -> None:
    table = Table([plain("a", str)], ["1"], note="a < b")
    assert table._repr_html_() == f"{table.html()}<pre>a &lt; b</pre>"
    assert "<pre>" not in Table([plain("a", str)], ["1"])._repr_html_()


@pytest.mark.parametrize(
    ("right", "images", "text"),
    [
        ([1845], 2000, "1,845 of 2,000 images"),
        ([17, 18], 20, "17.5 of 20 images, 17 to 18 in 2 reads"),
        ([18, 18], 20, "18 of 20 images, 18 in 2 reads"),
    ],
)
def test_count_text(right: list[int], images: int, text: str) -> None:
    assert count_text(right, images) == text
