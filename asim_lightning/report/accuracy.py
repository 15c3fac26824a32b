"""Accuracy along one axis: its lines, the choice of lines to draw, and their picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from statistics import fmean
from typing import TypeAlias

from asim_lightning.evaluation.axis_settings import CHIP, NOISE_AXES, is_condition
from asim_lightning.evaluation.results import (
    AxisValue,
    Result,
    axes_text,
    axis_text,
    distinct_values,
    is_number,
    value_words,
)
from asim_lightning.report.labels import accuracy_text, head_of, in_one_unit, label_of, legend_text, value_text
from asim_lightning.report.picture import BLACK, GREY, MOST_CURVES, Axis, Mark, Picture, Series, drawn_of, number_axis
from asim_lightning.table import Rows

Curve: TypeAlias = tuple[dict[str, AxisValue], list[Result]]
"""Values of the other axes, and the points along the drawn axis."""


def accuracy_picture(
    rows: Sequence[Result], axis: str, title: str = "", num_classes: int | None = None, adc_bits: int | None = None
) -> Picture:
    """Accuracy in percent against one axis, one line for each combination of the other axes, as in `drawn_lines`.

    Points of kind float and quantized are horizontal lines unless they have the axis. Noise in LSB or mV is labelled
    so. Against noise in percent, a second axis on top counts in LSB: ``lsb = percent / 100 * (2^adc_bits - 1)``, if all
    points have the same resolution. With the number of classes, the accuracy of guessing is marked.
    """
    rows, label = in_one_unit(rows, axis)
    lines, note = drawn_lines(rows, axis)
    if not lines:
        names = ", ".join(dict.fromkeys(name for row in rows if row.kind == "simulated" for name in row.axes)) or "none"
        raise ValueError(f"the axis of a plot must be one that simulated points have ({names}), got {axis!r}")
    references = [row for row in rows if row.kind != "simulated"]
    along = [row for row in references if axis in row.axes]
    drawn = [*(row for _, line in lines for row in line), *along]
    values = distinct_values(row.axes[axis] for row in drawn)
    is_percent = axis in NOISE_AXES and label == label_of(axis)
    x = _axis(label, values, _one_resolution(lines, adc_bits) if is_percent else None)
    places = {axis_text(value): float(place if x.scale == "names" else value) for place, value in enumerate(values)}  # type: ignore[arg-type]
    is_joined = axis != CHIP and not any(isinstance(value, (str, Mapping)) for value in values)
    numbers: Rows = [["line", axis, "accuracy", "low", "high"]]
    series = []
    for index, (others, line) in enumerate(lines):
        name = legend_text(others) or "simulated"
        at = [places[axis_text(row.axes[axis])] for row in line]
        texts = [_text(name, row, f"{head_of(axis)} {value_text(label, row.axes[axis])}") for row in line]
        series.append(accuracy_series(line, at, name, index, texts, is_line=is_joined))
        numbers += [[name, axis_text(row.axes[axis]), row.accuracy, row.low, row.high] for row in line]
    for kind, colour, dashes in (("float", BLACK, 0), ("quantized", GREY, 1)):
        for others, line in sweep_lines(along, axis, kind):
            name = f"{kind} ({legend_text(others)})" if others else kind
            at = [places[axis_text(row.axes[axis])] for row in line]
            known = accuracy_series(line, at, name, 0, (), is_joined)
            series.append(replace(known, low=(), high=(), colour=colour, marker="tick", dashes=dashes))
    marks = reference_marks([row for row in references if axis not in row.axes], numbers)
    y, chance = _height([*drawn, *references], num_classes)
    title = title or f"Accuracy against {head_of(axis)}"
    return Picture(title, x, y, series, [*marks, *chance], note=note, numbers=numbers, file=f"accuracy_vs_{axis}.csv")


def epochs_picture(
    results: Mapping[int, Sequence[Result]],
    split: str,
    axis: str,
    num_classes: int | None = None,
    adc_bits: int | None = None,
) -> Picture:
    """Accuracy on the images of a split during training, by the sweeps of three epochs: the last one, the first, and
    the one with the best mean; see `accuracy_picture`."""
    epochs = list(results)
    best = max(epochs, key=lambda epoch: sum(row.merit for row in results[epoch]))
    rows = list(results[epochs[-1]])
    title = f"Epoch {epochs[-1]}: {rows[0].images} images of {split}"
    if len(epochs) > 1:
        marked = (("first", epochs[0]), ("best", best), ("last", epochs[-1]))
        rows = []
        for epoch in dict.fromkeys(epoch for _, epoch in marked):
            name = f"{epoch} ({', '.join(word for word, other in marked if other == epoch)})"
            rows += [replace(row, axes={**row.axes, "epoch": name}) for row in results[epoch]]
    return accuracy_picture(rows, axis, title, num_classes, adc_bits)


def accuracy_series(
    rows: Sequence[Result], x: Sequence[float], name: str, style: int, texts: Sequence[str], is_line: bool
) -> Series:
    """Accuracies with their intervals, at positions along x; texts say more about each point."""
    y, low, high = ([row.measure.shown(getattr(row, name)) for row in rows] for name in ("accuracy", "low", "high"))
    return Series(name, x, y, low, high, form="line" if is_line else "points", style=style, texts=texts)


def reference_marks(rows: Sequence[Result], numbers: Rows) -> list[Mark]:
    """The float and the quantised network as lines, one if they are equal; appends a row for each to `numbers`."""
    at = numbers[0].index("accuracy")
    levels: dict[str, list[str]] = {}
    for row in rows:
        name = f"{row.kind} ({legend_text(row.axes)})" if row.axes else row.kind
        levels.setdefault(row.measure.quantity(row.accuracy), []).append(name)
        others = [""] * (len(numbers[0]) - at - 3)
        numbers.append([name, *[""] * (at - 1), row.accuracy, row.low, row.high, *others])
    named = [(float(level.split()[0]), f"{' and '.join(kinds)} {level}") for level, kinds in levels.items()]
    return [
        Mark("y", level, name, dashes=index, colour=GREY if index else BLACK)
        for index, (level, name) in enumerate(named)
    ]


def _axis(label: str, values: Sequence[AxisValue], bits: int | None) -> Axis:
    if not all(map(is_number, values)):
        texts = [value_words(value) for value in values]
        classes = [text.rpartition(".")[2] if text.count(".") > 1 else text for text in texts]  # of import paths
        texts = classes if len(set(classes)) == len(texts) else texts
        return Axis(label, "names", texts, ends=(-0.5, len(texts) - 0.5))
    above = None if bits is None else (f"noise in LSB of the {bits}-bit ADC", (2**bits - 1) / 100.0)
    return number_axis(label, [float(value) for value in values], above=above)  # type: ignore[arg-type]


def _text(name: str, row: Result, where: str) -> str:
    reads = f" in {row.trials} reads" if row.trials > 1 else ""
    head = [] if name == "simulated" else [name]
    return "\n".join([*head, where, accuracy_text(row), f"{row.images:,} images{reads}"])


def _height(drawn: Sequence[Result], num_classes: int | None) -> tuple[Axis, list[Mark]]:
    """The axis of accuracies, and a mark for guessing unless it would squeeze all points into a band at the top."""
    measure, marks = drawn[0].measure, []
    ends = [(row.low, row.high) if row.kind == "simulated" else (row.accuracy,) for row in drawn]
    shown = [measure.shown(end) for some in ends for end in some]
    bottom, top = min(shown), max(shown)
    if num_classes is not None and measure.name == "accuracy":
        chance = 100.0 / num_classes
        if chance > bottom - 1.5 * (top - bottom) or bottom - chance < 10.0:
            bottom, top = min(bottom, chance), max(top, chance)
            marks = [Mark("y", chance, f"chance {chance:.3g} %", dashes=3)]
    margin = max(0.06 * (top - bottom), 0.25) if measure.is_share else 0.06 * (top - bottom) or 1.0
    low, high = (-2.0, 102.0) if measure.is_share else (-inf, inf)
    return Axis(measure.heading, ends=(max(bottom - margin, low), min(top + margin, high))), marks


def _one_resolution(lines: Sequence[Curve], adc_bits: int | None) -> int | None:
    """Bits of the ADC, if they are the same at all points."""
    found = {row.axes.get("adc_bits", adc_bits) for _, line in lines for row in line}
    bits = found.pop()
    return int(bits) if not found and isinstance(bits, (int, float)) and not isinstance(bits, bool) else None


def sweep_lines(rows: Sequence[Result], axis: str, kind: str = "simulated") -> list[Curve]:
    """The points of a kind along `axis`, rising, one line for each combination of the other axes."""
    points = [row for row in rows if row.kind == kind and axis in row.axes]
    others = list(dict.fromkeys(name for row in points for name in row.axes if name != axis))
    # A name that some points lack tells lines apart, too, so a missing name is None next to (value,).
    seen = {name: {(name in row.axes, axis_text(row.axes.get(name))) for row in points} for name in others}
    groups: dict[str, Curve] = {}
    for row in points:
        differing = {name: row.axes[name] for name in others if name in row.axes and len(seen[name]) > 1}
        groups.setdefault(axes_text(differing), (differing, []))[1].append(row)
    place = _place_along(axis, points)
    return [(differing, sorted(line, key=place)) for differing, line in groups.values()]


def _place_along(axis: str, points: Sequence[Result]) -> Callable[[Result], int]:
    """A sort key: the place of a value of an axis among the values of some points."""
    values = distinct_values(row.axes[axis] for row in points)
    order = {axis_text(value): place for place, value in enumerate(values)}
    return lambda row: order[axis_text(row.axes[axis])]


def drawn_lines(rows: Sequence[Result], axis: str) -> tuple[list[Curve], str]:
    """The lines of a figure, and a note on how to read them.

    Up to `MOST_CURVES` lines are the lines of `sweep_lines`. If there are more, one line is drawn for each value of the
    other axis that changes the accuracy most. Each of its points is the most accurate over the rest, under the hardest
    of their conditions. If that axis has too many values, some of them are drawn, from the first to the last.
    """
    lines, note = sweep_lines(rows, axis), "bars: 95 % intervals"
    if len(lines) <= MOST_CURVES:
        return lines, note
    others = list(dict.fromkeys(name for values, _ in lines for name in values))
    if len(others) > 1:
        points = [row for _, line in lines for row in line]
        strongest = max(others, key=lambda name: _effect(points, name))
        rest = [name for name in others if name != strongest]
        lines = _over_the_rest(points, axis, strongest)
        designs, met = ([head_of(name) for name in rest if is_condition(name) is kind] for kind in (False, True))
        said = [f"the best {', '.join(designs)}"] * bool(designs) + [f"the hardest {', '.join(met)}"] * bool(met)
        note = f"points: at {' under '.join(said)}; {note}"
    if len(lines) > MOST_CURVES:
        order = [axis_text(value) for value in distinct_values(each for values, _ in lines for each in values.values())]
        lines.sort(key=lambda line: [order.index(axis_text(value)) for value in line[0].values()])
    lines, some = drawn_of(lines, "lines")
    return lines, f"{note}; {some}" if some else note


def _by_value(points: Sequence[Result], name: str) -> list[list[Result]]:
    """Points of each value of an axis, and points that lack the axis."""
    groups: dict[tuple[bool, str], list[Result]] = {}
    for row in points:
        groups.setdefault((name in row.axes, axis_text(row.axes.get(name))), []).append(row)
    return list(groups.values())


def _effect(points: Sequence[Result], name: str) -> float:
    """Range of the mean accuracies over the values of an axis."""
    means = [fmean(row.accuracy for row in some) for some in _by_value(points, name)]
    return max(means) - min(means)


def _over_the_rest(points: Sequence[Result], axis: str, name: str) -> list[Curve]:
    """One line for each value of an axis, over the values of all others."""
    place = _place_along(axis, points)
    return [
        (
            {key: value for key, value in some[0].axes.items() if key == name},
            sorted(map(_best, _by_value(some, axis)), key=place),
        )
        for some in _by_value(points, name)
    ]


def _best(rows: Sequence[Result]) -> Result:
    """The most accurate design, judged at its least accurate conditions."""
    worst: dict[str, Result] = {}
    for row in rows:
        design = axes_text({name: value for name, value in row.axes.items() if not is_condition(name)})
        worst[design] = min(worst.get(design, row), row, key=lambda row: row.merit)
    return max(worst.values(), key=lambda row: row.merit)
