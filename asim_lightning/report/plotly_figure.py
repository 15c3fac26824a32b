"""Pictures as plotly's JSON, for a page."""

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite, log10
from typing import Any

from asim_lightning.report.picture import Axis, Mark, Picture, Series

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
_OTHER_SYMBOLS = {
    "full": "circle", "open": "circle-open", "cross": "x-thin-open", "ring": "circle-open", "star": "star",
    "tick": "line-ns-open",
}  # fmt: skip
_SIZES = {"ring": 16, "star": 14, "tick": 16, "none": 0}
_DASHES = ("solid", "dash", "dashdot", "dot")
_HATCHES = ("", "/", ".", "x", "\\", "-")
_SIDES = ("top left", "bottom right")
"""Sides of texts at points of a rising line, in turns, so that neighbours do not touch."""
_LINES = {"gridcolor": "#e5e5e5", "linecolor": "#808080", "zeroline": False, "ticks": "outside"}


def traces_of(picture: Picture) -> list[dict[str, Any]]:
    """The traces, from back to front."""
    found: list[dict[str, Any]] = []
    bands = [each for each in picture.series if each.form == "step" and each.low]
    for each in picture.series:
        found += [*(_band(each, len(bands) > 1) if each in bands else ()), _trace(each, picture)]
    if picture.grid is not None:
        grid, written = picture.grid, [list(map(_html, row)) for row in picture.grid.texts]
        found.append(
            {"type": "heatmap", "z": [list(row) for row in grid.values], "colorscale": "Viridis", "text": written}
            | {"zmin": grid.ends[0], "zmax": grid.ends[1], "texttemplate": "%{text}"}
            | {"colorbar": {"title": {"text": escape(grid.label), "side": "right"}}}
        )
    if picture.labels:
        x, y, texts = zip(*picture.labels, strict=True)
        found.append(
            {"type": "scatter", "mode": "text", "x": _places(x, picture.x), "y": [*y]}
            | {"textposition": "middle right" if picture.has_bars else [_SIDES[at % 2] for at in range(len(texts))]}
            | {"text": [f"\u00a0{escape(text)}\u00a0" for text in texts], "hoverinfo": "skip", "showlegend": False}
        )
    return found


def layout_of(picture: Picture) -> dict[str, Any]:
    """Axes, legend and margins."""
    has_bars, names = picture.has_bars or picture.is_strip, len(picture.y.names)
    turned = {"autorange": "reversed"} if names and picture.y.ends is None else {}  # the first name at the top
    right = 32 if has_bars and picture.x.names else 12  # room for half of the last name
    height = 160 + 22 * names if has_bars else max(420 + 12 * picture.entries, 160 + 17 * names)
    height = 130 if picture.is_strip else height
    below = min(-0.2, -72 / (height - 62))  # below the label of the axis, also with few bars
    return {
        "xaxis": {**_LINES, "showgrid": has_bars, **_axis(picture.x, [x for each in picture.series for x in each.x])},
        "yaxis": {**_LINES, "showgrid": not has_bars, **_axis(picture.y, ()), **turned},
        "shapes": [_line_across(mark) for mark in picture.marks],
        "legend": {"orientation": "h", "y": below, "yanchor": "top", "x": 0, "traceorder": "normal"},
        "margin": {"l": 56, "r": right, "t": 12, "b": 50},
        "height": height,
        "barmode": "stack",
        "hovermode": "closest",
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1a1a1a"},
    }


def _trace(each: Series, picture: Picture) -> dict[str, Any]:
    colour = each.shown_colour
    texts = {"hovertext": [*map(_html, each.texts)], "hoverinfo": "text"} if each.texts else {}
    shared = {
        "name": escape(each.name),
        "showlegend": bool(each.name),
        "x": _places(each.x, picture.x),
        "y": _places(each.y, picture.y),
        "opacity": 0.35 if each.is_pale else 1.0,
        **texts,
    }
    if each.form == "bar":
        pattern = {"shape": _HATCHES[each.style % len(_HATCHES)]}
        return {"type": "bar", "orientation": "h", "marker": {"color": colour, "pattern": pattern}, **shared}
    line = {"color": colour, "width": 2, "dash": _DASHES[(each.style if each.dashes is None else each.dashes) % 4]}
    if each.form == "step":
        return {"type": "scatter", "mode": "lines", "line": {**line, "shape": "vh"}, **shared}
    symbol = _OTHER_SYMBOLS.get(each.marker, _SYMBOLS[each.style % len(_SYMBOLS)])
    width = {"line": {"width": 2, "color": colour}} if each.marker in ("ring", "cross", "tick", "open") else {}
    found: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers" if each.form == "points" else "lines" if each.marker == "none" else "lines+markers",
        "line": line,
        "marker": {"color": colour, "symbol": symbol, "size": _SIZES.get(each.marker, 8), **width},
        **shared,
    }
    bars = {"type": "data", "symmetric": False, "thickness": 1.2, "width": 3}
    for name, at, low, high in (("error_y", each.y, each.low, each.high), ("error_x", each.x, each.left, each.right)):
        if low:
            above, below = ([abs(end - value) for end, value in zip(ends, at, strict=True)] for ends in (high, low))
            found[name] = {**bars, "array": above, "arrayminus": below}
    return found


def _html(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _band(each: Series, is_crossed: bool) -> list[dict[str, Any]]:
    """An interval as a band, or as two lines if other bands would cover it."""
    colour = each.shown_colour
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    shared = {"type": "scatter", "mode": "lines", "x": list(each.x), "hoverinfo": "skip", "showlegend": False}
    shared["line"] = {"color": colour, "width": 1 if is_crossed else 0, "dash": "dot", "shape": "vh"}
    filled = {} if is_crossed else {"fill": "tonexty", "fillcolor": f"rgba({red},{green},{blue},0.15)"}
    return [{**shared, "y": list(each.low)}, {**shared, "y": list(each.high), **filled}]


def _places(values: Any, axis: Axis) -> list[Any]:
    """Positions; plotly has no axis with 0 and decades, so its values are texts in order."""
    return [f"{value:g}" for value in values] if axis.scale == "symlog" else list(values)


def _axis(axis: Axis, numbers: Sequence[float]) -> Mapping[str, Any]:
    found: dict[str, Any] = {"title": {"text": escape(axis.label)}, "automargin": True}
    if axis.scale == "names":
        found |= {"tickvals": list(range(len(axis.names))), "ticktext": list(map(escape, axis.names))}
    elif axis.scale == "symlog":
        rising = sorted({number for number in numbers if isfinite(number)})
        found |= {"type": "category", "categoryarray": _places(rising, axis)}
    elif axis.scale == "log":
        found |= {"type": "log", "dtick": "D2", "tickformat": "~g"}  # only numbers at 1, 2 and 5 of each decade
    elif axis.ticks:
        found |= {"tickvals": list(axis.ticks)}
    if axis.ends is not None and axis.scale in ("linear", "names", "log"):
        found |= {"range": [log10(end) for end in axis.ends] if axis.scale == "log" else list(axis.ends)}
    return found


def _line_across(mark: Mark) -> dict[str, Any]:
    other = "y" if mark.along == "x" else "x"
    return {
        "type": "line", f"{mark.along}0": mark.at, f"{mark.along}1": mark.at, f"{other}0": 0, f"{other}1": 1,
        f"{other}ref": "paper", "name": escape(mark.name), "showlegend": bool(mark.name),
        "line": {"color": mark.colour, "dash": _DASHES[mark.dashes % len(_DASHES)], "width": 1.3},
    }  # fmt: skip
