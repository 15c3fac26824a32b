"""Tables as text and as CSV, as every part of the package writes them."""

import csv
import io
from collections.abc import Iterable, Sequence

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take for the beginning of a formula."""


def text_table(rows: Sequence[Sequence[str]], headers: int, sides: str) -> str:
    """Columns two blanks apart, with a rule below the headers; the text ends without a line break.

    Args:
        rows: Cells of each row, headers first; a cell for each column.
        headers: How many rows are headers.
        sides: For each column, "l" (left) or "r" (right).

    Raises:
        ValueError: A row has another number of cells than there are columns.
    """
    for row in rows:
        if len(row) != len(sides):
            raise ValueError(f"a row of a table with {len(sides)} columns needs as many cells, got {len(row)}")
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(len(sides))]
    rule = ["-" * width for width in widths]

    def line(row: Sequence[str]) -> str:
        cells = (c.rjust(w) if s == "r" else c.ljust(w) for c, w, s in zip(row, widths, sides, strict=True))
        return "  ".join(cells).rstrip()

    return "\n".join(line(row) for row in (*rows[:headers], rule, *rows[headers:]))


def short(value: float) -> str:
    """A number with three digits, without exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def csv_text(rows: Iterable[Sequence[object]], line_end: str = "\r\n") -> str:
    """Rows as CSV; a cell that a spreadsheet would compute, such as "=HYPERLINK(...)", gets a leading apostrophe.

    Args:
        rows: Lines of cells.
        line_end: What ends a line.
    """
    lines = []
    for row in rows:
        line = io.StringIO(newline="")
        csv.writer(line).writerow(map(_quoted, row))  # its \r\n puts cells with either into quotes
        lines.append(line.getvalue().removesuffix("\r\n") + line_end)
    return "".join(lines)


def _quoted(cell: object) -> object:
    text = str(cell)
    if not text.startswith(_FORMULAS) or text == "-":  # a dash stands for nothing
        return cell
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return cell
