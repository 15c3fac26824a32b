"""Tables of text, as every part of the package prints them."""

from collections.abc import Sequence


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
