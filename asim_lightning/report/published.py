"""Accuracies of a sweep next to published ones."""

from collections.abc import Sequence

from asim_lightning.evaluation.results import Result
from asim_lightning.report.table_columns import accuracy_columns, axis_columns, of
from asim_lightning.table import Column, Table

_READING = 0.5
"""Points by which a published accuracy may be off, as such numbers are read off a figure."""


def published_text(results: Sequence[Result], published: Sequence[float], whose: str) -> str:
    """Table of simulated points next to published accuracies, and how many of these agree.

    A point agrees if the published accuracy lies in the 95 % interval of the simulated one, or less than 0.5 points
    outside.

    Args:
        results: Results of a sweep; the simulated ones are in the order of `published`.
        published: Accuracies, percent.
        whose: Network that `published` is of.
    """
    rows = list(zip((row for row in results if row.kind == "simulated"), published, strict=True))

    def agrees(row: tuple[Result, float]) -> bool:
        return 100 * row[0].low - _READING <= row[1] <= 100 * row[0].high + _READING

    points = [result for result, _ in rows]
    columns: list[Column[tuple[Result, float]]] = [
        *(of(lambda row: row[0], column) for column in axis_columns(list(points[0].axes), points)),
        *(of(lambda row: row[0], column) for column in accuracy_columns(points[0].measure)),
        Column("published (%)", lambda row: f"{row[1]:.2f}"),
        Column("", lambda row: "agrees" if agrees(row) else f"{100 * row[0].accuracy - row[1]:+.1f} points", side="l"),
    ]
    verdict = f"{sum(map(agrees, rows))} of {len(rows)} points agree with {whose}: 95 % interval, and {_READING} points"
    return f"{Table(columns, rows)}\n{verdict} for reading a figure"
