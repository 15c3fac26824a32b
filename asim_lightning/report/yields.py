"""Yields of chips, and the accuracy of single chips: as pictures, text, a CSV file, and for a page."""

from collections.abc import Callable, Mapping, Sequence
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

import numpy as np

from asim_lightning.evaluation.axis_settings import CHIP
from asim_lightning.evaluation.binomial import dkw
from asim_lightning.evaluation.chip_yield import ChipYield, YieldPoint, yield_curve
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.results import AxisValue, Result, axes_text, axis_text, value_words
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import Target
from asim_lightning.report.accuracy import Curve, accuracy_series, reference_marks, sweep_lines
from asim_lightning.report.labels import label_of, legend_text
from asim_lightning.report.picture import Axis, Mark, Picture, Series, drawn_of
from asim_lightning.report.table_columns import axis_columns, interval, valued
from asim_lightning.table import Rows, Table, TableColumn, plain
from asim_lightning.whole_file import write_lines

MOST_GROUPS = 12
"""Most combinations of the other axes with chips next to each other."""
_HALF = 0.32
"""Half the width of a group of chips; groups are 1 apart."""


def yield_picture(
    found: Sequence[ChipYield], title: str = "", thresholds: Sequence[float] = (), quantized: float | None = None
) -> Picture:
    """Share of chips with at least an accuracy on these images, one curve for each combination of the other axes.

    The bands are the pointwise bounds of `ChipYield`. If there are more than `MOST_CURVES` curves, some are drawn, from
    the first to the last. Thresholds and the accuracy of the quantised network, 0..1, are marked. Without a title, the
    title has the axes with the same value for all.
    """
    drawn, some = drawn_of(found, "curves")
    totals = {len(each.chips) for each in drawn}
    values = {name: {axis_text(each.axes.get(name)) for each in found} for name in found[0].axes}
    shared = {name: value for name, value in found[0].axes.items() if len(values[name]) == 1}
    numbers: Rows = [["curve", "accuracy", "share", "low", "high"]]
    series = []
    for style, each in enumerate(drawn):
        differing = {name: value for name, value in each.axes.items() if name not in shared}
        total = len(each.chips)
        name = (legend_text(differing) or "simulated") + ("" if len(totals) == 1 else f" ({total} chips)")
        curve = [(0.0, 1.0, *each.bounds(total)), *yield_curve(each)]
        if curve[-1][0] < 1.0:
            curve.append((1.0, 0.0, *each.bounds(0)))
        numbers += [[legend_text(each.axes) or "simulated", *point] for point in curve]
        texts = [
            f"{name}\n{100 * share:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of {total} chips\n"
            f"at least {100 * accuracy:.2f} %"
            for accuracy, share, low, high in curve
        ]
        accuracies, shares, lows, highs = zip(*curve, strict=True)
        x = [100 * accuracy for accuracy in accuracies]
        series.append(Series(name, x, shares, lows, highs, form="step", style=style, texts=texts))
    known = [] if quantized is None else [quantized]
    ends = _ends(drawn, [*thresholds, *known])
    marks = [Mark("x", 100 * value, f"quantized {100 * value:.2f} %") for value in known]
    marks += threshold_marks("x", [each for each in thresholds if ends[0] <= 100 * each <= ends[1]])
    several = f"{totals.pop()} " if len(totals) == 1 else ""
    which = "bands" if len(series) == 1 else "dotted lines"
    bands = f"{which}: 95 % at each accuracy (Clopper-Pearson); a whole curve: within {curve_width(drawn, 2)} (DKW)"
    if found[0].stopped_by_outcomes:
        bands = f"{which}: at each accuracy, each end holds with 95 % at any number of chips"
    return Picture(
        title or ", ".join(part for part in ("Yield", legend_text(shared)) if part),
        Axis(f"accuracy on these {found[0].images:,} images (%)", ends=ends),
        Axis(f"share of {several}chips at least so accurate", ends=(-0.02, 1.02)),
        series,
        [mark for mark in marks if ends[0] <= mark.at <= ends[1]],
        note="; ".join(part for part in (bands, some) if part),
        numbers=numbers,
        file="yield_curves.csv",
    )


def groups_of_chips(rows: Sequence[Result]) -> list[Curve]:
    """The differing axes, and the chips at each combination of them, from the worst to the best."""
    return [(others, sorted(chips, key=lambda row: row.merit)) for others, chips in sweep_lines(rows, CHIP)]


def chips_picture(rows: Sequence[Result], title: str, thresholds: Sequence[float] = ()) -> Picture:
    """Accuracy of each chip as a dot, in groups by the other axes, with their means; thresholds are shares, 0..1."""
    groups, measure = groups_of_chips(rows), rows[0].measure
    names = list(dict.fromkeys(name for others, _ in groups for name in others))
    label = "static effects" if names == ["static"] else label_of(names[0]) if len(names) == 1 else ""
    numbers: Rows = [["group", "chip", "accuracy", "low", "high"]]
    texts, places, means_x, means_y = [], list[float](), [], []
    for place, (others, chips) in enumerate(groups):
        text = value_words(others[names[0]]) if len(names) == 1 else legend_text(others) or f"{len(chips)} chips"
        mean, last = fmean(row.accuracy for row in chips), len(chips) - 1
        numbers += [[text, row.axes[CHIP], *row.plain] for row in chips]
        texts.append(f"{text}\nmean {measure.quantity(mean)}")
        places += [place + _HALF * (2 * index / last - 1 if last else 0) for index in range(len(chips))]
        means_x += [place - _HALF, place + _HALF, nan]
        means_y += [measure.shown(mean), measure.shown(mean), nan]
    shown = [row for _, chips in groups for row in chips]
    hover = [f"chip {row.axes[CHIP]}\n{measure.quantity(row.accuracy)}" for row in shown]
    marks = reference_marks([row for row in rows if row.kind != "simulated" and not row.axes], numbers)
    return Picture(
        title,
        Axis(label, "names", texts, ends=(-0.6, len(groups) - 0.4)),
        Axis(measure.heading),
        [
            Series("mean of them", means_x, means_y, form="line", style=1, marker="tick", dashes=0),
            accuracy_series(shown, places, "chips", has_bars=False, marker="open", texts=hover),
        ],
        [*marks, *threshold_marks("y", thresholds)],
        note=f"a dot: a chip, on the same {shown[0].images:,} images; in each group from the worst to the best",
        numbers=numbers,
        file="accuracy_of_chips.csv",
    )


def threshold_marks(along: Literal["x", "y"], thresholds: Sequence[float]) -> list[Mark]:
    """Lines at the accuracies from which a chip is good, with one entry in the legend."""
    rising = sorted(thresholds)
    name = f"a good chip: from {', '.join(f'{100 * each:g}' for each in rising)} %"
    return [Mark(along, 100 * each, name * (place == 0), dashes=3) for place, each in enumerate(rising)]


def _ends(drawn: Sequence[ChipYield], marked: Sequence[float]) -> tuple[float, float]:
    """Accuracies at the left and right end of the picture, percent; marked ones are 0..1."""
    accuracies = [100 * float(value) for each in drawn for value in (each.accuracies.min(), each.accuracies.max())]
    low, high = min(accuracies), max(accuracies)
    far = 2 * (high - low) + 2  # more distant thresholds would squeeze the curves
    near = [100 * value for value in marked if low - far <= 100 * value <= high + far]
    low, high = min([low, *near]), max([high, *near])
    margin = max(0.06 * (high - low), 0.25)
    return max(low - margin, 0.0), min(high + margin, 100.0)


def curve_width(found: Sequence[ChipYield], digits: int) -> str:
    """How far a whole curve of yield may lie from the one drawn (95 %, DKW), for the most and the fewest chips."""
    totals = [len(each.chips) for each in found]
    return " to ".join(dict.fromkeys(f"{dkw(total):.{digits}f}" for total in (max(totals), min(totals))))


class _Row(NamedTuple):
    """Chips at some values of the other axes, and how many of them reach an accuracy."""

    of: ChipYield
    at: YieldPoint

    @property
    def axes(self) -> Mapping[str, AxisValue]:
        return self.of.axes


_MEAN: list[TableColumn[_Row]] = [
    valued("mean (%)", "mean", lambda row: row.of.mean.mean, Measure().text),
    interval("95 % interval", lambda row: (row.of.mean.low, row.of.mean.high), ("mean_low", "mean_high")),
    valued("chip sd", "chip_sd", lambda row: row.of.spread, Measure().text),
    valued("read sd", "read_sd", lambda row: row.of.read_spread, Measure().text),
]
_CHIPS: list[TableColumn[_Row]] = [
    TableColumn("chips", lambda row: len(row.of.chips)),
    plain("reads", lambda row: row.of.reads),
]
_SPREAD: list[TableColumn[_Row]] = [
    TableColumn("lowest", lambda row: f"{100 * row.of.accuracies.min():.2f}"),
    TableColumn("median", lambda row: f"{100 * np.median(row.of.accuracies):.2f}"),
    TableColumn("highest", lambda row: f"{100 * row.of.accuracies.max():.2f}"),
]
_THRESHOLD: TableColumn[_Row] = TableColumn(
    "at least (%)", lambda row: f"{100 * row.at.accuracy:g}", {"threshold": lambda row: row.at.accuracy}
)
_BOUNDS = "[{:.3f}, {:.3f}]".format
_GOOD: list[TableColumn[_Row]] = [
    TableColumn(
        "good chips",
        lambda row: f"{row.at.good} of {row.at.total}",
        {"good": lambda row: row.at.good, "chips": lambda row: row.at.total},
    ),
    valued("yield", "yield", lambda row: row.at.share, "{:.3f}".format),
    interval("on these images", lambda row: (row.at.low, row.at.high), text=_BOUNDS),
    interval(
        "on all images", lambda row: (row.at.low_all, row.at.high_all), ("low_all_images", "high_all_images"), _BOUNDS
    ),
]


def yield_text(
    found: Sequence[ChipYield], thresholds: Sequence[float], question: Target | None, words: Callable[[str], str] = str
) -> str:
    """Mean and spread of chips, their yields at some accuracies, 0..1, notes on both, and the answer to a question.

    `words` changes the words, such as `Measure.words`.
    """
    rows, axes = _rows(found, thresholds), axis_columns(found)
    spreads = Table([*axes, *_CHIPS, *_MEAN, *_SPREAD], rows[:: len(thresholds)])
    yields = Table([*axes, _THRESHOLD, *_GOOD], rows)
    parts = [str(each.in_words(words)) for each in (spreads, yields)] + [_notes(found, question is not None)]
    if question is not None:
        parts.append("\n".join(_answer(each, question) for each in found))
    return words("\n\n".join(parts))


def write_yields(found: Sequence[ChipYield], thresholds: Sequence[float], path: Path) -> Path:
    """Write the yields as CSV, a row for each combination of the other axes and each accuracy; all as shares 0..1.

    Mean over chips and images with its interval, and both spreads, belong to a combination.
    """
    others: list[TableColumn[_Row]] = [
        _CHIPS[1],
        plain("images", lambda row: row.of.images),
        plain("bounds", lambda row: "sequence" if row.of.stopped_by_outcomes else "Clopper-Pearson"),
    ]
    accuracy: TableColumn[_Row] = plain("accuracy", lambda row: f"{row.at.accuracy:.6g}")
    columns = [*axis_columns(found), accuracy, *_GOOD, *others, *_MEAN]
    rows = Table(columns, _rows(found, thresholds)).numbers
    write_lines(path, [[f"{each:.6f}" if isinstance(each, float) else each for each in row] for row in rows], "\n")
    return path


def yield_table(run: Run) -> Table[_Row] | None:
    """Good chips at each threshold, for each combination of the other axes; None without yields."""
    if not run.yields:
        return None
    columns = [*axis_columns(run.yields, is_labelled=True), *_MEAN, _THRESHOLD, *_GOOD]
    return Table(columns, _rows(run.yields, run.thresholds[::-1]), title="Yields", file="yields.csv")


def _rows(found: Sequence[ChipYield], thresholds: Sequence[float]) -> list[_Row]:
    return [_Row(each, each.at(threshold)) for each in found for threshold in thresholds]


def _notes(found: Sequence[ChipYield], stops: bool) -> str:
    images, reads = found[0].images, max(each.reads for each in found)
    mean = f", as the mean of {reads} reads" if reads > 1 else ""
    bounds = "each end holds with 95 %, at any number of chips" if stops else "95 %, Clopper and Pearson"
    has_spread = all(each.read_spread is not None for each in found)
    noise = "without read noise (read sd: of a chip from read to read)" if has_spread else "with read noise, if any"
    lines = [
        f"Good chips: their accuracy on these {images:,} images is at least the one in the column 'at least'{mean}.",
        f"On these images: bounds of the share of all chips that are good on these images ({bounds}).",
        "On all images: bounds of the share of all chips that are as accurate on all images of this kind.",
        "Mean: over all chips and all images; its interval covers the choice of both.",
        f"Chip sd: standard deviation from chip to chip on these images, in points, {noise}.",
    ]
    if not stops:
        width = curve_width(found, 3)
        lines.append(f"A whole curve of yield over accuracy lies within {width} of the drawn curve (95 %, DKW).")
    return "\n".join(lines)


def _answer(found: ChipYield, question: Target) -> str:
    at = found.at(question.accuracy)
    where = f", {axes_text(found.axes)}" if found.axes else ""
    answer = {
        True: f"yes, at least {at.low:.3f}",
        False: f"no, at most {at.high:.3f}",
        None: f"undecided at the limit, {at.low:.3f} to {at.high:.3f}",
    }[question.answer_of_chips(at.good, at.total)]
    said = f"{at.total} chips with {at.good} good on these {found.images:,} images"
    return f"answer   {question}{where}: {answer}, after {said}"
