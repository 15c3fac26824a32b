"""Yields of chips as text, as a CSV file, and for a page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asim_lightning.evaluation.chip_yield import ChipYield, YieldPoint
from asim_lightning.evaluation.results import AxisValue, Measure, axes_text
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import Target
from asim_lightning.evaluation.whole_file import write_lines
from asim_lightning.report.table_columns import axis_columns, interval, table_head, valued
from asim_lightning.report.yields import curve_width
from asim_lightning.table import Column, Table, plain


@dataclass(frozen=True)
class _Row:
    """Chips at some values of the other axes, and how many of them reach an accuracy."""

    of: ChipYield
    threshold: float
    at: YieldPoint

    @property
    def axes(self) -> Mapping[str, AxisValue]:
        return self.of.axes


_MEAN: list[Column[_Row]] = [
    valued("mean (%)", "mean", lambda row: row.of.mean.mean, Measure().text),
    interval("95 % interval", lambda row: (row.of.mean.low, row.of.mean.high), ("mean_low", "mean_high")),
    valued("chip sd", "chip_sd", lambda row: row.of.spread, Measure().text),
    valued("read sd", "read_sd", lambda row: row.of.read_spread, Measure().text),
]
_CHIPS: list[Column[_Row]] = [
    Column("chips", lambda row: len(row.of.chips)),
    plain("reads", lambda row: row.of.reads),
]
_SPREAD: list[Column[_Row]] = [
    Column("lowest", lambda row: f"{100 * row.of.accuracies.min():.2f}"),
    Column("median", lambda row: f"{100 * np.median(row.of.accuracies):.2f}"),
    Column("highest", lambda row: f"{100 * row.of.accuracies.max():.2f}"),
]
_BOUNDS = "[{:.3f}, {:.3f}]".format
_GOOD: list[Column[_Row]] = [
    Column(
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


def yield_text(found: Sequence[ChipYield], thresholds: Sequence[float], question: Target | None) -> str:
    """Mean and spread of chips, their yields at some accuracies, 0..1, notes on both, and the answer to a question."""
    rows, axes = _rows(found, thresholds), _axes(found)
    spreads = Table([*axes, *_CHIPS, *_MEAN, *_SPREAD], rows[:: len(thresholds)])
    yields = Table([*axes, _threshold("accuracy"), *_GOOD], rows)
    parts = [str(spreads), str(yields), _notes(found, question is not None)]
    if question is not None:
        parts.append("\n".join(_answer(each, question) for each in found))
    return "\n\n".join(parts)


def write_yields(found: Sequence[ChipYield], thresholds: Sequence[float], path: Path) -> Path:
    """Write the yields as CSV, a row for each combination of the other axes and each accuracy; all as shares 0..1.

    Mean over chips and images with its interval, and both spreads, belong to a combination.
    """
    others: list[Column[_Row]] = [
        _CHIPS[1],
        plain("images", lambda row: row.of.images),
        plain("bounds", lambda row: "sequence" if row.of.stopped_by_outcomes else "Clopper-Pearson"),
    ]
    accuracy: Column[_Row] = plain("accuracy", lambda row: f"{row.threshold:.6g}")
    columns = [*_axes(found), accuracy, *_GOOD, *others, *_MEAN]
    rows = Table(columns, _rows(found, thresholds)).numbers
    write_lines(path, [[f"{each:.6f}" if isinstance(each, float) else each for each in row] for row in rows], "\n")
    return path


def yield_table(run: Run) -> Table[_Row] | None:
    """Good chips at each threshold, for each combination of the other axes; None without yields."""
    if not run.yields:
        return None
    axes = _axes(run.yields, lambda name: table_head(run, name))
    columns, rows = [*axes, *_MEAN, _threshold("threshold"), *_GOOD], _rows(run.yields, run.thresholds[::-1])
    return Table(columns, rows, title="Yields", file="yields.csv")


def _rows(found: Sequence[ChipYield], thresholds: Sequence[float]) -> list[_Row]:
    return [_Row(each, threshold, each.at(threshold)) for each in found for threshold in thresholds]


def _axes(found: Sequence[ChipYield], head: Callable[[str], str] = str) -> list[Column[_Row]]:
    return axis_columns(list(found[0].axes), found, head)


def _threshold(name: str) -> Column[_Row]:
    return Column("at least (%)", lambda row: f"{100 * row.threshold:g}", {name: lambda row: row.threshold})


def _notes(found: Sequence[ChipYield], stops: bool) -> str:
    images, reads = found[0].images, max(each.reads for each in found)
    mean = f", as the mean of {reads} reads" if reads > 1 else ""
    bounds = "at any number of chips, which outcomes decided" if stops else "Clopper and Pearson"
    has_spread = all(each.read_spread is not None for each in found)
    noise = "without read noise (read sd: of a chip from read to read)" if has_spread else "with read noise, if any"
    lines = [
        f"Good: the accuracy on these {images:,} images is at least so much{mean}.",
        f"On these images: bounds of the share of all chips that are good on these images (95 %, {bounds}).",
        "On all images: bounds of the share of all chips that are so accurate on all images of the kind.",
        "Mean: over all chips and all images; its interval covers the choice of both.",
        f"Chip sd: points from chip to chip on these images, {noise}.",
    ]
    if not stops:
        width = curve_width(found, 3)
        lines.append(f"A whole curve of yield over accuracy lies within {width} of the one drawn (95 %, DKW).")
    return "\n".join(lines)


def _answer(found: ChipYield, question: Target) -> str:
    total, good = len(found.chips), found.good(question.accuracy)
    low, high = found.bounds(good)
    where = f", {axes_text(found.axes)}" if found.axes else ""
    answer = {
        True: f"yes, at least {low:.3f}",
        False: f"no, at most {high:.3f}",
        None: f"undecided at the limit, {low:.3f} to {high:.3f}",
    }[question.answer_of_chips(good, total)]
    return (
        f"answer   {question}{where}: {answer}, after {total} chips with {good} good on these {found.images:,} images"
    )
