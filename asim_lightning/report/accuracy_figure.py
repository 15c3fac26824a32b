"""The picture of a sweep: accuracy with error bars against one axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from asim_lightning.circuit.units import quantity
from asim_lightning.evaluation.results import (
    NOISE_AXES,
    AxisValue,
    PointResult,
    axes_text,
    axis_text,
    distinct_values,
    is_number,
    noise_unit,
    sweep_lines,
)
from asim_lightning.evaluation.whole_file import write_whole

LABELS: Mapping[str, str] = {
    "random_noise": "random noise (% of full scale)",
    "nonlinear_noise": "nonlinear noise (% of full scale)",
    "adc_bits": "ADC bits",
    "weight_bits": "weight bits",
    "input_bits": "input bits",
    "encoding_bits": "encoding bits",
    "rows": "rows",
}

_WIDTH, _HEIGHT, _DOTS = 9.0, 5.4, 100  # inches and dots per inch: 900 x 540 pixels
# Colours that stay apart for colour-blind readers (Okabe and Ito), darkest first.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_CHARACTER = 0.0165  # width of a character of a tick label, as a share of the axis
_MOST_TICKS = 16


def sweep_figure(
    rows: Sequence[PointResult],
    axis: str,
    title: str,
    labels: Mapping[str, str] | None = None,
    num_classes: int | None = None,
    adc_bits: int | None = None,
) -> Figure:
    """Accuracy in percent against one axis, one line for each combination of the other axes.

    Numbers stand at their true distances where their labels then fit, else evenly spaced, which the axis label says;
    other values are evenly spaced. Points of kind float and quantized are horizontal lines unless they have the axis
    themselves. Noise that is given in LSB or mV is labelled so. Against noise in percent, a second axis on top counts
    in LSB: ``lsb = percent / 100 * (2^adc_bits - 1)``.

    Args:
        rows: Results of the sweep; those without the axis, float and quantized aside, are left out.
        axis: Name of the setting along x.
        title: Headline.
        labels: Text of an axis, with its unit, by name; beside and above those of `LABELS`.
        num_classes: Classes of the task, for the level of guessing.
        adc_bits: Bits of the ADC where they are no axis of the sweep.

    Raises:
        ValueError: No simulated point has the axis.
    """
    names = {**LABELS, **(labels or {})}
    rows, unit = _in_one_unit(rows, axis)
    if unit is not None:
        names[axis] = names[axis].replace("% of full scale", unit) if unit else names[axis].split(" (")[0]
    lines = sweep_lines(rows, axis)
    references = [row for row in rows if row.kind != "simulated"]
    along = [row for row in references if axis in row.axes]
    values = distinct_values([row.axes[axis] for _, line in lines for row in line] + [row.axes[axis] for row in along])
    scale = _scale(values)

    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    for index, (others, line) in enumerate(lines):
        _draw_line(figure, plot, scale, axis, line, _legend_text(others, names) or "simulated", index, len(lines))
    _draw_references(plot, scale, axis, references, names)
    _set_height(plot, rows, axis, num_classes)

    note = ", levels evenly spaced" if scale.even and all(is_number(value) for value in values) else ""
    plot.set_title(title, fontsize=13, pad=10)
    plot.set_xlabel(names.get(axis, axis.replace("_", " ")) + note, fontsize=12)
    _set_ticks(plot, scale)
    bits = _one_resolution(lines, adc_bits)
    if axis in NOISE_AXES and unit is None and bits is not None and all(is_number(value) for value in values):
        _add_lsb_axis(plot, scale, bits)
    _set_frame(plot)
    _add_legend(plot)
    return figure


def _in_one_unit(rows: Sequence[PointResult], axis: str) -> tuple[Sequence[PointResult], str | None]:
    """Rows with their noise as numbers of one unit, and that unit where it is not percent; "" where units differ."""
    if axis not in NOISE_AXES:
        return rows, None
    shared = noise_unit(row.axes[axis] for row in rows if axis in row.axes)
    if shared == "%":
        return rows, None
    found = []
    for row in rows:
        read = quantity(row.axes.get(axis))
        if read is not None:
            value = read[0] if shared else f"{axis_text(read[0])} {read[1]}"
            row = replace(row, axes={**row.axes, axis: value})
        found.append(row)
    return found, {"lsb": "LSB", None: ""}.get(shared, shared)


def plot_sweep(
    rows: Sequence[PointResult],
    axis: str,
    path: str | Path,
    title: str,
    labels: Mapping[str, str] | None = None,
    num_classes: int | None = None,
    adc_bits: int | None = None,
) -> Path:
    """Write `sweep_figure` as a PNG of 900 x 540 pixels; the arguments are explained there.

    Raises:
        ValueError: No simulated point has the axis.
    """
    figure = sweep_figure(rows, axis, title, labels, num_classes, adc_bits)
    path = Path(path)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=_DOTS))
    return path


def noise_figure(
    results: Mapping[int, Sequence[PointResult]], axis: str, split: str, num_classes: int, adc_bits: int | None
) -> Figure:
    """Accuracy against noise: the last sweep, and beside it the first and the one with the best mean.

    Args:
        results: Results of each epoch that had a sweep.
        axis: Which noise of the macro.
        split: Name of the data set.
        num_classes: Classes of the task.
        adc_bits: Bits of the ADC, where all macros share them.
    """
    epochs = list(results)
    best = max(epochs, key=lambda epoch: sum(row.accuracy for row in results[epoch]))
    rows = list(results[epochs[-1]])
    title = f"Epoch {epochs[-1]}: {rows[0].images} images of {split}, 95 % intervals"
    if len(epochs) > 1:
        marked = (("first", epochs[0]), ("best", best), ("last", epochs[-1]))
        rows = []
        for epoch in dict.fromkeys(epoch for _, epoch in marked):
            name = f"{epoch} ({', '.join(word for word, other in marked if other == epoch)})"
            rows += [PointResult(**{**vars(row), "axes": {**row.axes, "epoch": name}}) for row in results[epoch]]
    return sweep_figure(rows, axis, title, None, num_classes, adc_bits)


@dataclass(frozen=True)
class _Scale:
    """Where each value of the axis stands, and whether only their order has a meaning."""

    values: Sequence[AxisValue]
    positions: Sequence[float]
    even: bool

    @property
    def named(self) -> bool:
        return any(isinstance(value, str) for value in self.values)

    def __call__(self, value: AxisValue) -> float:
        return self.positions[[axis_text(known) for known in self.values].index(axis_text(value))]


def _scale(values: Sequence[AxisValue]) -> _Scale:
    numbers = [float(value) for value in values if isinstance(value, (int, float)) and is_number(value)]
    even = _Scale(values, [float(index) for index in range(len(values))], even=True)
    if len(numbers) < len(values):
        return even
    if len(numbers) == 1:
        return _Scale(values, numbers, even=False)
    reach = numbers[-1] - numbers[0]
    gaps = [(right - left) / reach for left, right in pairwise(numbers)]
    widths = [_CHARACTER * len(axis_text(value)) for value in values]
    needs = [(left + right) / 2 + _CHARACTER for left, right in pairwise(widths)]
    fits = all(gap > need for gap, need in zip(gaps, needs, strict=True))
    # Levels at one distance from each other can go without some of their labels, and stay where they are.
    regular = max(gaps) - min(gaps) < 1e-6
    return _Scale(values, numbers, even=False) if fits or regular else even


def _draw_line(
    figure: Figure,
    plot: Axes,
    scale: _Scale,
    axis: str,
    line: Sequence[PointResult],
    label: str,
    index: int,
    count: int,
) -> None:
    # Lines step aside by 3 points each, in the picture and not in the data, so that error bars do not hide each other.
    aside = ScaledTranslation((index - (count - 1) / 2) * min(3.0, 12.0 / count) / 72.0, 0.0, figure.dpi_scale_trans)
    plot.errorbar(
        [scale(row.axes[axis]) for row in line],
        [100 * row.accuracy for row in line],
        yerr=[[100 * (row.accuracy - row.low) for row in line], [100 * (row.high - row.accuracy) for row in line]],
        color=_COLOURS[index % len(_COLOURS)],
        marker=_MARKERS[index % len(_MARKERS)],
        # The seventh line has the colour and marker of the first and differs from it by its dashes.
        # Between names, such as two column models, there is nothing that a line could stand for.
        linestyle="" if scale.named else ("-", "--", "-.", ":")[index // len(_COLOURS) % 4],
        markersize=5.5,
        linewidth=1.6,
        elinewidth=1.2,
        capsize=3.5,
        label=label,
        transform=plot.transData + aside,
    )


def _draw_references(
    plot: Axes, scale: _Scale, axis: str, rows: Sequence[PointResult], names: Mapping[str, str]
) -> None:
    shades = {"float": ("black", "-"), "quantized": ("0.45", "--")}
    dashes = ("--", (0, (1, 1)), "-.", (0, (6, 2, 1, 2, 1, 2)))
    for kind, (colour, style) in shades.items():
        flat = [row for row in rows if row.kind == kind and axis not in row.axes]
        for index, row in enumerate(flat):
            where = f" ({_legend_text(row.axes, names)})" if len(flat) > 1 and row.axes else ""
            label = f"{kind}{where} {100 * row.accuracy:.2f} %"
            line = style if index == 0 else dashes[index % len(dashes)]
            plot.axhline(100 * row.accuracy, color=colour, linestyle=line, linewidth=1.3, label=label, zorder=1.5)
        groups: dict[str, list[PointResult]] = {}
        for row in rows:
            if row.kind == kind and axis in row.axes:
                others = {name: value for name, value in row.axes.items() if name != axis}
                groups.setdefault(_legend_text(others, names), []).append(row)
        for index, (others_text, group) in enumerate(groups.items()):
            points = sorted((scale(row.axes[axis]), 100 * row.accuracy) for row in group)
            label = f"{kind} ({others_text})" if len(groups) > 1 else kind
            line = "" if scale.named else style if index == 0 else dashes[index % len(dashes)]
            plot.plot(*zip(*points, strict=True), color=colour, linestyle=line, marker="_", label=label, zorder=1.5)


def _set_height(plot: Axes, rows: Sequence[PointResult], axis: str, num_classes: int | None) -> None:
    drawn = [row for row in rows if row.kind != "simulated" or axis in row.axes]
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


def _set_ticks(plot: Axes, scale: _Scale) -> None:
    first, last = min(scale.positions), max(scale.positions)
    margin = 0.05 * (last - first) or 0.5
    plot.set_xlim(first - margin, last + margin)
    if all(is_number(value) for value in scale.values):
        every = _skip(scale)
        plot.set_xticks(list(scale.positions)[::every], [axis_text(value) for value in scale.values[::every]])
        return
    texts = [axis_text(value) for value in scale.values]
    if len({text.rsplit(".", 1)[-1] for text in texts}) == len(texts):
        # Of a long import path the class alone, where that is clear.
        texts = [text.rsplit(".", 1)[-1] if len(text) > 16 else text for text in texts]
    if max(len(text) for text in texts) * _CHARACTER > 1.0 / len(texts):
        plot.set_xticks(list(scale.positions), texts, rotation=25, ha="right", rotation_mode="anchor")
    else:
        plot.set_xticks(list(scale.positions), texts)


def _set_frame(plot: Axes) -> None:
    plot.set_ylabel("accuracy (%)", fontsize=12)
    plot.grid(axis="y", color="0.9")
    plot.set_axisbelow(True)
    plot.tick_params(labelsize=11)
    for side in ("top", "right"):
        plot.spines[side].set_visible(False)


def _add_legend(plot: Axes) -> None:
    handles, texts = plot.get_legend_handles_labels()
    # a long legend inside would hide lines
    if len(texts) <= 7:
        plot.legend(handles, texts, fontsize=10, framealpha=0.9, loc="best")
    else:
        plot.legend(handles, texts, fontsize=10, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _skip(scale: _Scale) -> int:
    """How many values there are to a label: true distances were chosen to fit, even ones may be too many."""
    count = len(scale.values)
    width = max(len(axis_text(value)) for value in scale.values) * _CHARACTER + _CHARACTER
    gaps = [right - left for left, right in pairwise(scale.positions)]
    if not scale.even and gaps and max(gaps) - min(gaps) > 1e-6 * (scale.positions[-1] - scale.positions[0]):
        return 1
    return max(1, -(-count // max(1, min(_MOST_TICKS, int(1.0 / width)))))


def _one_resolution(lines: Sequence[tuple[object, Sequence[PointResult]]], adc_bits: int | None) -> int | None:
    """The ADC's bits where all points share them."""
    found = {row.axes.get("adc_bits", adc_bits) for _, line in lines for row in line}
    bits = found.pop()
    return int(bits) if not found and isinstance(bits, (int, float)) and not isinstance(bits, bool) else None


def _add_lsb_axis(plot: Axes, scale: _Scale, bits: int) -> None:
    levels = 2**bits - 1
    every = _skip(scale)
    percents = [float(value) for value in scale.values if isinstance(value, (int, float))]
    above = plot.secondary_xaxis("top")
    above.set_xticks(list(scale.positions)[::every], [f"{percent / 100 * levels:.3g}" for percent in percents[::every]])
    above.set_xlabel(f"noise in LSB of the {bits}-bit ADC", fontsize=11)
    above.tick_params(labelsize=10)


def _legend_text(axes: Mapping[str, AxisValue], names: Mapping[str, str]) -> str:
    """Axis values with the unit of noise behind its number: "random noise 0.1 %, ADC bits 8"."""
    texts = (
        axes_text({name: value}, {name: names.get(name, name.replace("_", " ")).split(" (")[0]})
        + (" %" if name in NOISE_AXES and is_number(value) else "")
        for name, value in axes.items()
    )
    return ", ".join(texts)
