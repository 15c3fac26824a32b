"""Tables: columns are described once, and written as text, HTML and CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any, Generic, Literal, TypeAlias, TypeVar

Row = TypeVar("Row")
Rows: TypeAlias = list[list[object]]
"""Cells of a table, its head first."""
ShownAs: TypeAlias = Literal["percent", "number", "exponential"]
"""How a mean is shown: a share in percent, the number itself, or the exponential of a mean logarithm."""
_WIDE = 40
"""Cells of a page with more characters may be broken into lines."""


def plural(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@dataclass(frozen=True)
class TableColumn(Generic[Row]):
    """A column of a table.

    Attributes:
        head: The heading; each line of it is a line of the text table.
        text: The cell of a row for people; None: the column is only in the CSV.
        numbers: Cells of a row in full precision, by the names of the CSV's columns; empty: not in the CSV.
        side: Alignment of the cells: right or left.
    """

    head: str
    text: Callable[[Row], object] | None
    numbers: Mapping[str, Callable[[Row], object]] = field(default_factory=dict)
    side: Literal["r", "l"] = "r"


def plain(name: str, cell: Callable[[Row], object], side: Literal["r", "l"] = "r") -> TableColumn[Row]:
    """A column with the same name and the same cells in the CSV."""
    return TableColumn(name, cell, {name: cell}, side)


@dataclass(frozen=True, repr=False)
class Table(Sequence[Row]):
    """Rows that print, show in a notebook and on a page, and become a CSV, all by the same columns.

    Attributes:
        columns: Its columns.
        rows: The objects of the rows.
        note: How to read it.
        title: Its headline on a page.
        file: Name of its CSV on a page.
        marked: Numbers of the rows that stand out on a page.
        last: Cells of one more row, such as sums; empty: none.
    """

    columns: Sequence[TableColumn[Row]]
    rows: Sequence[Row]
    note: str = ""
    title: str = ""
    file: str = ""
    marked: Sequence[int] = ()
    last: Sequence[str] = ()

    def __getitem__(self, place: Any) -> Any:
        return self.rows[place]

    def __len__(self) -> int:
        return len(self.rows)

    def in_words(self, words: Callable[[str], str]) -> "Table[Row]":
        """The table with other words in heads, cells, note and title; the CSV stays."""

        def changed(column: TableColumn[Row]) -> TableColumn[Row]:
            text = column.text
            return replace(
                column, head=words(column.head), text=None if text is None else lambda row: words(str(text(row)))
            )

        return replace(self, columns=[*map(changed, self.columns)], note=words(self.note), title=words(self.title))

    @property
    def shown(self) -> Rows:
        """Cells for people, the head first."""
        texts = [(column.head, column.text) for column in self.columns if column.text is not None]
        cells: Rows = [[text(row) for _, text in texts] for row in self.rows]
        if self.last:
            cells.append([*self.last])
        return [[head for head, _ in texts], *cells]

    @property
    def numbers(self) -> Rows:
        """Cells of the CSV, the head first."""
        numbers = [each for column in self.columns for each in column.numbers.items()]
        return [[name for name, _ in numbers], *([number(row) for _, number in numbers] for row in self.rows)]

    @property
    def sides(self) -> str:
        """The alignment of each column for people, "l" or "r"."""
        return "".join(column.side for column in self.columns if column.text is not None)

    def __str__(self) -> str:
        """The table and its note as text, without a line break at the end."""
        head, *cells = self.shown
        heads = [str(cell).splitlines() for cell in head]
        height = max(1, *map(len, heads))
        lines = [[([""] * (height - len(each)) + each)[line] for each in heads] for line in range(height)]
        text = text_table([*lines, *([str(cell) for cell in row] for row in cells)], height, self.sides)
        return f"{text}\n{self.note}" if self.note else text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The table and its note in a notebook."""
        return self.html() + (f"<pre>{escape(self.note)}</pre>" if self.note else "")

    def html(self, most: int | None = None) -> str:
        """The table as an element of HTML, with at most so many rows; None: all."""
        head, *body = self.shown
        lines = [
            f"{'<tr class=marked>' if place in self.marked else '<tr>'}{self._cells(row, 'td')}</tr>"
            for place, row in enumerate(body[:most])
        ]
        return "\n".join(["<table>", f"<thead><tr>{self._cells(head, 'th')}</tr></thead>", *lines, "</table>"])

    def _cells(self, row: Sequence[object], tag: str) -> str:
        cells = []
        for cell, side in zip(map(str, row), self.sides, strict=True):
            align = "right" if side == "r" else "left"
            wide = " class=wide" if len(cell) > _WIDE else ""
            cells.append(f'<{tag}{wide} style="text-align: {align}">{escape(cell)}</{tag}>')
        return "".join(cells)


def text_table(rows: Sequence[Sequence[str]], headers: int, sides: str) -> str:
    """Columns two spaces apart, with a rule below the headers; the text ends without a line break.

    Args:
        rows: Cells of each row, headers first; a cell for each column.
        headers: Number of header rows.
        sides: For each column, "l" (left) or "r" (right).
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    rule = ["-" * width for width in widths]

    def line(row: Sequence[str]) -> str:
        cells = (c.rjust(w) if s == "r" else c.ljust(w) for c, w, s in zip(row, widths, sides, strict=True))
        return "  ".join(cells).rstrip()

    return "\n".join(line(row) for row in (*rows[:headers], rule, *rows[headers:]))


def short(value: float) -> str:
    """A number with three digits, without exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def csv_text(rows: Iterable[Sequence[object]], line_end: str = "\r\n") -> str:
    """Rows as CSV; a text that a spreadsheet would compute, such as "=HYPERLINK(...)", gets a leading apostrophe."""
    lines = []
    for row in rows:
        line = io.StringIO(newline="")
        cells = (f"'{cell}" if str(cell).startswith(("=", "@")) else cell for cell in row)
        csv.writer(line).writerow(cells)  # its \r\n puts cells with either into quotes
        lines.append(line.getvalue().removesuffix("\r\n") + line_end)
    return "".join(lines)


def mean_count(right: Sequence[int]) -> str:
    """The mean of some counts: without decimals if it is an integer, else with one."""
    mean = sum(right) / len(right)
    return f"{mean:,.0f}" if mean.is_integer() else f"{mean:,.1f}"


def count_range(right: Sequence[int]) -> str:
    """The smallest and the largest count, such as "17 to 18"; one number if they are equal."""
    low, high = min(right), max(right)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def count_text(right: Sequence[int], images: int) -> str:
    """Right answers, as in "18 of 20 images", and for several reads "17.7 of 20 images, 17 to 18 in 3 reads"."""
    reads = f", {count_range(right)} in {len(right)} reads" if len(right) > 1 else ""
    return f"{mean_count(right)} of {images:,} images{reads}"
