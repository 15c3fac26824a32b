"""Figure of single chips: a dot for the accuracy of each, since chips have no order that a line could follow."""

from collections.abc import Mapping, Sequence
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asim_lightning.evaluation.axis_settings import CHIP
from asim_lightning.evaluation.results import AxisValue, Result, distinct_values, value_words
from asim_lightning.report.accuracy_figure import COLOURS
from asim_lightning.report.axis_labels import label_of, legend_text

MOST_GROUPS = 12
"""Most combinations of the other axes that stand beside each other."""
_SIZE, _DOTS = (9.0, 5.4), 100  # inches and dots per inch: 900 x 540 pixels
_CHARACTERS, _LABELS_WIDTH = 84, 110  # of a line of the headline, and of all labels along x
_HALF = 0.32
"""Half the width of a group, of which each takes 1."""


def groups_of_chips(rows: Sequence[Result]) -> list[tuple[Mapping[str, AxisValue], list[Result]]]:
    """The chips at each combination of the other axes, from the least to the most accurate, and what differs there."""
    chips = [row for row in rows if row.kind == "simulated" and CHIP in row.axes]
    names = [
        name
        for name in dict.fromkeys(name for row in chips for name in row.axes if name != CHIP)
        if len(distinct_values(row.axes.get(name) for row in chips)) > 1
    ]
    found: dict[str, tuple[Mapping[str, AxisValue], list[Result]]] = {}
    for row in chips:
        others = {name: row.axes[name] for name in names if name in row.axes}
        found.setdefault(legend_text(others), (others, []))[1].append(row)
    return [(others, sorted(each, key=lambda row: row.accuracy)) for others, each in found.values()]


def chip_dots_figure(rows: Sequence[Result], title: str, thresholds: Sequence[float] = ()) -> Figure:
    """Accuracy of each chip as a dot, in a group for each combination of the other axes, with the mean of each group.

    Args:
        rows: Results of a sweep with an axis of chips.
        title: Headline.
        thresholds: Accuracies that are marked, 0..1.
    """
    figure = Figure(figsize=_SIZE, dpi=_DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    groups = groups_of_chips(rows)
    names = list(dict.fromkeys(name for others, _ in groups for name in others))
    for place, (_, chips) in enumerate(groups):
        _draw_group(plot, place, [100 * row.accuracy for row in chips], "chips" if place == 0 else "_")
    _draw_levels(plot, rows, thresholds)
    width = _LABELS_WIDTH // len(groups)
    texts = [
        value_words(others[names[0]]) if len(names) == 1 else legend_text(others) or f"{len(chips)} chips"
        for others, chips in groups
    ]
    plot.set_xticks(range(len(groups)), [fill(text, width) for text in texts])
    plot.set_xlim(-0.6, len(groups) - 0.4)
    if len(names) == 1:
        plot.set_xlabel(label_of(names[0], {"static": "static effects"}), fontsize=12)
    plot.set_ylabel("accuracy (%)", fontsize=12)
    plot.grid(axis="y", color="0.9")
    plot.set_axisbelow(True)
    plot.tick_params(labelsize=11 if width > 15 else 9)
    plot.spines[["top", "right"]].set_visible(False)
    plot.margins(y=0.1)
    plot.legend(fontsize=10, loc="center left", bbox_to_anchor=(1.0, 0.5))
    plot.set_title(fill(title, _CHARACTERS * 4 // 5), fontsize=13, pad=10)
    note = f"a dot: a chip, on the same {groups[0][1][0].images:,} images; in each group from the worst to the best"
    figure.supxlabel(note, x=0.995, ha="right", fontsize=9, color="0.3")
    return figure


def _draw_group(plot: Axes, place: int, percents: Sequence[float], label: str) -> None:
    last = len(percents) - 1
    x = [place + _HALF * (2 * index / last - 1 if last else 0) for index in range(len(percents))]
    plot.plot(
        x, percents, "o", ms=6, mfc="none", mec=COLOURS[0], mew=1.3, alpha=0.9, label=label, clip_on=False, zorder=3
    )
    mean = sum(percents) / len(percents)
    plot.hlines(
        mean, place - _HALF, place + _HALF, color=COLOURS[1], linewidth=2.2, zorder=2.5,
        label="mean of them" if place == 0 else "_",
    )  # fmt: skip
    # beside the bar, where no dot is
    plot.annotate(
        f"{mean:.2f}", (place + _HALF, mean), (6, 0), textcoords="offset points", va="center", fontsize=9, color="0.2",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0}, zorder=2,
    )  # fmt: skip


def _draw_levels(plot: Axes, rows: Sequence[Result], thresholds: Sequence[float]) -> None:
    """The accuracies of the float and the quantised network, once where they are equal, and the thresholds."""
    levels: dict[float, list[str]] = {}
    for row in rows:
        if row.kind != "simulated" and not row.axes:
            levels.setdefault(round(100 * row.accuracy, 2), []).append(row.kind)
    for (percent, kinds), style in zip(levels.items(), ("-", "--"), strict=False):
        label = f"{' and '.join(kinds)} {percent:.2f} %"
        plot.axhline(percent, color="0.25", linestyle=style, linewidth=1.2, zorder=1, label=label)
    for index, threshold in enumerate(thresholds):
        label = f"threshold{'s' if len(thresholds) > 1 else ''} of a good chip" if index == 0 else "_"
        plot.axhline(100 * threshold, color="0.45", linestyle=":", linewidth=1.6, zorder=1, label=label)
