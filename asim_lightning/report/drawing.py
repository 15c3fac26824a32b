"""A figure that a browser draws by plotly: its traces, layout and numbers, and what all figures of a report share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, TypeAlias

from asim_lightning.evaluation.results import Result
from asim_lightning.report.accuracy_figure import COLOURS
from asim_lightning.report.numbers import interval_text

Rows: TypeAlias = list[list[object]]
"""Cells of a table, its head first."""
Traces: TypeAlias = list[Mapping[str, Any]]
"""What is drawn, as plotly's JSON has it."""
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
DASHES = ("solid", "dash", "dashdot", "dot")
GREY = "#595959"


@dataclass(frozen=True)
class Drawing:
    """A figure as plotly's JSON has it, and its numbers."""

    title: str
    note: str
    """How to read it."""
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    numbers: Rows
    """What is drawn; its head has names of columns."""
    file: str
    """Name of the CSV of its numbers."""


def accuracy_trace(
    rows: Sequence[Result], x: Sequence[float], texts: Sequence[str], name: str, index: int, mode: str
) -> dict[str, Any]:
    """Accuracies in percent with bars from the lower to the upper end of their intervals.

    Args:
        rows: Their points.
        x: Position of each.
        texts: What is said of each where it is pointed at, as HTML.
        name: Name in the legend, as text.
        index: Number of the trace, which decides colour, marker and dashes.
        mode: "lines+markers" or "markers".
    """
    colour = COLOURS[index % len(COLOURS)]
    return {
        "type": "scatter",
        "mode": mode,
        "name": escape(name),
        "x": list(x),
        "y": [100 * row.accuracy for row in rows],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [100 * (row.high - row.accuracy) for row in rows],
            "arrayminus": [100 * (row.accuracy - row.low) for row in rows],
            "thickness": 1.2,
            "width": 3,
        },
        "hovertext": list(texts),
        "hoverinfo": "text",
        "marker": {"color": colour, "symbol": _SYMBOLS[index % len(_SYMBOLS)], "size": 8},
        "line": {"color": colour, "dash": DASHES[index % len(DASHES)], "width": 2},
    }


def references(results: Sequence[Result], ends: tuple[float, float], numbers: Rows, before: int = 0) -> Traces:
    """Float and quantised accuracy as lines from end to end.

    Args:
        results: All points.
        ends: Left and right end.
        numbers: Table of what is drawn, which gets a row for each, in place.
        before: Columns of the table between the second and the accuracy.
    """
    traces: Traces = []
    for kind, dash in (("float", "solid"), ("quantized", "dash")):
        for row in (each for each in results if each.kind == kind and not each.axes):
            share = 100 * row.accuracy
            numbers.append([kind, *[""] * (before + 1), row.accuracy, row.low, row.high, *[""] * before])
            text = f"{kind} {share:.2f} % {interval_text(row.low, row.high)}"
            traces.append(
                {"type": "scatter", "mode": "lines", "name": f"{kind} {share:.2f} %", "x": list(ends), "y": [share] * 2}
                | {"line": {"color": "black" if kind == "float" else GREY, "dash": dash, "width": 1.3}}
                | {"hovertext": [text] * 2, "hoverinfo": "text"}
            )
    return traces


def layout_of(x: Mapping[str, Any], y: Mapping[str, Any], entries: int) -> dict[str, Any]:
    """Axes, legend and margins.

    Args:
        x: What differs of the axis along x; its title as HTML.
        y: The same along y.
        entries: Entries of the legend, which needs room below.
    """
    lines = {"gridcolor": "#e5e5e5", "linecolor": "#808080", "zeroline": False, "ticks": "outside"}
    return {
        "xaxis": {**lines, "showgrid": False, **x, "title": {"text": x.get("title", "")}},
        "yaxis": {**lines, **y, "title": {"text": y.get("title", "")}},
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0, "traceorder": "normal"},
        "margin": {"l": 56, "r": 12, "t": 12, "b": 50},
        "height": 420 + 12 * entries,
        "hovermode": "closest",
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1a1a1a"},
    }
