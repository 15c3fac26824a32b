"""Figures of a sweep and of sweeps while training: accuracy with error bars against one axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from asim_lightning.evaluation.axis_settings import CHIP, NOISE_AXES
from asim_lightning.evaluation.results import Result, distinct_values
from asim_lightning.evaluation.run import read_run
from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.report.axis_labels import in_one_unit, label_of, legend_text
from asim_lightning.report.axis_marks import write_marks
from asim_lightning.report.axis_scale import AxisScale, axis_scale
from asim_lightning.report.curves import Curve, drawn_lines

_WIDTH, _HEIGHT, _DOTS = 9.0, 5.4, 100  # inches and dots per inch: 900 x 540 pixels
_CHARACTERS = 84  # of a line of the headline
_MOST_INSIDE = 7  # entries of a legend that stands among the lines; a longer one would hide them
# Colours that stay apart for colour-blind readers (Okabe and Ito, a brown for their yellow), darkest first. Markers and
# dashes tell lines apart in black and white too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A4B00", "#5B5B5B")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_NETWORK = "network"  # the axis that tells compared sweeps apart
DASHES = ("-", (0, (6, 1.5)), (0, (3, 1.5, 1, 1.5)), (0, (2, 1)))


@dataclass(frozen=True)
class AccuracyPlot:
    """Axis, headline and marks of a plot of accuracies."""

    axis: str
    """Name of the setting along x."""
    title: str = ""
    """Headline."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Text of an axis, with its unit, by name; these come before those of settings."""
    num_classes: int | None = None
    """Classes of the task, to mark the accuracy of guessing; None: unmarked."""
    adc_bits: int | None = None
    """Bits of the ADC where all points share them and have no such axis, for a second axis in LSB."""


def sweep_figure(rows: Sequence[Result], plot: AccuracyPlot) -> Figure:
    """Accuracy in percent against one axis, one line for each combination of the other axes, as `drawn_lines` has them.

    Numbers stand at their values, or at their logarithms where they span decades (`axis_scale`); other values, such as
    column models and noise of several units, in order. Points of kind float and quantized are horizontal lines unless
    they have the axis themselves. Noise that is given in LSB or mV is labelled so. Against noise in percent, a second
    axis on top counts in LSB: ``lsb = percent / 100 * (2^adc_bits - 1)``.

    Args:
        rows: Results of the sweep; those without the axis, float and quantized aside, are left out.
        plot: Axis, headline and marks.

    Raises:
        ValueError: No simulated point has the axis.
    """
    axis = plot.axis
    rows, names, percent = in_one_unit(rows, axis, plot.labels)
    lines, note = drawn_lines(rows, axis, names)
    references = [row for row in rows if row.kind != "simulated"]
    along = [row for row in references if axis in row.axes]
    scale = axis_scale(
        distinct_values([row.axes[axis] for _, line in lines for row in line] + [row.axes[axis] for row in along])
    )

    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (others, line) in enumerate(lines):
        _draw_line(figure, axes, scale, axis, line, legend_text(others, names) or "simulated", index, len(lines))
    _draw_references(axes, scale, axis, references, names)
    _set_height(axes, [*references, *(row for _, line in lines for row in line)], plot.num_classes)

    axes.set_xlabel(label_of(axis, names) + (", log scale" if scale.kind == "log" else ""), fontsize=12)
    axes.set_ylabel("accuracy (%)", fontsize=12)
    figure.supxlabel(note, x=0.995, ha="right", fontsize=9, color="0.3")
    _set_frame(axes)
    beside = _add_legend(axes)
    axes.set_title(fill(plot.title, _CHARACTERS * 5 // 6 if beside else _CHARACTERS), fontsize=13, pad=10)
    write_marks(figure, axes, scale, _one_resolution(lines, plot.adc_bits) if percent and axis in NOISE_AXES else None)
    return figure


def plot_sweep(rows: Sequence[Result], plot: AccuracyPlot, path: str | Path) -> Path:
    """Write `sweep_figure` as a PNG of 900 x 540 pixels.

    Args:
        rows: Results of the sweep.
        plot: Axis, headline and marks.
        path: The file.

    Raises:
        ValueError: No simulated point has the axis.
    """
    return save_figure(sweep_figure(rows, plot), Path(path))


def compare_sweeps(
    sweeps: Mapping[str, str | Path], path: str | Path, plot: AccuracyPlot = AccuracyPlot("random_noise")
) -> Path:
    """Draw the simulated accuracies of several sweeps against one axis, with their intervals, one line a sweep.

    Args:
        sweeps: Name of each line, and the sweep's folder.
        path: Picture to write; its suffix decides the format.
        plot: Axis, which all sweeps have, headline and marks.

    Raises:
        FileNotFoundError: The store has no such sweep.
        ValueError: No point has the axis.
    """
    rows = [
        Result(**{**vars(row), "axes": {**row.axes, _NETWORK: name}})
        for name, given in sweeps.items()
        for row in read_run(given).points
    ]
    return plot_sweep(rows, replace(plot, labels={**plot.labels, _NETWORK: ""}), path)


def save_figure(figure: Figure, path: Path, dots: float | None = None) -> Path:
    """Write a figure as a PNG of its size.

    Args:
        figure: The figure.
        path: The file.
        dots: Dots an inch; None: those of the figure.

    Raises:
        OSError: It cannot be written.
    """
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=dots or "figure"))
    return path


def epochs_figure(results: Mapping[int, Sequence[Result]], split: str, plot: AccuracyPlot) -> Figure:
    """Accuracy against noise while a network is trained: the last sweep, the first, and the one with the best mean.

    Args:
        results: Results of each epoch that had a sweep.
        split: Name of the images that the accuracy is of: val or test.
        plot: Axis and marks; its headline is replaced by epoch, number of images and split.
    """
    epochs = list(results)
    best = max(epochs, key=lambda epoch: sum(row.accuracy for row in results[epoch]))
    rows = list(results[epochs[-1]])
    title = f"Epoch {epochs[-1]}: {rows[0].images} images of {split}"
    if len(epochs) > 1:
        marked = (("first", epochs[0]), ("best", best), ("last", epochs[-1]))
        rows = []
        for epoch in dict.fromkeys(epoch for _, epoch in marked):
            name = f"{epoch} ({', '.join(word for word, other in marked if other == epoch)})"
            rows += [replace(row, axes={**row.axes, "epoch": name}) for row in results[epoch]]
    return sweep_figure(rows, replace(plot, title=title))


def _draw_line(
    figure: Figure,
    plot: Axes,
    scale: AxisScale,
    axis: str,
    line: Sequence[Result],
    label: str,
    index: int,
    count: int,
) -> None:
    # Lines step aside by 3 points each, in the picture and not in the data, so that error bars do not hide each other.
    aside = ScaledTranslation((index - (count - 1) / 2) * min(3.0, 12.0 / count) / 72.0, 0.0, figure.dpi_scale_trans)
    plot.errorbar(
        [scale.position(row.axes[axis]) for row in line],
        [100 * row.accuracy for row in line],
        yerr=[[100 * (row.accuracy - row.low) for row in line], [100 * (row.high - row.accuracy) for row in line]],
        color=COLOURS[index % len(COLOURS)],
        marker=_MARKERS[index % len(_MARKERS)],
        # between names, such as two column models or chips, there is nothing that a line could stand for
        linestyle=DASHES[index % len(DASHES)] if scale.joined and axis != CHIP else "",
        markerfacecolor=COLOURS[index % len(COLOURS)] if index < len(DASHES) else "white",
        markersize=5.5,
        linewidth=1.6,
        elinewidth=1.2,
        capsize=3.5,
        label=label,
        transform=plot.transData + aside,
    )


def _draw_references(plot: Axes, scale: AxisScale, axis: str, rows: Sequence[Result], names: Mapping[str, str]) -> None:
    shades = {"float": ("black", "-"), "quantized": ("0.45", "--")}
    dashes = ("--", (0, (1, 1)), "-.", (0, (6, 2, 1, 2, 1, 2)))
    for kind, (colour, style) in shades.items():
        flat = [row for row in rows if row.kind == kind and axis not in row.axes]
        for index, row in enumerate(flat):
            where = f" ({legend_text(row.axes, names)})" if len(flat) > 1 and row.axes else ""
            label = f"{kind}{where} {100 * row.accuracy:.2f} %"
            line = style if index == 0 else dashes[index % len(dashes)]
            plot.axhline(100 * row.accuracy, color=colour, linestyle=line, linewidth=1.3, label=label, zorder=1.5)
        groups: dict[str, list[Result]] = {}
        for row in rows:
            if row.kind == kind and axis in row.axes:
                others = {name: value for name, value in row.axes.items() if name != axis}
                groups.setdefault(legend_text(others, names), []).append(row)
        for index, (others_text, group) in enumerate(groups.items()):
            points = sorted((scale.position(row.axes[axis]), 100 * row.accuracy) for row in group)
            label = f"{kind} ({others_text})" if len(groups) > 1 else kind
            line = "" if not scale.joined else style if index == 0 else dashes[index % len(dashes)]
            plot.plot(*zip(*points, strict=True), color=colour, linestyle=line, marker="_", label=label, zorder=1.5)


def _set_height(plot: Axes, drawn: Sequence[Result], num_classes: int | None) -> None:
    bottom = min(100 * (row.low if row.kind == "simulated" else row.accuracy) for row in drawn)
    top = max(100 * (row.high if row.kind == "simulated" else row.accuracy) for row in drawn)
    if num_classes is not None:
        chance = 100.0 / num_classes
        label = f"chance {chance:.3g} %"
        # Chance far below all points would press them into a flat band at the top.
        if chance > bottom - 1.5 * (top - bottom) or bottom - chance < 10.0:
            bottom, top = min(bottom, chance), max(top, chance)
        else:
            label += " (below)"
        plot.axhline(chance, color="0.35", linestyle=":", linewidth=1.5, label=label)
    margin = max(0.06 * (top - bottom), 0.25)
    plot.set_ylim(max(bottom - margin, -2.0), min(top + margin, 102.0))


def _set_frame(plot: Axes) -> None:
    plot.grid(axis="y", color="0.9")
    plot.set_axisbelow(True)
    plot.tick_params(labelsize=11)
    for side in ("top", "right"):
        plot.spines[side].set_visible(False)


def _add_legend(plot: Axes) -> bool:
    """Add the legend; returns whether it stands beside the lines."""
    handles, texts = plot.get_legend_handles_labels()
    if len(texts) <= _MOST_INSIDE:
        plot.legend(handles, texts, fontsize=10, framealpha=0.9, loc="best")
        return False
    plot.legend(handles, texts, fontsize=10, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return True


def _one_resolution(lines: Sequence[Curve], adc_bits: int | None) -> int | None:
    """Bits of the ADC, if all points have the same."""
    found = {row.axes.get("adc_bits", adc_bits) for _, line in lines for row in line}
    bits = found.pop()
    return int(bits) if not found and isinstance(bits, (int, float)) and not isinstance(bits, bool) else None
