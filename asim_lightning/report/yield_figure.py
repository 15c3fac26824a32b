"""Figure of yields: the share of chips that are at least so accurate, over accuracy, with its band."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asim_lightning.evaluation.binomial import dkw
from asim_lightning.evaluation.chip_yield import ChipYield, yield_curve
from asim_lightning.evaluation.results import AxisValue, axis_text
from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.report.accuracy_figure import COLOURS, DASHES
from asim_lightning.report.axis_labels import legend_text
from asim_lightning.report.curves import MOST_CURVES

_SIZE, _DOTS = (9.0, 5.4), 100  # inches and dots per inch: 900 x 540 pixels
_CHARACTERS = 84  # of a line of the headline
_NOTE = 118  # of a line of the note
_NUMBER_WIDTH = 0.03  # of the number at a threshold, as a share of the axis


def yield_figure(
    found: Sequence[ChipYield],
    title: str,
    thresholds: Sequence[float] = (),
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Share of chips with at least an accuracy on the images at hand, one curve a combination of the other axes.

    The bands are the bounds of `ChipYield`, point by point. Of more than `MOST_CURVES` curves some are drawn, from the
    first to the last.

    Args:
        found: The chips of each combination, one or more.
        title: Headline.
        thresholds: Accuracies that are marked, 0..1.
        references: Accuracies of other networks by their name, such as quantized, 0..1.
    """
    figure = Figure(figsize=_SIZE, dpi=_DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    drawn, others = _some_of(found), references or {}
    left, right, end = _limits(drawn, [*thresholds, *others.values()])
    shared = _shared_axes(found)
    totals = {len(each.chips) for each in drawn}
    for index, each in enumerate(drawn):
        differing = {name: value for name, value in each.axes.items() if name not in shared}
        label = legend_text(differing) or "simulated"
        label += "" if len(totals) == 1 else f" ({len(each.chips)} chips)"
        _draw_curve(plot, each, (left, end), index, label)
    _mark(plot, thresholds, others, (left, right))
    plot.set_xlim(left, right)
    plot.set_ylim(-0.02, 1.02)
    plot.set_xlabel(f"accuracy on these {found[0].images:,} images (%)", fontsize=12)
    several = f"{totals.pop()} " if len(totals) == 1 else ""
    plot.set_ylabel(f"share of {several}chips at least so accurate", fontsize=12)
    plot.grid(axis="y", color="0.9")
    plot.set_axisbelow(True)
    plot.tick_params(labelsize=11)
    for side in ("top", "right"):
        plot.spines[side].set_visible(False)
    plot.legend(fontsize=10, framealpha=0.9, loc="best")
    headline = ", ".join(part for part in (title, legend_text(shared)) if part)
    plot.set_title(fill(headline, _CHARACTERS), fontsize=13, pad=28 if thresholds else 10)
    figure.supxlabel(fill(_note(drawn, len(found)), _NOTE), x=0.995, ha="right", fontsize=9, color="0.3")
    return figure


def _some_of(found: Sequence[ChipYield]) -> list[ChipYield]:
    """All curves, or `MOST_CURVES` of more, from the first to the last."""
    if len(found) <= MOST_CURVES:
        return list(found)
    last = len(found) - 1
    return [found[round(place * last / (MOST_CURVES - 1))] for place in range(MOST_CURVES)]


def _limits(drawn: Sequence[ChipYield], marked: Sequence[float]) -> tuple[float, float, float]:
    """Accuracies at the left and right of the plot, and where curves end, percent; marked ones are 0..1."""
    marks = [100 * value for value in marked]
    accuracies = [100 * value for each in drawn for value in (each.accuracies.min(), each.accuracies.max())]
    low, high = min(accuracies), max(accuracies)
    # thresholds far away would press the curves together
    near = [mark for mark in marks if low - 2 * (high - low) - 2 <= mark <= high + 2 * (high - low) + 2]
    low, high = min([low, *near]), max([high, *near])
    margin = max(0.06 * (high - low), 0.25)
    right = min(high + margin, 100.0)
    return max(low - margin, 0.0), right, max(right, high)


def _draw_curve(plot: Axes, found: ChipYield, ends: tuple[float, float], index: int, label: str) -> None:
    curve, total = yield_curve(found), len(found.chips)
    x = [ends[0], *(100 * accuracy for accuracy, *_ in curve), ends[1]]
    y = [1.0, *(share for _, share, *_ in curve), 0.0]
    lows = [found.bounds(total)[0], *(point[2] for point in curve), found.bounds(0)[0]]
    highs = [found.bounds(total)[1], *(point[3] for point in curve), found.bounds(0)[1]]
    colour = COLOURS[index % len(COLOURS)]
    plot.fill_between(x, lows, highs, step="pre", color=colour, alpha=0.16, linewidth=0)
    plot.step(x, y, where="pre", color=colour, linestyle=DASHES[index % len(DASHES)], linewidth=1.8, label=label)


def _mark(plot: Axes, thresholds: Sequence[float], references: Mapping[str, float], ends: tuple[float, float]) -> None:
    for name, accuracy in references.items():
        if ends[0] <= 100 * accuracy <= ends[1]:
            label = f"{name} {100 * accuracy:.2f} %"
            plot.axvline(100 * accuracy, color="0.35", linestyle="--", linewidth=1.2, label=label)
    last, line = -math.inf, 0
    for threshold in sorted(each for each in thresholds if ends[0] <= 100 * each <= ends[1]):
        # a number that would touch the one before it stands a line higher
        line = line + 1 if 100 * threshold - last < _NUMBER_WIDTH * (ends[1] - ends[0]) else 0
        last = 100 * threshold
        plot.axvline(last, color="0.6", linestyle=":", linewidth=1.2)
        plot.annotate(
            f"{last:g}", (last, 1.0), (0, 3 + 10 * line), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", fontsize=9, color="0.4",
        )  # fmt: skip


def plot_yields(
    found: Sequence[ChipYield], title: str, path: Path, thresholds: Sequence[float], references: Mapping[str, float]
) -> Path:
    """Write `yield_figure` as a PNG of 900 x 540 pixels.

    Args:
        found: The chips of each combination, one or more.
        title: Headline.
        path: The file.
        thresholds: Accuracies that are marked, 0..1.
        references: Accuracies of other networks by their name, 0..1.

    Raises:
        OSError: It cannot be written.
    """
    figure = yield_figure(found, title, thresholds, references)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=_DOTS))
    return path


def _shared_axes(found: Sequence[ChipYield]) -> dict[str, AxisValue]:
    """The axes beside the chips that have one value alone."""
    first = found[0].axes
    return {
        name: value
        for name, value in first.items()
        if all(axis_text(each.axes.get(name)) == axis_text(value) for each in found)
    }


def _note(drawn: Sequence[ChipYield], count: int) -> str:
    totals = [len(each.chips) for each in drawn]
    some = f"; {len(drawn)} of {count} curves are drawn" if len(drawn) < count else ""
    if drawn[0].stopped_by_outcomes:
        return f"bands: at each accuracy, each end holds with 95 % at any number of chips{some}"
    widths = " to ".join(dict.fromkeys(f"{dkw(total):.2f}" for total in (max(totals), min(totals))))
    return f"bands: 95 % at each accuracy (Clopper-Pearson); a whole curve: within {widths} (DKW){some}"
