"""Pictures drawn by matplotlib: for files and for TensorBoard."""

import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, BinaryIO

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

from asim_lightning.report.picture import WIDTH, Axis, Grid, Picture, Series
from asim_lightning.whole_file import write_whole

HEIGHT = 4.3
"""Usual height of a figure, inches."""
_NARROW, _LOW = 5.0, 0.7
"""Below this width in inches pictures stand below each other, and have this share of the height."""
_DOTS = 200
_WIDEST_LINE = 90
_MOST_INSIDE = 6
"""Most entries of a legend inside the plot; a longer one would hide points."""
_AROUND_BARS, _OF_BAR, _OF_ROW, _OF_STRIP = 1.0, 0.22, 0.16, 0.66
"""Height around bars, of a bar, least height of a row of a heat map, and height of one row of points, inches."""
_AROUND_GRID, _MOST_TICKS = 1.3, 8
"""Width around a heat map, inches, and most ticks of a narrow axis."""
_OF_LETTER, _OF_HANDLE, _OF_LINE = 0.062, 0.5, 0.075
"""Width of a letter, of a handle of the legend, and length of an axis for a letter of its label, inches."""
_MOST_ACROSS, _MANY = 3, 5
"""Most pictures next to each other, and number of pictures from which a narrow figure has two next to each other."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_OTHER_MARKERS = {"none": "", "full": "o", "open": "o", "cross": "x", "ring": "o", "star": "*", "tick": "_"}
_SIZES = {"ring": 10.0, "star": 10.0, "tick": 12.0}
_SIDES = tuple((reach * side, reach * height) for reach in (3, 9) for height in (1, -1) for side in (1, -1))
"""Possible positions of a text next to its point, in points of type."""
_POINT = 8.0
"""Half the side of a point's square, dots."""
DASHES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (3, 1.5, 1, 1.5)), (0, (1.5, 1.5)))
_STYLE: Any = {"font.size": 9.0, "axes.titlesize": 10.0, "legend.fontsize": 8.0, "figure.titlesize": 10.0}
_NARROW_STYLE: Any = {"font.size": 8.0, "axes.titlesize": 8.0, "legend.fontsize": 7.0, "figure.titlesize": 8.0}
_FILES: Any = {"pdf.fonttype": 42, "svg.fonttype": "none"}
"""Texts stay texts in files: TrueType in PDF, because publishers refuse Type 3, and letters in SVG."""


def figure_of(*pictures: Picture, title: str = "", across: int = _MOST_ACROSS, width: float = WIDTH) -> Figure:
    """Pictures as one figure with a headline, `across` next to each other; heat maps share one scale of colours.

    Pictures of bars or of one row stand below each other, as high as they need; others too if the figure is narrow. A
    usual figure with three pictures next to each other is wider than `width` inches.
    """
    is_narrow, is_stack = width < _NARROW, pictures[0].has_bars or pictures[0].is_strip
    most = across if not is_narrow else 1 if len(pictures) < _MANY else 2
    columns = 1 if is_stack else min(len(pictures), most)
    heights = _heights(pictures, columns, is_narrow)
    if is_narrow and len(pictures) == 1:  # the legend is below
        below = _lines(pictures[0].note, 1.3 * _WIDEST_LINE * width / WIDTH).count("\n") + pictures[0].entries
        heights[0] += _OF_ROW * max(0, below - 1)
    with rc_context(_NARROW_STYLE if is_narrow else _STYLE):
        width = width if columns < _MOST_ACROSS or width != WIDTH else 1.4 * WIDTH
        figure = Figure(figsize=(width, sum(heights)), dpi=_DOTS, layout="constrained")
        grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
        image = None
        for number, picture in enumerate(pictures):
            plot = figure.add_subplot(grid[number // columns, number % columns])
            image = _draw(figure, plot, picture, is_narrow and len(pictures) == 1) or image
            if len(pictures) > 1 and not is_stack:
                plot.set_title(_lines(picture.title, 0.8 * _WIDEST_LINE * width / WIDTH / columns))
        if image is not None and (shown := pictures[0].grid) is not None:
            figure.colorbar(image, ax=figure.axes, label=shown.label)
        if headline := title or pictures[0].title * (len(pictures) == 1):
            figure.suptitle(_lines(headline, _WIDEST_LINE * width / WIDTH), x=0.01, ha="left")
        note = pictures[0].note
        if is_narrow and len(pictures) == 1 and pictures[0].entries:
            note = ""  # it is the title of the legend
        if note:
            lines = _lines(note, 1.3 * _WIDEST_LINE * min(1.0, width / WIDTH))
            figure.supxlabel(lines, x=0.995, ha="right", fontsize=7.5, color="0.3")
        figure.draw_without_rendering()  # sets the text sizes of this style
        for plot, picture in zip(figure.axes, pictures, strict=False):
            _write_labels(plot, picture)
    return figure


def _heights(pictures: Sequence[Picture], columns: int, is_narrow: bool) -> list[float]:
    """Heights of the lines of a figure, inches."""
    first, usual = pictures[0], HEIGHT * (_LOW if is_narrow else 1.0)
    if first.is_strip:
        return [_OF_STRIP + _AROUND_BARS * (number == 0) for number in range(len(pictures))]
    if first.has_bars and not is_narrow:
        return [_AROUND_BARS + _OF_BAR * len(each.y.names) for each in pictures]
    found = []
    for start in range(0, len(pictures), columns):
        line = pictures[start : start + columns]
        least = 0.0 if first.has_bars else usual * (1.0 if len(pictures) <= columns else 0.75)
        rows = [len(_rows_of(each)) * (_OF_ROW if each.grid is not None else _OF_BAR) for each in line]
        found.append(max(least, *(_AROUND_BARS + each * bool(each) for each in rows)))
    return found


def _rows_of(picture: Picture) -> list[str]:
    """Lines of the names along y, as they are written."""
    return [line for name in picture.y.names for part in name.splitlines() for line in fill(part, 40).splitlines()]


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of the file's suffix: png, pdf or svg."""

    def write(file: BinaryIO) -> None:
        with rc_context(_FILES):
            figure.savefig(file, format=path.suffix[1:], dpi="figure")

    write_whole(path, write)
    return path


def _lines(text: str, width: float) -> str:
    """A text in lines that never end between a number and its unit."""
    return fill(re.sub(r"(\d) (?=[%a-zµ])", "\\1\u00a0", text), int(width))


def _draw(figure: Figure, plot: Axes, picture: Picture, is_outside: bool) -> AxesImage | None:
    """Draw a picture; its legend is in the plot, or, if `is_outside`, below the figure."""
    image = None if picture.grid is None else _draw_grid(plot, picture.grid)
    lines = [each for each in picture.series if each.form == "line" and each.low]
    bands = [each for each in picture.series if each.form == "step" and each.low]
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
        if each.form == "step":
            _draw_steps(plot, each, len(bands) > 1)
        else:
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
    if picture.entries and (is_outside or picture.has_bars or picture.is_strip):
        _write_legend(figure, plot, picture.note * is_outside)
    elif picture.entries > _MOST_INSIDE:
        plot.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    elif picture.entries:
        plot.legend(loc="best", framealpha=0.9)
    return image


def _write_legend(figure: Figure, plot: Axes, note: str) -> None:
    """The legend of a plot below it, in columns that are not wider than the figure; and a note above the legend."""
    drawn, names = plot.get_legend_handles_labels()
    width = figure.get_figwidth()
    widest = _OF_LETTER * max(map(len, names)) + _OF_HANDLE
    title = _lines(note, 1.3 * _WIDEST_LINE * width / WIDTH) or None
    figure.legend(
        drawn, names, loc="outside lower center", ncols=min(3, max(1, int(width / widest))), frameon=False,
        title=title, title_fontsize=7.5, alignment="left",
    )  # fmt: skip


def _draw_steps(plot: Axes, each: Series, is_crossed: bool) -> None:
    """Steps with their interval: a band, or two lines if other bands would cover it."""
    dashes = DASHES[(each.style if each.dashes is None else each.dashes) % len(DASHES)]
    given: dict[str, Any] = {"where": "pre", "color": each.shown_colour, "alpha": 0.35 if each.is_pale else 1.0}
    plot.step(each.x, each.y, linestyle=dashes, linewidth=1.6, label=each.name or "_", **given)
    if each.low and is_crossed:
        for end in (each.low, each.high):
            plot.step(each.x, end, linestyle=":", linewidth=0.8, **given)
    elif each.low:
        plot.fill_between(each.x, each.low, each.high, step="pre", color=each.shown_colour, alpha=0.16, linewidth=0)


def _draw_series(plot: Axes, each: Series, aside: float, figure: Figure) -> None:
    dashes = DASHES[(each.style if each.dashes is None else each.dashes) % len(DASHES)]
    colour, alpha = each.shown_colour, 0.35 if each.is_pale else 1.0
    x, y = np.asarray(each.x, float), np.asarray(each.y, float)
    label = each.name or "_"
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
    longest = max(len(line) for row in grid.texts for text in row for line in (text.splitlines() or [""]))
    if longest * _OF_LETTER * values.shape[1] > plot.figure.get_figwidth() - _AROUND_GRID:  # type: ignore[union-attr]
        return image
    for (row, column), value in np.ndenumerate(values):
        text, colour = grid.texts[row][column], "white" if value < sum(grid.ends) / 2 else "black"
        # the second line says that the point is the cheapest
        weight = "bold" if "\n" in text else "normal"
        plot.text(column, row, text, ha="center", va="center", fontsize=7, color=colour, weight=weight)
    return image


def _set_axis(plot: Axes, name: str, axis: Axis) -> None:
    shown, set_limits = (plot.xaxis, plot.set_xlim) if name == "x" else (plot.yaxis, plot.set_ylim)
    length = plot.get_window_extent().transformed(plot.figure.dpi_scale_trans.inverted())  # type: ignore[union-attr]
    shown.set_label_text(_lines(axis.label, max(12, int((length.width if name == "x" else length.height) / _OF_LINE))))
    is_narrow = plot.figure.get_figwidth() < _NARROW  # type: ignore[union-attr]
    if axis.scale == "names":
        letters = sum(map(len, axis.names))
        is_tight = name == "x" and letters > 70
        every = 2 if is_narrow and name == "x" and letters < 70 and len(axis.names) > _MOST_TICKS else 1
        width = 28 if name == "x" else 40
        texts = ["\n".join(fill(line, width) for line in text.splitlines()) for text in axis.names]
        turned: dict[str, Any] = {"rotation": 25, "ha": "right"} if is_tight else {}
        shown.set_ticks(range(0, len(texts), every), texts[::every], **turned)
        if name == "y" and not axis.ends:
            plot.invert_yaxis()
    elif axis.scale in ("log", "symlog"):
        around_0 = {"linthresh": axis.least, "linscale": 0.4} if axis.scale == "symlog" else {}
        (plot.set_xscale if name == "x" else plot.set_yscale)(axis.scale, **around_0)
        _write_decades(shown, is_narrow)
        if axis.scale == "symlog":
            last = shown.get_view_interval()[1]
            decades = np.asarray(LogLocator(subs=(1,)).tick_values(axis.least, last))
            shown.set_ticks([0.0, *decades[decades >= axis.least].tolist()[int(is_narrow) :]])
            set_limits(-0.2 * axis.least, last)
    elif axis.ticks:
        ticks = list(axis.ticks)[:: 2 if is_narrow and len(axis.ticks) > _MOST_TICKS else 1]
        shown.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    if axis.ends is not None:
        set_limits(*axis.ends)
    if axis.above is not None and axis.scale != "names":
        label, factor = axis.above
        second = plot.secondary_xaxis("top", functions=(lambda x: x * factor, lambda x: x / factor))  # type: ignore[operator]
        second.set_xlabel(label)
        if axis.scale != "linear":
            _write_decades(second.xaxis, is_narrow)


def _write_decades(shown: XAxis | YAxis, is_narrow: bool) -> None:
    """Numbers at 1, 2 and 5 of each decade, or in a narrow figure at 1; no numbers at the small ticks between."""
    shown.set_major_locator(LogLocator(subs=(1,) if is_narrow else (1, 2, 5)))
    shown.set_major_formatter("{x:g}")
    shown.set_minor_formatter(NullFormatter())
