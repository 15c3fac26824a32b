"""Tables: columns are described once, and written as text, as HTML and as CSV."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from asim_lightning.evaluation.results import AxisValue, axis_text, is_number, value_words
from asim_lightning.report.numbers import interval_text
from asim_lightning.report.picture import Rows
from asim_lightning.text_table import text_table

Row = TypeVar("Row")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column of a table.

    Attributes:
        head: Its heading; each line of it is a line of the text table.
        text: The cell of a row as people read it; None: the column is only in the CSV.
        numbers: Cells of a row in full, by the names of the CSV's columns; empty: the column is not in the CSV.
        side: Where its cells stand: right or left.
    """

    head: str
    text: Callable[[Row], object] | None
    numbers: Mapping[str, Callable[[Row], object]] = field(default_factory=dict)
    side: Literal["r", "l"] = "r"


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes:
        title: Its headline.
        file: Name of its CSV.
        shown: Cells as people read them.
        numbers: Cells of the CSV.
        marked: Places of the rows, without the head, that stand out.
        note: How to read it.
    """

    title: str
    file: str
    shown: Rows
    numbers: Rows
    marked: Sequence[int] = ()
    note: str = ""


def plain(name: str, cell: Callable[[Row], object], side: Literal["r", "l"] = "r") -> Column[Row]:
    """A column that is the same in the CSV.

    Args:
        name: Its heading, and its name in the CSV.
        cell: The cell of a row.
        side: Where its cells stand.
    """
    return Column(name, cell, {name: cell}, side)


def interval(
    head: str,
    ends: Callable[[Row], tuple[float, float] | None],
    names: tuple[str, str] = ("low", "high"),
    text: Callable[[float, float], str] = interval_text,
) -> Column[Row]:
    """A column of intervals; its cells are empty where there is none.

    Args:
        head: Its heading.
        ends: The ends of a row.
        names: What the CSV names them.
        text: The cell of two ends.
    """

    def end(side: int) -> Callable[[Row], object]:
        return lambda row: "" if (found := ends(row)) is None else found[side]

    return Column(
        head,
        lambda row: "-" if (found := ends(row)) is None else text(*found),
        {name: end(side) for side, name in enumerate(names)},
    )


def text_of(columns: Sequence[Column[Row]], rows: Sequence[Row], last: Sequence[str] = ()) -> str:
    """A table as text, without a line break at its end.

    Args:
        columns: Its columns.
        rows: What it is of.
        last: Cells of one more row, such as of sums; empty: there is none.
    """
    shown = [column for column in columns if column.text is not None]
    heads = [column.head.splitlines() for column in shown]
    height = max(map(len, heads))
    lines = [[([""] * (height - len(head)) + head)[line] for head in heads] for line in range(height)]
    cells = [[str(cell) for cell in row] for row in shown_rows(shown, rows)[1:]]
    ending = [list(last)] if last else []
    return text_table([*lines, *cells, *ending], height, "".join(column.side for column in shown))


def shown_rows(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> Rows:
    """Cells as people read them, the head first."""
    shown = [(column.head, column.text) for column in columns if column.text is not None]
    return [[head for head, _ in shown], *([text(row) for _, text in shown] for row in rows)]


def number_rows(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> Rows:
    """Cells of the CSV, the head first."""
    numbers = [each for column in columns for each in column.numbers.items()]
    return [[name for name, _ in numbers], *([number(row) for _, number in numbers] for row in rows)]


def axis_columns(names: Sequence[str], rows: Sequence[Any], head: Callable[[str], str] = str) -> list[Column[Any]]:
    """A column for each axis; a dash stands for an axis that a row does not have.

    Args:
        names: Names of the axes.
        rows: What the table is of, each with its `axes`.
        head: Gives the heading of an axis.
    """
    return [_axis_column(name, rows, head(name)) for name in names]


def _axis_column(name: str, rows: Sequence[Any], head: str) -> Column[Any]:
    def cell(row: Any, words: Callable[[AxisValue], str], none: str) -> str:
        return words(row.axes[name]) if name in row.axes else none

    values = [row.axes[name] for row in rows if name in row.axes]
    return Column(
        head,
        lambda row: cell(row, value_words, "-"),
        {name: lambda row: cell(row, axis_text, "")},
        "r" if all(is_number(value) or value is None for value in values) else "l",
    )
