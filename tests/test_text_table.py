"""One table formatter for all that is printed."""

import ast
from pathlib import Path

import pytest

import asim_lightning
from asim_lightning.text_table import text_table


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


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a row of a table with 2 columns needs as many cells, got 3$"):
        text_table([("a", "b"), ("1", "2", "3")], 1, "ll")


def test_no_other_part_of_the_package_pads_cells() -> None:
    root = Path(asim_lightning.__file__).parent
    padding = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("ljust", "rjust")
    }
    assert padding == {"text_table.py"}
