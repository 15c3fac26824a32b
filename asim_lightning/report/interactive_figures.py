"""Figures of a report that a browser draws, by plotly: accuracies, yields, accuracy against energy, energy by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from asim_lightning.evaluation.chip_yield import yield_curve
from asim_lightning.evaluation.results import AxisValue, PointResult, axis_text, distinct_values
from asim_lightning.evaluation.run_results import RunPoint, RunResults
from asim_lightning.report.accuracy_figure import COLOURS
from asim_lightning.report.axis_labels import LABELS, head_of, in_one_unit, label_of, legend_text
from asim_lightning.report.axis_scale import axis_scale, number_ticks
from asim_lightning.report.choices import conditions_of, digital_energy, energy_of, pareto, varied
from asim_lightning.report.cost_names import cost_label, cost_text, main_costs, unit_of
from asim_lightning.report.curves import drawn_lines
from asim_lightning.report.numbers import interval_text

Rows = list[list[object]]
"""Cells of a table, its head first."""
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
_DASHES = ("solid", "dash", "dashdot", "dot")
_PHONE, _CHARACTER = 300.0, 8.0  # dots: width of an axis on a phone, and of a character of its labels
_ASIDE = 0.007
"""Of an axis: from line to line."""
_GREY = "#595959"


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


def accuracy_drawing(run: RunResults, axis: str) -> Drawing:
    """Accuracy against an axis with intervals, a line for each combination of the others, as `drawn_lines` has them.

    Raises:
        ValueError: No simulated point has the axis.
    """
    results = [point.result for point in run.points]
    rows, names, _ = in_one_unit(results, axis, LABELS)
    lines, note = drawn_lines(rows, axis, names)
    scale = axis_scale(distinct_values(row.axes[axis] for _, line in lines for row in line))
    ends, traces = scale.ends, list[Mapping[str, Any]]()
    numbers: Rows = [["line", axis, "accuracy", "low", "high"]]
    for index, (others, line) in enumerate(lines):
        name = legend_text(others, names) or "simulated"
        # lines step aside so that bars do not hide each other; texts and numbers keep their values
        aside = _ASIDE * (ends[1] - ends[0]) * (index - (len(lines) - 1) / 2)
        numbers += [[name, axis_text(row.axes[axis]), row.accuracy, row.low, row.high] for row in line]
        traces.append(
            _with_bars(
                line,
                x=[scale.position(row.axes[axis]) + aside for row in line],
                texts=[_hover(name, {axis: row.axes[axis]}, row, names) for row in line],
                name=name,
                index=index,
                mode="lines+markers" if scale.joined else "markers",
            )
        )
    traces += _references(results, ends, numbers)
    if scale.kind == "names":
        places, texts = scale.positions, [axis_text(value) for value in scale.values]
    else:
        places, texts = number_ticks(scale, _PHONE, lambda text: _CHARACTER * len(text))
    log = ", log scale" if scale.kind == "log" else ""
    layout = _layout(
        {
            "title": escape(label_of(axis, names)) + log,
            "tickvals": places,
            "ticktext": list(map(escape, texts)),
            "range": ends,
        },
        {"title": "accuracy (%)"},
        len(traces),
    )
    head = head_of(axis, LABELS)
    return Drawing(
        f"Accuracy against {head}", f"{note[0].upper()}{note[1:]}.", traces, layout, numbers, f"accuracy_vs_{axis}.csv"
    )


def pareto_drawing(run: RunResults) -> Drawing | None:
    """Accuracy against energy, a line along the points that no other betters under the same conditions.

    None where no energies are known.
    """
    energy = energy_of(run)
    if energy is None:
        return None
    several, front = varied(run), pareto(run)
    numbers: Rows = [["conditions", "point", energy, "accuracy", "low", "high", "on_the_front"]]
    under: dict[str, list[int]] = {}
    for place, point in enumerate(run.points):
        if point.result.kind == "simulated" and energy in point.costs:
            conditions = conditions_of(point, several)
            under.setdefault(legend_text(conditions, LABELS) or "simulated", []).append(place)
    traces: list[Mapping[str, Any]] = []
    for index, (name, places) in enumerate(under.items()):
        places.sort(key=lambda place: run.points[place].costs[energy])
        for is_front in (True, False):
            drawn = [run.points[place] for place in places if (place in front) is is_front]
            if not drawn:
                continue
            texts = [_cost_hover(run, point, energy) for point in drawn]
            for point in drawn:
                row = point.result
                where = legend_text(row.axes, LABELS)
                numbers.append([name, where, point.costs[energy], row.accuracy, row.low, row.high, is_front])
            trace = _with_bars(
                [point.result for point in drawn],
                x=[point.costs[energy] for point in drawn],
                texts=texts,
                name=name,
                index=index,
                mode="lines+markers" if is_front else "markers",
            )
            if not is_front:
                trace.update(opacity=0.45, showlegend=not any(place in front for place in places))
                trace["error_y"]["visible"] = False
            traces.append({**trace, "legendgroup": name})
    found = [point.costs[energy] for point in run.points if energy in point.costs]
    digital = digital_energy(run)
    if digital is not None and unit_of(energy) == "µJ":
        found.append(digital)
        traces.append(_all_digital(run, digital, numbers))
    ends = (min(found), max(found))
    logarithmic = ends[1] > 20 * ends[0] > 0
    traces += _references([point.result for point in run.points], ends, numbers, before=1)
    axis = {"title": f"{cost_label(energy)} an image" + (", log scale" if logarithmic else "")}
    layout = _layout({**axis, **({"type": "log"} if logarithmic else {})}, {"title": "accuracy (%)"}, len(traces))
    note = (
        "Lines join the points that no other betters under the same conditions; pale points are bettered. Bars: 95 %."
    )
    return Drawing("Accuracy against energy", note, traces, layout, numbers, "accuracy_vs_energy.csv")


def yield_drawing(run: RunResults) -> Drawing | None:
    """Share of chips that are at least so accurate, with its band, a curve a combination of the other axes."""
    if not run.yields:
        return None
    numbers: Rows = [["curve", "accuracy", "share", "low", "high"]]
    traces: list[Mapping[str, Any]] = []
    for index, found in enumerate(run.yields[: len(COLOURS)]):
        name, colour = legend_text(found.axes, LABELS) or "simulated", COLOURS[index]
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
        line = {"color": colour, "width": 2, "shape": "vh", "dash": _DASHES[index % len(_DASHES)]}
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
    layout = _layout(
        {"title": f"accuracy on these {images:,} images (%)", "range": ends},
        {"title": "share of chips", "range": [-0.02, 1.02]},
        len(run.yields),
    )
    layout["shapes"] = [
        {"type": "line", "x0": mark, "x1": mark, "y0": 0, "y1": 1, "yref": "paper"}
        | {"line": {"color": _GREY, "dash": "dot", "width": 1}}
        for mark in marks
    ]
    bounds = (
        "each end with 95 % at any number of chips" if run.yields[0].stopped_by_outcomes else "95 % at each accuracy"
    )
    some = f" {len(COLOURS)} of {len(run.yields)} curves are drawn." if len(run.yields) > len(COLOURS) else ""
    note = f"Bands: bounds of the share of all chips on these images, {bounds}. Dotted lines: thresholds.{some}"
    return Drawing("Yield", note, traces, layout, numbers, "yield_curves.csv")


def layer_drawing(run: RunResults) -> Drawing | None:
    """Energy by layer, split into its parts; None where it is not known."""
    layers: Sequence[Mapping[str, Any]] = run.network_cost.get("layers", ())
    if not layers:
        return None
    parts = [
        name
        for name in layers[0]
        if name.endswith("_pj") and name not in ("energy_pj", "all_digital_pj") and any(layer[name] for layer in layers)
    ]
    names = [escape(str(layer["layer"])) for layer in layers]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "y": names,
            "x": [layer[part] / 1000 for layer in layers],
            "name": part.removesuffix("_pj").replace("_", " "),
            "marker": {"color": COLOURS[index % len(COLOURS)]},
            "hovertext": [
                f"{name}<br>{part.removesuffix('_pj').replace('_', ' ')} {layer[part] / 1000:.4g} nJ of "
                f"{layer['energy_pj'] / 1000:.4g} nJ<br>{layer.get('conversions', 0):,} conversions"
                for name, layer in zip(names, layers, strict=True)
            ],
            "hoverinfo": "text",
        }
        for index, part in enumerate(parts)
    ]
    layout = _layout({"title": "energy an image (nJ)"}, {"autorange": "reversed", "automargin": True}, len(traces))
    layout["barmode"], layout["height"] = "stack", 160 + 22 * len(layers)
    numbers: Rows = [list(layers[0]), *([layer.get(name) for name in layers[0]] for layer in layers)]
    technology = run.network_cost.get("technology", {})
    node, supply = (technology.get(name, {}).get("value") for name in ("node", "supply"))
    note = f"One image, as the run is configured{f', at {node:g} nm and {supply:g} V' if node and supply else ''}."
    return Drawing("Energy by layer", note, traces, layout, numbers, "layers.csv")


def _with_bars(
    rows: Sequence[PointResult], x: Sequence[float], texts: Sequence[str], name: str, index: int, mode: str
) -> dict[str, Any]:
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
        "line": {"color": colour, "dash": _DASHES[index % len(_DASHES)], "width": 2},
    }


def _references(
    results: Sequence[PointResult], ends: tuple[float, float], numbers: Rows, before: int = 0
) -> list[Mapping[str, Any]]:
    """Float and quantised accuracy as lines from end to end."""
    traces: list[Mapping[str, Any]] = []
    for kind, dash in (("float", "solid"), ("quantized", "dash")):
        for row in (each for each in results if each.kind == kind and not each.axes):
            share = 100 * row.accuracy
            numbers.append([kind, *[""] * (before + 1), row.accuracy, row.low, row.high, *[""] * before])
            text = f"{kind} {share:.2f} % {interval_text(row.low, row.high)}"
            traces.append(
                {"type": "scatter", "mode": "lines", "name": f"{kind} {share:.2f} %", "x": list(ends), "y": [share] * 2}
                | {"line": {"color": "black" if kind == "float" else _GREY, "dash": dash, "width": 1.3}}
                | {"hovertext": [text] * 2, "hoverinfo": "text"}
            )
    return traces


def _all_digital(run: RunResults, energy: float, numbers: Rows) -> Mapping[str, Any]:
    """The quantised network with all products in a digital macro of the same technology."""
    row = run.of_kind("quantized")[0].result
    numbers.append(["all-digital", "", energy, row.accuracy, row.low, row.high, ""])
    text = f"all-digital macro<br>{100 * row.accuracy:.2f} % (quantized)<br>{cost_text('energy', {'energy': energy})}"
    return {
        "type": "scatter", "mode": "markers", "name": "all-digital", "x": [energy], "y": [100 * row.accuracy],
        "marker": {"symbol": "star", "size": 14, "color": "black"}, "hovertext": [text], "hoverinfo": "text",
    }  # fmt: skip


def _hover(name: str, axes: Mapping[str, AxisValue], row: PointResult, names: Mapping[str, str]) -> str:
    where = escape(legend_text(axes, names))
    reads = f" in {row.trials} reads" if row.trials > 1 else ""
    head = "" if name == "simulated" else f"{escape(name)}<br>"
    accuracy = f"{100 * row.accuracy:.2f} % {interval_text(row.low, row.high)}"
    return f"{head}{where}<br>{accuracy}<br>{row.images:,} images{reads}"


def _cost_hover(run: RunResults, point: RunPoint, energy: str) -> str:
    lines = [legend_text({name: value}, LABELS) for name, value in point.result.axes.items()]
    row = point.result
    lines.append(f"{100 * row.accuracy:.2f} % {interval_text(row.low, row.high)}")
    lines += [
        f"{cost_label(name).partition(' (')[0]} {cost_text(name, point.costs)}"
        for name in main_costs(list(point.costs))
    ]
    return "<br>".join(map(escape, lines))


def _layout(x: Mapping[str, Any], y: Mapping[str, Any], entries: int) -> dict[str, Any]:
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


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
