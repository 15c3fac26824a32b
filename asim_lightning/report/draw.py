"""Pictures drawn by matplotlib: for files and for TensorBoard."""

import re
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox, ScaledTranslation
from numpy.typing import NDArray

from asim_lightning.report.picture import Axis, Grid, Picture, Series
from asim_lightning.whole_file import write_whole

WIDTH, HEIGHT = 7.2, 4.3
"""Size of a figure, inches: the width of a page of two columns."""
_DOTS = 200
_WIDEST_LINE = 90
_MOST_INSIDE = 6
"""Most entries of a legend inside the plot; a longer one would hide points."""
_AROUND_BARS, _OF_BAR, _OF_ROW = 1.0, 0.22, 0.16
"""Height around bars, of a bar, and least height of a row of a heat map, inches."""
_MOST_ACROSS = 3
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_OTHER_MARKERS = {"none": "", "full": "o", "open": "o", "cross": "x", "ring": "o", "star": "*", "tick": "_"}
_SIZES = {"ring": 10.0, "star": 10.0, "tick": 12.0}
_SIDES = tuple((reach * side, reach * height) for reach in (3, 9) for height in (1, -1) for side in (1, -1))
"""Possible positions of a text next to its point, in points of type."""
_POINT = 8.0
"""Half the side of a point's square, dots."""
DASHES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (3, 1.5, 1, 1.5)), (0, (1.5, 1.5)))
_STYLE: Any = {"font.size": 9.0, "axes.titlesize": 10.0, "legend.fontsize": 8.0, "figure.titlesize": 10.0}


def figure_of(*pictures: Picture, title: str = "", across: int = _MOST_ACROSS) -> Figure:
    """Pictures as one figure with a headline, `across` next to each other; heat maps share one scale of colours.

    Pictures of bars stand below each other, as high as their bars need.
    """
    columns = 1 if pictures[0].has_bars else min(len(pictures), across)
    lines = -(-len(pictures) // columns)
    if pictures[0].has_bars:
        heights = [_AROUND_BARS + _OF_BAR * len(each.y.names) for each in pictures]
    else:
        rows = len(pictures[0].y.names) if pictures[0].grid is not None else 0
        heights = [max(HEIGHT if lines == 1 else 0.75 * HEIGHT, _AROUND_BARS + _OF_ROW * rows)] * lines
    with rc_context(_STYLE):
        width = WIDTH if columns < _MOST_ACROSS else 1.4 * WIDTH
        figure = Figure(figsize=(width, sum(heights)), dpi=_DOTS, layout="constrained")
        grid = figure.add_gridspec(lines, columns, height_ratios=heights)
        image = None
        for number, picture in enumerate(pictures):
            plot = figure.add_subplot(grid[number // columns, number % columns])
            image = _draw(figure, plot, picture) or image
            if len(pictures) > 1:
                plot.set_title(_lines(picture.title, 0.8 * _WIDEST_LINE * width / WIDTH / columns))
        if image is not None and (shown := pictures[0].grid) is not None:
            figure.colorbar(image, ax=figure.axes, label=shown.label)
        if headline := title or pictures[0].title * (len(pictures) == 1):
            figure.suptitle(_lines(headline, _WIDEST_LINE * width / WIDTH), x=0.01, ha="left")
        if note := pictures[0].note:
            figure.supxlabel(_lines(note, 1.3 * _WIDEST_LINE), x=0.995, ha="right", fontsize=7.5, color="0.3")
        figure.draw_without_rendering()  # sets the text sizes of this style
        for plot, picture in zip(figure.axes, pictures, strict=False):
            _write_labels(plot, picture)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of the file's suffix: png, pdf or svg."""
    write_whole(path, lambda file: figure.savefig(file, format=path.suffix[1:], dpi="figure"))
    return path


def _lines(text: str, width: float) -> str:
    """A text in lines that never end between a number and its unit."""
    return fill(re.sub(r"(\d) (?=[%a-zµ])", "\\1\u00a0", text), int(width))


def _draw(figure: Figure, plot: Axes, picture: Picture) -> AxesImage | None:
    image = None if picture.grid is None else _draw_grid(plot, picture.grid)
    lines = [each for each in picture.series if each.form == "line" and each.low]
    tips: NDArray[np.float64] | float = 0.0
    given: dict[str, Any]
    for each in picture.series:
        if each.form == "bar":
            hatch = ("", "////", "....", "xxxx", "\\\\\\\\", "----")[each.style % 6]
            given = {"color": each.shown_colour, "label": each.name or "_", "edgecolor": "white", "linewidth": 0.3}
            plot.barh(each.y, each.x, 0.7, tips, hatch=hatch, **given)
            tips = tips + np.asarray(each.x, float)
            continue
        # lines step aside so that intervals do not hide each other; the data stay as they are
        place = lines.index(each) - (len(lines) - 1) / 2 if each in lines else 0.0
        _draw_series(plot, each, place * min(2.4, 10.0 / max(len(lines), 1)) / 72.0, figure)
    for mark in picture.marks:
        given = {"color": mark.colour, "linestyle": DASHES[mark.dashes % len(DASHES)], "linewidth": 1.1}
        (plot.axvline if mark.along == "x" else plot.axhline)(mark.at, label=mark.name or "_", zorder=1.5, **given)
    _set_axis(plot, "x", picture.x)
    _set_axis(plot, "y", picture.y)
    if picture.grid is None:
        plot.grid(axis="x" if picture.has_bars else "y", color="0.9")
        plot.set_axisbelow(True)
        plot.spines[["top", "right"]].set_visible(False)
    if picture.has_bars and picture.entries:
        figure.legend(*plot.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    elif picture.entries > _MOST_INSIDE:
        plot.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    elif picture.entries:
        plot.legend(loc="best", framealpha=0.9)
    return image


def _draw_series(plot: Axes, each: Series, aside: float, figure: Figure) -> None:
    dashes = DASHES[(each.style if each.dashes is None else each.dashes) % len(DASHES)]
    colour, alpha = each.shown_colour, 0.35 if each.is_pale else 1.0
    x, y = np.asarray(each.x, float), np.asarray(each.y, float)
    label = each.name or "_"
    if each.form == "step":
        if each.low:
            plot.fill_between(x, each.low, each.high, step="pre", color=colour, alpha=0.16, linewidth=0)
        plot.step(x, y, where="pre", color=colour, linestyle=dashes, linewidth=1.6, label=label, alpha=alpha)
        return
    marker = _OTHER_MARKERS.get(each.marker, _MARKERS[each.style % len(_MARKERS)])
    drawn = plot.errorbar(
        x, y,
        yerr=[y - each.low, np.asarray(each.high) - y] if each.low else None,
        xerr=[x - each.left, np.asarray(each.right) - x] if each.left else None,
        color=colour, ecolor=colour, alpha=alpha, marker=marker, markersize=_SIZES.get(each.marker, 4.5),
        markerfacecolor="none" if each.marker in ("open", "ring") else colour,
        markeredgewidth=1.4 if each.marker in ("cross", "ring", "tick") else 1.0,
        linestyle=dashes if each.form == "line" else "", linewidth=1.4, elinewidth=0.9, capsize=2.0, label=label,
        zorder=1.9 if each.is_pale else 3 if each.marker == "ring" else 2.0,
    )  # fmt: skip
    if aside:
        for artist in drawn.get_children():
            artist.set_transform(plot.transData + ScaledTranslation(aside, 0.0, figure.dpi_scale_trans))


def _write_labels(plot: Axes, picture: Picture) -> None:
    """Texts next to their points, each on the first side without other texts and labelled points."""
    places = plot.transData.transform([label[:2] for label in picture.labels] or np.empty((0, 2)))
    taken = [Bbox.from_extents(*(place - _POINT), *(place + _POINT)) for place in places]
    sides = ((4, 0),) if picture.has_bars else _SIDES
    for x, y, text in picture.labels:
        for dx, dy in sides:
            label = plot.annotate(
                text, (x, y), (dx, dy), textcoords="offset points", ha="left" if dx > 0 else "right",
                va="bottom" if dy > 0 else "top" if dy else "center", fontsize=8, color="0.1", zorder=4,
                path_effects=[] if picture.has_bars else [withStroke(linewidth=2.0, foreground="white")],
            )  # fmt: skip
            box = label.get_window_extent()
            if (dx, dy) == sides[-1] or not any(map(box.overlaps, taken)):
                taken.append(box)
                break
            label.remove()


def _draw_grid(plot: Axes, grid: Grid) -> AxesImage:
    values = np.asarray(grid.values, float)
    image = plot.imshow(values, cmap="viridis", vmin=grid.ends[0], vmax=grid.ends[1], aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(values):
        text, colour = grid.texts[row][column], "white" if value < sum(grid.ends) / 2 else "black"
        # the second line says that the point is the cheapest
        weight = "bold" if "\n" in text else "normal"
        plot.text(column, row, text, ha="center", va="center", fontsize=7, color=colour, weight=weight)
    return image


def _set_axis(plot: Axes, name: str, axis: Axis) -> None:
    shown, set_limits = (plot.xaxis, plot.set_xlim) if name == "x" else (plot.yaxis, plot.set_ylim)
    shown.set_label_text(axis.label)
    if axis.scale == "names":
        is_tight = name == "x" and sum(map(len, axis.names)) > 70
        width = 28 if name == "x" else 40
        texts = ["\n".join(fill(line, width) for line in text.splitlines()) for text in axis.names]
        turned: dict[str, Any] = {"rotation": 25, "ha": "right"} if is_tight else {}
        shown.set_ticks(range(len(texts)), texts, **turned)
        if name == "y" and not axis.ends:
            plot.invert_yaxis()
    elif axis.scale in ("log", "symlog"):
        around_0 = {"linthresh": axis.least, "linscale": 0.4} if axis.scale == "symlog" else {}
        (plot.set_xscale if name == "x" else plot.set_yscale)(axis.scale, **around_0)
        _write_decades(shown)
        if axis.scale == "symlog":
            last = shown.get_view_interval()[1]
            decades = np.asarray(LogLocator(subs=(1,)).tick_values(axis.least, last))
            shown.set_ticks([0.0, *decades[decades >= axis.least].tolist()])
            set_limits(-0.2 * axis.least, last)
    elif axis.ticks:
        shown.set_ticks(list(axis.ticks), [f"{tick:g}" for tick in axis.ticks])
    if axis.ends is not None:
        set_limits(*axis.ends)
    if axis.above is not None and axis.scale != "names":
        label, factor = axis.above
        second = plot.secondary_xaxis("top", functions=(lambda x: x * factor, lambda x: x / factor))  # type: ignore[operator]
        second.set_xlabel(label)
        if axis.scale != "linear":
            _write_decades(second.xaxis)


def _write_decades(shown: XAxis | YAxis) -> None:
    """Numbers at 1, 2 and 5 of each decade, and no numbers at the small ticks between."""
    shown.set_major_locator(LogLocator(subs=(1, 2, 5)))
    shown.set_major_formatter("{x:g}")
    shown.set_minor_formatter(NullFormatter())
