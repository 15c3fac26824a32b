"""Accuracy along one axis: its lines, the choice of lines to draw, and their picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite
from statistics import fmean
from typing import Any, TypeAlias

from asim_lightning.circuit.voltage import NOISE_AXES
from asim_lightning.evaluation.axis_settings import CHIP, is_condition
from asim_lightning.evaluation.results import AxisValue, Result, axis_text, distinct_values, is_number, value_words
from asim_lightning.evaluation.target import grouped
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

    def drawn_line(line: Sequence[Result], name: str, **look: Any) -> Series:
        at = [places[axis_text(row.axes[axis])] for row in line]
        return accuracy_series(line, at, name, form="line" if is_joined else "points", **look)

    numbers: Rows = [["line", axis, "accuracy", "low", "high"]]
    series = []
    for style, (others, line) in enumerate(lines):
        name = legend_text(others) or "simulated"
        texts = [_text(name, row, f"{head_of(axis)} {value_text(label, row.axes[axis])}") for row in line]
        series.append(drawn_line(line, name, style=style, texts=texts))
        numbers += [[name, axis_text(row.axes[axis]), *row.plain] for row in line]
    for kind, colour, dashes in (("float", BLACK, 0), ("quantized", GREY, 1)):
        for others, line in sweep_lines(along, axis, kind):
            name = f"{kind} ({legend_text(others)})" if others else kind
            series.append(drawn_line(line, name, has_bars=False, colour=colour, marker="tick", dashes=dashes))
    marks = reference_marks([row for row in references if axis not in row.axes], numbers)
    if len(images := {row.images for _, line in lines for row in line}) > 1:
        note = f"{min(images):,} to {max(images):,} images a point; {note}"
    y, chance = _height([*drawn, *references], num_classes)
    title = title or f"Accuracy against {head_of(axis)}"
    return Picture(title, x, y, series, [*marks, *chance], note=note, numbers=numbers, file=f"accuracy_vs_{axis}.csv")


def epoch_rows(results: Mapping[int, Sequence[Result]], split: str) -> tuple[Sequence[Result], str]:
    """The sweeps of three epochs on a split, with the epoch as an axis: the first, the one with the best mean, and the
    last. And a title."""
    epochs = list(results)
    best = max(epochs, key=lambda epoch: sum(row.merit for row in results[epoch]))
    title = f"Epoch {epochs[-1]}: {results[epochs[-1]][0].images} images of {split}"
    if len(epochs) == 1:
        return results[best], title
    marked = (("first", epochs[0]), ("best", best), ("last", epochs[-1]))
    words = {epoch: ", ".join(word for word, other in marked if other == epoch) for _, epoch in marked}
    named = [(f"{epoch} ({said})", row) for epoch, said in words.items() for row in results[epoch]]
    return [replace(row, axes={**row.axes, "epoch": name}) for name, row in named], title


def accuracy_series(
    rows: Sequence[Result], x: Sequence[float], name: str = "", has_bars: bool = True, **others: Any
) -> Series:
    """Accuracies at positions along x, with their intervals; others are fields of the series."""
    y, *ends = ([row.measure.shown(getattr(row, end)) for row in rows] for end in ("accuracy", "low", "high"))
    return Series(name, x, y, *(ends if has_bars else ()), **others)


def reference_marks(rows: Sequence[Result], numbers: Rows) -> list[Mark]:
    """The float and the quantised network as lines, one if they are equal; appends a row for each to `numbers`."""
    marks, before = [], numbers[0].index("accuracy")
    after = len(numbers[0]) - before - 3
    for place, same in enumerate(grouped(rows, lambda row: row.measure.text(row.accuracy))):
        names = [f"{row.kind} ({legend_text(row.axes)})" if row.axes else row.kind for row in same]
        for name, row in zip(names, same, strict=True):
            numbers.append([name, *[""] * (before - 1), *row.plain, *[""] * after])
        measure, level = same[0].measure, same[0].accuracy
        said = f"{' and '.join(names)} {measure.quantity(level)}"
        marks.append(Mark("y", float(measure.text(level)), said, place, GREY if place else BLACK))
    return marks


def _axis(label: str, values: Sequence[AxisValue], bits: int | None) -> Axis:
    if not all(map(is_number, values)):
        texts = [value_words(value) for value in values]
        paths = [text.count(".") > 1 and " " not in text for text in texts]  # import paths
        classes = [text.rpartition(".")[2] if path else text for text, path in zip(texts, paths, strict=True)]
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
    ends = [(row.low, row.accuracy, row.high) if row.kind == "simulated" else (row.accuracy,) for row in drawn]
    shown = [measure.shown(end) for some in ends for end in some if isfinite(end)]
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


def values_of(row: Result, axes: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """A row's values of some axes, to compare; a missing axis differs from all values."""
    return tuple((name, axis_text(row.axes[name])) for name in axes if name in row.axes)


def sweep_lines(rows: Sequence[Result], axis: str, kind: str = "simulated", by: Sequence[str] = ()) -> list[Curve]:
    """The points of a kind along `axis`, rising, one line for each combination of the axes `by`; empty: all others."""
    points = [row for row in rows if row.kind == kind and axis in row.axes]
    order = [axis_text(value) for value in distinct_values(row.axes[axis] for row in points)]
    others = by or dict.fromkeys(name for row in points for name in row.axes if name != axis)
    differing = [name for name in others if len({values_of(row, [name]) for row in points}) > 1]
    return [
        (
            {name: line[0].axes[name] for name in differing if name in line[0].axes},
            sorted(line, key=lambda row: order.index(axis_text(row.axes[axis]))),
        )
        for line in grouped(points, lambda row: values_of(row, differing))
    ]


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
        best = [_best(some) for some in grouped(points, lambda row: values_of(row, (axis, strongest)))]
        lines = sweep_lines(best, axis, by=[strongest])
        designs, met = ([head_of(name) for name in rest if is_condition(name) is kind] for kind in (False, True))
        said = [f"the best {', '.join(designs)}"] * bool(designs) + [f"the hardest {', '.join(met)}"] * bool(met)
        note = f"points: at {' under '.join(said)}; {note}"
    if len(lines) > MOST_CURVES:
        order = [axis_text(value) for value in distinct_values(each for values, _ in lines for each in values.values())]
        lines.sort(key=lambda line: [order.index(axis_text(value)) for value in line[0].values()])
    lines, some = drawn_of(lines, "lines")
    return lines, f"{note}; {some}" if some else note


def _effect(points: Sequence[Result], name: str) -> float:
    """Range of the mean accuracies over the values of an axis."""
    means = [fmean(row.accuracy for row in some) for some in grouped(points, lambda row: values_of(row, [name]))]
    return max(means) - min(means)


def _best(rows: Sequence[Result]) -> Result:
    """The most accurate design, judged at its least accurate conditions."""
    designs = grouped(rows, lambda row: values_of(row, (name for name in row.axes if not is_condition(name))))
    return max((min(some, key=lambda row: row.merit) for some in designs), key=lambda row: row.merit)
