"""Columns that tables of results share: axes, intervals, accuracies, costs, decisions."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from asim_lightning.evaluation.results import AxisValue, Measure, Result, axis_text, is_number, value_words
from asim_lightning.evaluation.run import Run
from asim_lightning.report.labels import cost_label, head_of, label_of
from asim_lightning.table import Column, Row

Held = TypeVar("Held")


def axis_columns(names: Sequence[str], rows: Sequence[Any], head: Callable[[str], str] = str) -> list[Column[Any]]:
    """A column for each axis; a dash stands for an axis that a row does not have."""
    return [_axis_column(name, rows, head(name)) for name in names]


def table_head(run: Run, name: str) -> str:
    """The text of an axis at the head of a column, without its unit if the cells have theirs."""
    has_texts = any(isinstance(point.axes.get(name), str) for point in run.points)
    return head_of(name) if has_texts else label_of(name)


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


def interval(
    head: str,
    ends: Callable[[Row], tuple[float, float] | None],
    names: tuple[str, str] = ("low", "high"),
    text: Callable[[float, float], str] = Measure().interval,
) -> Column[Row]:
    """A column of intervals; its cells are empty where there is none."""

    def end(side: int) -> Callable[[Row], object]:
        return lambda row: "" if (found := ends(row)) is None else found[side]

    return Column(
        head,
        lambda row: "-" if (found := ends(row)) is None else text(*found),
        {name: end(side) for side, name in enumerate(names)},
    )


def accuracy_columns(measure: Measure) -> list[Column[Result]]:
    """The mean of outcomes and its interval."""
    return [
        Column(measure.heading, lambda row: measure.text(row.accuracy), {"accuracy": lambda row: row.accuracy}),
        interval("95 % interval", lambda row: (row.low, row.high), text=measure.interval),
    ]


def cost_column(name: str, digits: int, head: str = "") -> Column[Result]:
    """A cost.

    Args:
        name: Its column in results.csv.
        digits: Digits that people read.
        head: Its heading; empty: its name, with u for µ, as terminals may lack it.
    """
    return Column(
        head or cost_label(name).replace("µ", "u"),
        lambda row: f"{row.figures[name]:.{digits}g}" if name in row.figures else "-",
        {name: lambda row: row.figures.get(name, "")},
    )


def target_column(target: str, measure: Measure) -> Column[Result]:
    """Whether points keep a target."""
    return Column(
        measure.words(target),
        lambda row: str(row.decisions.get(target, "-")),
        {"target": lambda row: str(row.decisions.get(target, ""))},
        "l",
    )


def of(held: Callable[[Row], Held | None], column: Column[Held]) -> Column[Row]:
    """A column of something that a row holds, such as a result; its cells are empty if the row holds none."""

    def cell(text: Callable[[Held], object], none: str) -> Callable[[Row], object]:
        return lambda row: none if (found := held(row)) is None else text(found)

    return Column(
        column.head,
        None if column.text is None else cell(column.text, "-"),
        {name: cell(each, "") for name, each in column.numbers.items()},
        column.side,
    )
