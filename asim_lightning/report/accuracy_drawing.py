"""Accuracy along an axis of a run, as a figure of a report."""

from collections.abc import Mapping
from html import escape

from asim_lightning.evaluation.axis_settings import CHIP
from asim_lightning.evaluation.results import AxisValue, Result, axis_text, distinct_values, value_words
from asim_lightning.evaluation.run import Run
from asim_lightning.report.axis_labels import head_of, in_one_unit, label_of, legend_text
from asim_lightning.report.axis_scale import axis_scale, number_ticks
from asim_lightning.report.curves import drawn_lines
from asim_lightning.report.drawing import Drawing, Rows, Traces, accuracy_trace, layout_of, references
from asim_lightning.report.numbers import interval_text

_PHONE, _CHARACTER = 300.0, 8.0  # dots: width of an axis on a phone, and of a character of its labels
_ASIDE = 0.007
"""Of an axis: from line to line."""


def accuracy_drawing(run: Run, axis: str) -> Drawing:
    """Accuracy against an axis with intervals, a line for each combination of the others, as `drawn_lines` has them.

    Raises:
        ValueError: No simulated point has the axis.
    """
    results = list(run.results)
    rows, names, _ = in_one_unit(results, axis)
    lines, note = drawn_lines(rows, axis, names)
    scale = axis_scale(distinct_values(row.axes[axis] for _, line in lines for row in line))
    ends, traces = scale.ends, Traces()
    numbers: Rows = [["line", axis, "accuracy", "low", "high"]]
    for index, (others, line) in enumerate(lines):
        name = legend_text(others, names) or "simulated"
        # lines step aside so that bars do not hide each other; texts and numbers keep their values
        aside = _ASIDE * (ends[1] - ends[0]) * (index - (len(lines) - 1) / 2)
        numbers += [[name, axis_text(row.axes[axis]), row.accuracy, row.low, row.high] for row in line]
        traces.append(
            accuracy_trace(
                line,
                x=[scale.position(row.axes[axis]) + aside for row in line],
                texts=[_hover(name, {axis: row.axes[axis]}, row, names) for row in line],
                name=name,
                index=index,
                mode="lines+markers" if scale.joined and axis != CHIP else "markers",
            )
        )
    traces += references(results, ends, numbers)
    if scale.kind == "names":
        places, texts = scale.positions, [value_words(value) for value in scale.values]
    else:
        places, texts = number_ticks(scale, _PHONE, lambda text: _CHARACTER * len(text))
    log = ", log scale" if scale.kind == "log" else ""
    layout = layout_of(
        {
            "title": escape(label_of(axis, names)) + log,
            "tickvals": places,
            "ticktext": list(map(escape, texts)),
            "range": ends,
        },
        {"title": "accuracy (%)"},
        len(traces),
    )
    head = head_of(axis)
    return Drawing(
        f"Accuracy against {head}", f"{note[0].upper()}{note[1:]}.", traces, layout, numbers, f"accuracy_vs_{axis}.csv"
    )


def _hover(name: str, axes: Mapping[str, AxisValue], row: Result, names: Mapping[str, str]) -> str:
    where = escape(legend_text(axes, names))
    reads = f" in {row.trials} reads" if row.trials > 1 else ""
    head = "" if name == "simulated" else f"{escape(name)}<br>"
    accuracy = f"{100 * row.accuracy:.2f} % {interval_text(row.low, row.high)}"
    return f"{head}{where}<br>{accuracy}<br>{row.images:,} images{reads}"
