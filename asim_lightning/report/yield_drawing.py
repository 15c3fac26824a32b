"""Yields of a run, as a figure of a report."""

from html import escape

from asim_lightning.evaluation.chip_yield import yield_curve
from asim_lightning.evaluation.run import Run
from asim_lightning.report.accuracy_figure import COLOURS
from asim_lightning.report.axis_labels import legend_text
from asim_lightning.report.drawing import DASHES, GREY, Drawing, Rows, Traces, layout_of


def yield_drawing(run: Run) -> Drawing | None:
    """Share of chips that are at least so accurate, with its band, a curve a combination of the other axes."""
    if not run.yields:
        return None
    numbers: Rows = [["curve", "accuracy", "share", "low", "high"]]
    traces: Traces = []
    for index, found in enumerate(run.yields[: len(COLOURS)]):
        name, colour = legend_text(found.axes) or "simulated", COLOURS[index]
        total = len(found.chips)
        curve = [(0.0, 1.0, *found.bounds(total)), *yield_curve(found), (1.0, 0.0, *found.bounds(0))]
        if curve[-2][0] == 1.0:
            curve.pop()
        numbers += [[name, *point] for point in curve]
        x = [100 * accuracy for accuracy, *_ in curve]
        texts = [
            f"{escape(name)}<br>{100 * share:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of {total} chips<br>"
            f"at least {100 * accuracy:.2f} %"
            for accuracy, share, low, high in curve
        ]
        # the share holds from an accuracy down to the one below it
        line = {"color": colour, "width": 2, "shape": "vh", "dash": DASHES[index % len(DASHES)]}
        band = {"color": colour, "width": 0, "shape": "vh"}
        group = {"x": x, "legendgroup": name, "type": "scatter", "mode": "lines"}
        traces += [
            {**group, "y": [point[2] for point in curve], "line": band, "hoverinfo": "skip", "showlegend": False},
            {**group, "y": [point[3] for point in curve], "line": band, "hoverinfo": "skip", "showlegend": False}
            | {"fill": "tonexty", "fillcolor": _pale(colour)},
            {**group, "y": [point[1] for point in curve], "line": line, "name": escape(name), "hovertext": texts}
            | {"hoverinfo": "text"},
        ]
    accuracies = [
        100 * float(value) for found in run.yields for value in (found.accuracies.min(), found.accuracies.max())
    ]
    marks = [100 * threshold for threshold in run.thresholds]
    margin = max(0.08 * (max(accuracies) - min(accuracies)), 0.5)
    ends = [max(0.0, min(accuracies + marks) - margin), min(100.0, max(accuracies + marks) + margin)]
    images = run.yields[0].images
    layout = layout_of(
        {"title": f"accuracy on these {images:,} images (%)", "range": ends},
        {"title": "share of chips", "range": [-0.02, 1.02]},
        len(run.yields),
    )
    layout["shapes"] = [
        {"type": "line", "x0": mark, "x1": mark, "y0": 0, "y1": 1, "yref": "paper"}
        | {"line": {"color": GREY, "dash": "dot", "width": 1}}
        for mark in marks
    ]
    bounds = (
        "each end with 95 % at any number of chips" if run.yields[0].stopped_by_outcomes else "95 % at each accuracy"
    )
    some = f" {len(COLOURS)} of {len(run.yields)} curves are drawn." if len(run.yields) > len(COLOURS) else ""
    note = f"Bands: bounds of the share of all chips on these images, {bounds}. Dotted lines: thresholds.{some}"
    return Drawing("Yield", note, traces, layout, numbers, "yield_curves.csv")


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
