"""Accuracy against energy of the points of a run, as a figure of a report."""

from collections.abc import Mapping
from html import escape
from typing import Any

from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.run import Run, is_among
from asim_lightning.report.axis_labels import legend_text
from asim_lightning.report.choices import conditions_of, digital_energy, energy_of, front_of, varied
from asim_lightning.report.cost_names import cost_label, cost_text, main_costs, unit_of
from asim_lightning.report.curves import MOST_CURVES
from asim_lightning.report.drawing import Drawing, Rows, Traces, accuracy_trace, layout_of, references
from asim_lightning.report.numbers import interval_text


def trade_off_drawing(run: Run) -> Drawing | None:
    """Accuracy against energy, a line along the points that no other betters under the same conditions.

    Of more than `MOST_CURVES` conditions some are drawn, from the first to the last. None where there is no front.
    """
    energy, several, front = energy_of(run), varied(run), front_of(run)
    if energy is None or not front:
        return None
    numbers: Rows = [["conditions", "point", energy, "accuracy", "low", "high", "on_the_front"]]
    under: dict[str, list[Result]] = {}
    for point in run.points:
        if energy in point.figures:
            conditions = conditions_of(point, several)
            under.setdefault(legend_text(conditions) or "simulated", []).append(point)
    groups, last = list(under.items()), len(under) - 1
    if len(groups) > MOST_CURVES:
        groups = [groups[round(place * last / (MOST_CURVES - 1))] for place in range(MOST_CURVES)]
    traces: Traces = []
    for index, (name, points) in enumerate(groups):
        points.sort(key=lambda point: point.figures[energy])
        for is_front in (True, False):
            drawn = [point for point in points if is_among(point, front) is is_front]
            if not drawn:
                continue
            texts = [_cost_hover(run, point, energy) for point in drawn]
            for point in drawn:
                where = legend_text(point.axes)
                numbers.append([name, where, point.figures[energy], point.accuracy, point.low, point.high, is_front])
            trace = accuracy_trace(
                drawn,
                x=[point.figures[energy] for point in drawn],
                texts=texts,
                name=name,
                index=index,
                mode="lines+markers" if is_front else "markers",
            )
            if not is_front:
                trace.update(opacity=0.45, showlegend=not any(is_among(point, front) for point in points))
                trace["error_y"]["visible"] = False
            traces.append({**trace, "legendgroup": name})
    found = [point.figures[energy] for point in run.results if energy in point.figures]
    digital = digital_energy(run)
    if digital is not None and unit_of(energy) == "µJ" and run.of_kind("quantized"):
        found.append(digital)
        traces.append(_all_digital(run, digital, numbers))
    ends = (min(found), max(found))
    logarithmic = ends[1] > 20 * ends[0] > 0
    traces += references(list(run.results), ends, numbers, before=1)
    what, _, unit = cost_label(energy).partition(" (")
    axis = {"title": f"{what} an image{f' ({unit}' if unit else ''}" + (", log scale" if logarithmic else "")}
    layout = layout_of({**axis, **({"type": "log"} if logarithmic else {})}, {"title": "accuracy (%)"}, len(traces))
    note = (
        "Lines join the points that no other betters under the same conditions; pale points are bettered. Bars: 95 %."
    )
    note += f" {len(groups)} of {len(under)} conditions are drawn." if len(groups) < len(under) else ""
    return Drawing("Accuracy against energy", note, traces, layout, numbers, "accuracy_vs_energy.csv")


def _all_digital(run: Run, energy: float, numbers: Rows) -> Mapping[str, Any]:
    """The quantised network with all products in a digital macro of the same technology."""
    row = run.of_kind("quantized")[0]
    numbers.append(["all-digital", "", energy, row.accuracy, row.low, row.high, ""])
    text = f"all-digital macro<br>{100 * row.accuracy:.2f} % (quantized)<br>{cost_text('energy', {'energy': energy})}"
    return {
        "type": "scatter", "mode": "markers", "name": "all-digital", "x": [energy], "y": [100 * row.accuracy],
        "marker": {"symbol": "star", "size": 14, "color": "black"}, "hovertext": [text], "hoverinfo": "text",
    }  # fmt: skip


def _cost_hover(run: Run, point: Result, energy: str) -> str:
    lines = [legend_text({name: value}) for name, value in point.axes.items()]
    lines.append(f"{100 * point.accuracy:.2f} % {interval_text(point.low, point.high)}")
    lines += [
        f"{cost_label(name).partition(' (')[0]} {cost_text(name, point.figures)}"
        for name in main_costs(list(point.figures))
    ]
    return "<br>".join(map(escape, lines))
