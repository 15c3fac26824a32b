"""Pictures of a search: what accuracy costs, and accuracy over two or three axes."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.ticker import LogLocator, NullFormatter

from asim_lightning.evaluation.results import Result, axis_text, axis_value, distinct_values, value_words
from asim_lightning.evaluation.run import Run, is_among
from asim_lightning.evaluation.target import FIGURES, LARGE
from asim_lightning.report.accuracy_figure import COLOURS, DASHES, save_figure
from asim_lightning.report.axis_labels import head_of, label_of, legend_text
from asim_lightning.report.point_labels import PointLabel, write_labels

_LABELS = {
    "energy_uj": "energy (uJ an image)", "latency_ms": "latency (ms)", "tops_per_watt": "TOPS/W",
    "yield": "yield (share of chips)",
}  # fmt: skip
_DOTS = 100
_MOST_MAPS = 9
_MOST_INSIDE = 7  # entries of a legend that stands among the points
_VERDICTS = {"kept": ("o", "full"), "undecided": ("o", "none"), "missed": ("x", "full")}


def trade_off_figure(found: Run, title: str) -> Figure | None:
    """Accuracy with its interval over what it costs; None where nothing else is traded.

    The front is a line; points that miss a target are crosses, undecided ones open. The float and the quantised network
    are horizontal lines, and the all-digital point stands at the quantised accuracy, with its factor as a bar.

    Args:
        found: What a search found.
        title: Headline.
    """
    others = [FIGURES.get(name, name) for name in found.objectives if name != "accuracy"]
    if not others or not all(np.isfinite(point.figures[others[0]]) for point in found.points):
        return None
    name = others[0]
    figure = Figure(figsize=(9.0, 5.8), dpi=_DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    has_line = len(found.objectives) == 2 and "accuracy" in found.objectives
    for number, (given, points) in enumerate(found.groups):
        front = [point for point in points if is_among(point, found.front)]
        behind = [point for point in points if all(point is not each for each in front)]
        colour = COLOURS[number % len(COLOURS)]
        where = legend_text(given, _LABELS) if len(found.groups) > 1 else ""
        _draw_points(axes, behind, name, colour, 0.3)
        _draw_points(axes, front, name, colour, 1.0)
        line = sorted(front, key=lambda point: point.figures[name])
        shares = [100 * point.accuracy for point in line]
        dashes = DASHES[number % len(DASHES)] if has_line else ""
        label = f"front{where and ' at '}{where}"
        axes.plot([point.figures[name] for point in line], shares, ls=dashes, color=colour, lw=1.3, label=label)
    _add_verdicts(axes, found)
    _draw_references(axes, found)
    if name == "energy_uj":
        _draw_factors(axes, found)
    for best in found.cheapest:
        if best is not None:
            axes.plot([best.figures[name]], [100 * best.accuracy], "o", ms=12, mfc="none", mec="black", mew=1.4)
    values = [point.figures[name] for point in found.points]
    if min(values) > 0 and max(values) > 8 * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label_of(name, _LABELS) + (", more is better" if name in LARGE else ""), fontsize=12)
    axes.set_ylabel("accuracy (%)", fontsize=12)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    entries = len(axes.get_legend_handles_labels()[0])
    if entries > _MOST_INSIDE:
        figure.set_size_inches(11.0, 5.8)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    else:
        _keep_in_place(figure, axes, axes.legend(loc="best", fontsize=8, framealpha=0.9))
    axes.set_title(fill(title, 76), fontsize=13, pad=10)
    _name_front(figure, axes, found, name)
    return figure


def maps_figure(found: Run, title: str) -> Figure | None:
    """Accuracy over two axes as a heat map, over three as one for each value of the third; None for other numbers.

    Args:
        found: What a search found.
        title: Headline.
    """
    names = [name for name in found.points[0].axes if len(_values(found, name)) > 1]
    order = sorted(names, key=lambda name: len(_values(found, name)), reverse=True)
    if len(order) not in (2, 3) or (len(order) == 3 and len(_values(found, order[2])) > _MOST_MAPS):
        return None
    along, up, *over = order
    panels = _values(found, over[0]) if over else [""]
    columns = min(len(panels), 3)
    lines = -(-len(panels) // columns)
    across, high = len(_values(found, along)), len(_values(found, up))
    size = columns * max(3.2, 0.75 * across + 1.2) + 1.4, lines * max(2.6, 0.6 * high + 1.4) + 0.8
    figure = Figure(figsize=size, dpi=_DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    shares = [100 * point.accuracy for point in found.points]
    low, top = min(shares), max([*shares, *(100 * each.accuracy for each in found.references)])
    for number, value in enumerate(panels):
        axes = figure.add_subplot(lines, columns, number + 1)
        points = [point for point in found.points if not over or axis_text(point.axes[over[0]]) == value]
        image = _draw_map(axes, found, points, (along, up), (low, top))
        if over:
            axes.set_title(legend_text({over[0]: axis_value(value)}, _LABELS), fontsize=11)
    figure.colorbar(image, ax=figure.axes, label="accuracy (%)")
    references = ", ".join(f"{each.kind} {100 * each.accuracy:.2f} %" for each in found.references)
    figure.suptitle(fill(f"{title} ({references})", int(11 * size[0])), fontsize=12)
    return figure


def draw_search(found: Run, title: str, folder: Path) -> list[Path]:
    """Write the pictures of a search as PNG files.

    Args:
        found: What it found.
        title: Headline.
        folder: Where to.

    Raises:
        OSError: One cannot be written.
    """
    written = []
    figures = {"trade_off.png": trade_off_figure(found, title), "accuracy_map.png": maps_figure(found, title)}
    for name, figure in figures.items():
        if figure is not None:
            written.append(save_figure(figure, folder / name, _DOTS))
    return written


def _draw_points(axes: Axes, points: Sequence[Result], name: str, colour: str, strength: float) -> None:
    for verdict, (marker, filled) in _VERDICTS.items():
        some = [point for point in points if point.verdict == verdict]
        shares = np.array([point.accuracy for point in some])
        ends = np.array([[point.low, point.high] for point in some]).reshape(-1, 2).T
        axes.errorbar(
            [point.figures[name] for point in some], 100 * shares, yerr=100 * np.abs(ends - shares), fmt=marker,
            color=colour, ecolor=colour, elinewidth=0.7, ms=5, capsize=1.5, fillstyle=filled,  # type: ignore[arg-type]
            alpha=strength, zorder=2 + strength,
        )  # fmt: skip


def _add_verdicts(axes: Axes, found: Run) -> None:
    """What markers mean, for the legend, where there is a target."""
    if not found.targets:
        return
    said = {"kept": "keeps", "undecided": "undecided", "missed": "misses"}
    for verdict, (marker, filled) in _VERDICTS.items():
        what = f"{said[verdict]}: {' and '.join(found.targets)}" if verdict == "kept" else said[verdict]
        axes.plot([], [], marker, color="0.3", ms=5, fillstyle=filled, label=what)  # type: ignore[arg-type]
    axes.plot([], [], "o", ms=12, mfc="none", mec="black", mew=1.4, label="cheapest that keeps it")


def _draw_references(axes: Axes, found: Run) -> None:
    """Lines of the float and the quantised network, one with both names where they are equally accurate."""
    by_percent: dict[str, list[str]] = {}
    for reference in found.references:
        by_percent.setdefault(f"{100 * reference.accuracy:.2f}", []).append(reference.kind)
    for (text, kinds), dashes in zip(by_percent.items(), ("-", "--"), strict=False):
        label = f"{' and '.join(kinds)} {text} %"
        axes.axhline(float(text), color="0.35", lw=1, ls=dashes, zorder=1, label=label)


def _keep_in_place(figure: Figure, axes: Axes, legend: Legend) -> None:
    """Fix a legend where it is, as "best" would look for another place once there are names of points."""
    figure.draw_without_rendering()
    corner = axes.transAxes.inverted().transform(legend.get_window_extent())[0]
    legend.set_loc((float(corner[0]), float(corner[1])))


def _name_front(figure: Figure, axes: Axes, found: Run, name: str) -> None:
    """Write at the points of the front what differs among them, and below the figure what the names stand for."""
    given = {each for groups, _ in found.groups for each in groups} if len(found.groups) > 1 else set()
    differing = [
        axis
        for axis in found.points[0].axes
        if axis not in given and len({axis_text(point.axes[axis]) for point in found.front}) > 1
    ]
    if not differing:
        return
    cheapest = [point for point in found.front if any(point is best for best in found.cheapest)]
    rest = [point for point in found.front if all(point is not best for best in cheapest)]
    labels, seen = [], set()
    for point in [*cheapest, *sorted(rest, key=lambda point: -point.accuracy)]:
        text = "/".join(value_words(point.axes[axis]) for axis in differing)
        # one design at several noises stands on one vertical: its name may be left out at some
        labels.append(PointLabel(point.figures[name], 100 * point.accuracy, text, text not in seen))
        seen.add(text)
    labels.sort(key=lambda label: not label.may_be_far)
    shown = [(point.figures[name], 100 * point.accuracy) for point in found.points]
    bars = [[(point.figures[name], 100 * end) for end in (point.low, point.high)] for point in found.front]
    fronts = [
        sorted((point.figures[name], 100 * point.accuracy) for point in points if is_among(point, found.front))
        for _, points in found.groups
    ]
    levels = [[(x, 100 * each.accuracy) for x in axes.get_xlim()] for each in found.references]
    write_labels(figure, axes, labels, shown, bars + fronts + levels)
    key = "numbers at points of the front: " + " / ".join(head_of(axis, _LABELS) for axis in differing)
    shared = {name: value for name, value in found.front[0].axes.items() if name not in differing and name not in given}
    key += f"; all with {legend_text(shared, _LABELS)}" if shared else ""
    figure.supxlabel(fill(key, 118), x=0.995, ha="right", fontsize=9, color="0.3")


def _draw_factors(axes: Axes, found: Run) -> None:
    """The all-digital point, and the factors within which energies are known."""
    quantized = 100 * found.references[-1].accuracy
    if found.all_digital is not None:
        digital, low, high = found.all_digital
        axes.errorbar(
            [digital], [quantized], xerr=[[digital - low], [high - digital]], fmt="*", color="black", ms=11,
            capsize=3, label="all-digital, with its factor", zorder=4,
        )  # fmt: skip
    shown = next((best for best in found.cheapest if best is not None), found.front[0])
    energy, low, high = (shown.figures[name] for name in ("energy_uj", "energy_uj_low", "energy_uj_high"))
    axes.errorbar(
        [energy], [100 * shown.accuracy], xerr=[[energy - low], [high - energy]], fmt="none", ecolor="0.45",
        alpha=0.4, elinewidth=6, label="factor of the energy model, at one point", zorder=1,
    )  # fmt: skip


def _draw_map(
    axes: Axes, found: Run, points: Sequence[Result], names: tuple[str, str], ends: tuple[float, float]
) -> AxesImage:
    along, up = (_values(found, name) for name in names)
    grid = np.full((len(up), len(along)), np.nan)
    for point in points:
        x, y = along.index(axis_text(point.axes[names[0]])), up.index(axis_text(point.axes[names[1]]))
        grid[y, x] = 100 * point.accuracy
        bold = any(point is best for best in found.cheapest)
        dark = grid[y, x] < (ends[0] + ends[1]) / 2
        text = f"{grid[y, x]:.1f}" + ("\ncheapest" if bold else "")
        colour, weight = "white" if dark else "black", "bold" if bold else "normal"
        axes.text(x, y, text, ha="center", va="center", fontsize=8, color=colour, weight=weight)
    image = axes.imshow(grid, cmap="viridis", vmin=ends[0], vmax=ends[1], aspect="auto", origin="lower")
    axes.set_xticks(range(len(along)), [fill(value_words(axis_value(text)), 14) for text in along])
    axes.set_yticks(range(len(up)), [fill(value_words(axis_value(text)), 24) for text in up])
    axes.set_xlabel(label_of(names[0], _LABELS))
    axes.set_ylabel(label_of(names[1], _LABELS))
    return image


def _values(found: Run, name: str) -> list[str]:
    return [axis_text(value) for value in distinct_values(point.axes[name] for point in found.points)]
