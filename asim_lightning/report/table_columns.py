"""Columns that several tables share: values, intervals, axes, accuracies, costs, decisions."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Literal, TypeVar

from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.results import AGREEMENT, Result, axis_text, is_number
from asim_lightning.report.labels import cost_number, head_of, label_of, value_text
from asim_lightning.table import Row, TableColumn

Held = TypeVar("Held")


def of(held: Callable[[Row], Held | None], column: TableColumn[Held]) -> TableColumn[Row]:
    """A column of an object in a row; if the row has none, the text is a dash and the CSV is empty."""

    def cell(text: Callable[[Held], object], none: str) -> Callable[[Row], object]:
        return lambda row: none if (found := held(row)) is None else text(found)

    return TableColumn(
        column.head,
        None if column.text is None else cell(column.text, "-"),
        {name: cell(each, "") for name, each in column.numbers.items()},
        column.side,
    )


def valued(
    head: str,
    name: str,
    value: Callable[[Row], Held | None],
    text: Callable[[Held], str] = str,
    side: Literal["r", "l"] = "r",
) -> TableColumn[Row]:
    """A column of values: text under a heading, and full values under a name in the CSV."""
    return of(value, TableColumn(head, text, {name: lambda found: found}, side))


def interval(
    head: str,
    ends: Callable[[Row], tuple[float, float] | None],
    names: tuple[str, str] = ("low", "high"),
    text: Callable[[float, float], str] = Measure().interval,
) -> TableColumn[Row]:
    """A column of intervals."""
    numbers = {name: itemgetter(at) for at, name in enumerate(names)}
    return of(ends, TableColumn[tuple[float, float]](head, lambda found: text(*found), numbers))


def axis_columns(rows: Sequence[Any], is_labelled: bool = False) -> list[TableColumn[Any]]:
    """A column for each axis of the rows, empty for rows without it; its head is the axis' name, or its label.

    If some values have units, each cell has its unit, and a label has none.
    """

    def column(name: str) -> TableColumn[Any]:
        are_numbers = all(is_number(row.axes[name]) or row.axes[name] is None for row in rows if name in row.axes)
        texts = {name: lambda axes: axis_text(axes[name])}
        head = name if not is_labelled else label_of(name) if are_numbers else head_of(name)
        unit = "" if are_numbers else label_of(name)
        known = TableColumn[Any](head, lambda axes: value_text(unit, axes[name]), texts, "r" if are_numbers else "l")
        return of(lambda row: row.axes if name in row.axes else None, known)

    return [column(name) for name in dict.fromkeys(name for row in rows for name in row.axes)]


def accuracy_columns(measure: Measure) -> list[TableColumn[Result]]:
    """The mean of outcomes and its interval."""
    ends = {name: lambda row, at=at: row.plain[at] for at, name in ((1, "low"), (2, "high"))}
    return [
        TableColumn(measure.heading, lambda row: measure.text(row.accuracy), {"accuracy": lambda row: row.plain[0]}),
        TableColumn("95 % interval", lambda row: measure.interval(row.low, row.high), ends),
    ]


def agreement_columns(rows: Sequence[Result]) -> list[TableColumn[Result]]:
    """The share of tokens whose likeliest one is the quantised network's; no column if no row has it."""
    found: TableColumn[Result] = valued(
        "as quantized\n(% of tokens)",
        AGREEMENT,
        lambda row: row.figures.get(AGREEMENT),
        lambda share: f"{100 * share:.2f}",
    )
    return [found] * any(AGREEMENT in row.figures for row in rows)


def cost_column(name: str, digits: int, head: str = "") -> TableColumn[Result]:
    """A cost with `digits` digits; the default heading is its name, with u for µ, because terminals may lack it."""
    head = head or label_of(name).replace("µ", "u").replace("²", "^2")
    return valued(head, name, lambda row: row.figures.get(name), partial(cost_number, name, digits=digits))


def target_column(target: str, head: str) -> TableColumn[Result]:
    """Whether points keep a target."""
    return of(lambda row: row.decisions.get(target), TableColumn(head, str, {"target": str}, "l"))
