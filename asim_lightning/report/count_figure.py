"""One page on the counts at the ADC of a layer: its counts against the ADC's range, cycle by cycle."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from textwrap import fill
from typing import Any, TypeAlias

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asim_lightning.circuit import Cycle
from asim_lightning.engine.adc_range import Histogram, Quality, overall, qualities
from asim_lightning.nn.count_histograms import LayerCounts
from asim_lightning.report.command_tables import decibels
from asim_lightning.report.labels import macro_words
from asim_lightning.report.picture import WIDTH

_SIZE, _DOTS = (13.0, 12.0), 100  # inches and dots per inch: 1300 x 1200 pixels
_STYLE: Any = {
    "axes.titlesize": 11, "axes.labelsize": 11, "xtick.labelsize": 8, "ytick.labelsize": 8, "figure.titlesize": 15,
}  # fmt: skip
_NARROW, _NARROW_HEIGHT = 9.0, 5.5
"""Below this width a page has only the counts, and this height, inches."""
_NARROW_STYLE: Any = {"font.size": 7.0, "axes.titlesize": 8.0, "figure.titlesize": 8.0}
_MOST_BINS = 256
_MOST_LABELS, _MOST_LABELS_NARROW = 72, 22
_RANGE, _BAR, _OUTSIDE = "#D55E00", "#0072B2", "0.88"
_LEAST_WRONG = 1e-8
_WIDEST = 2
"""The axis of counts ends at this many times the largest count, so a wide range leaves room for counts."""
_Seen: TypeAlias = tuple[Cycle, Histogram, Quality]
"""A cycle, its counts, and the quality of their conversion."""


def count_figure(name: str, counts: LayerCounts, images: str, width: float = WIDTH) -> Figure:
    """The page of a layer: counts of all cycles, rows in use, and by cycle counts, clipped share, P(wrong) and CSNR.

    `images` says in words which images were counted. With another width than the usual one, in inches, the page has
    this width; below 9 inches it has only the counts.
    """
    found = qualities(counts.circuit, counts.histograms)
    cycles = list(zip(counts.circuit.cycles, counts.histograms, found, strict=True))
    edges = _edges(cycles)
    shares = np.array([np.histogram(seen.counts, edges, weights=seen.shares)[0] for _, seen, _ in cycles])
    wide, high = _SIZE if width == WIDTH else (width, _SIZE[1] if width >= _NARROW else _NARROW_HEIGHT)
    is_narrow = wide < _NARROW
    with rc_context(_NARROW_STYLE if is_narrow else _STYLE):
        figure = Figure(figsize=(wide, high), dpi=_DOTS, layout="constrained")
        figure.suptitle(f"What the ADC of {name} sees", x=0.01, ha="left")
        text = fill(_text(counts, overall(counts.circuit, found), images), int(16.5 * wide if is_narrow else 165))
        figure.supxlabel(text, x=0.01, ha="left", fontsize=7 if is_narrow else 10, color="0.25")
        if is_narrow:
            plots = figure.subplot_mosaic([["counts"], ["cycles"]], height_ratios=(1.0, 3.0))
        else:
            plots = figure.subplot_mosaic(
                [["counts", *["rows"] * 3], ["cycles", "clipped", "wrong", "csnr"]],
                width_ratios=(6.2, 1.3, 1.3, 1.3),
                height_ratios=(1.5, 8.0),
            )
        mesh = _draw_cycles(plots["cycles"], cycles, edges, shares)
        figure.colorbar(mesh, ax=plots["cycles"], location="bottom", label="share of a cycle's counts", aspect=60)
        _draw_all(plots["counts"], cycles, edges, shares.mean(0))
        if not is_narrow:
            _draw_rows(plots["rows"], counts)
            _draw_qualities(plots, cycles)
        figure.draw_without_rendering()  # sets the text sizes of this style
    return figure


def _text(counts: LayerCounts, together: Quality, images: str) -> str:
    csnr = decibels(together.csnr)
    spreads = "; CSNR and P are without the static effects" if counts.circuit.differs_by_chip else ""
    return (
        f"{macro_words(asdict(counts.circuit.macro))}. {images}, "
        f"{counts.conversions:,} counts in each cycle. All cycles, weighted with 4^shift: CSNR "
        f"{csnr}{'' if csnr == 'exact' else ' dB'}; on average {100 * together.clipped:.2g} % of the counts are "
        f"clipped, and P(wrong code) is {together.wrong:.1e}{spreads}."
    )


def _bits(bits: tuple[int, ...]) -> str:
    return str(bits[0]) if len(bits) == 1 else f"{bits[0]}-{bits[-1]}"


def _ends(cycle: Cycle) -> tuple[float, ...]:
    """Counts of the lowest and the highest code; empty if the cycle is digital or the converter ideal."""
    if not cycle.converted or cycle.top_code is None:
        return ()
    low = -cycle.top_code if cycle.signed else 0
    return tuple(cycle.adc_low + cycle.counts_a_code * code for code in (low, cycle.top_code))


def _edges(cycles: Sequence[_Seen]) -> NDArray[np.float64]:
    """Edges of the bins along counts: one bin for each count if there is room."""
    found = [float(end) for _, seen, _ in cycles for end in (seen.counts.min(), seen.counts.max())]
    ends = [0.0, *found, *(end for cycle, *_ in cycles for end in _ends(cycle))]
    seen, low, high = max([1.0, *map(abs, found)]), min(ends), max(ends)
    low, high = max(low, -_WIDEST * seen), min(high, _WIDEST * seen)
    width = max(1, math.ceil((high - low + 1) / _MOST_BINS))
    return np.arange(low - 0.5, high + 0.5 + width, width)


def _draw_all(plot: Axes, cycles: Sequence[_Seen], edges: NDArray[np.float64], total: NDArray[np.float64]) -> None:
    plot.stairs(np.maximum(total, 1e-12), edges, fill=True, color=_BAR)
    least = max(float(total[total > 0].min()) / 3, 1e-9)
    plot.set(xlim=(edges[0], edges[-1]), yscale="log", ylim=(least, 2.0), ylabel="share", title="counts of all cycles")
    ends = sorted({end for cycle, *_ in cycles for end in _ends(cycle)})
    beyond = [f"{count:.6g}" for count in ends if not edges[0] <= count <= edges[-1]]
    for count in ends:
        plot.axvline(count, color=_RANGE, linewidth=1.3)
    is_narrow = plot.figure.get_figwidth() < _NARROW  # type: ignore[union-attr]
    if beyond:
        text = f"the range ends beyond this picture, at {', '.join(beyond)}"
        plot.text(
            0.99,
            0.9,
            text,
            transform=plot.transAxes,
            ha="right",
            va="top",
            fontsize=7 if is_narrow else 9,
            color=_RANGE,
        )


def _draw_rows(plot: Axes, counts: LayerCounts) -> None:
    rows, tiles = counts.circuit.macro.rows, len(counts.rows)
    plot.bar(range(tiles), counts.rows, color=_BAR, width=0.8)
    plot.axhline(rows, color=_RANGE, linewidth=1.3)
    plot.set(xlim=(-0.7, max(tiles, 3) - 0.3), ylim=(0, 1.12 * rows), xticks=range(0, tiles, math.ceil(tiles / 12)))
    plot.yaxis.tick_right()
    used = sum(counts.rows) / (tiles * rows)
    plot.set_title(f"rows in use, tile by tile: {100 * used:.0f} % of {rows}")


def _draw_cycles(
    plot: Axes, cycles: Sequence[_Seen], edges: NDArray[np.float64], shares: NDArray[np.float64]
) -> QuadMesh:
    places = np.arange(len(cycles))
    low, high = np.array([_ends(cycle) or (math.nan, math.nan) for cycle, *_ in cycles]).T
    half = np.array([cycle.counts_a_code / 2 for cycle, *_ in cycles])
    low, high = low - half, high + half
    left, right = np.nan_to_num(low, nan=edges[0]), np.nan_to_num(high, nan=edges[-1])
    plot.barh(places, right - left, 1.0, left, color="white", zorder=0)
    for each in (low, high):
        plot.vlines(each, places - 0.5, places + 0.5, color=_RANGE, linewidth=1.6, zorder=3)
    least = max(float(shares[shares > 0].min()), 1e-7)
    seen, lines = np.ma.masked_less_equal(shares, 0.0), np.arange(len(cycles) + 1) - 0.5
    mesh = plot.pcolormesh(edges, lines, seen, norm=LogNorm(least, 1.0), cmap="viridis_r", zorder=2)
    is_narrow = plot.figure.get_figwidth() < _NARROW  # type: ignore[union-attr]
    every = math.ceil(len(cycles) / (_MOST_LABELS_NARROW if is_narrow else _MOST_LABELS))
    names = [f"x{_bits(cycle.input_bits)} w{_bits(cycle.weight_bits)}" for cycle, *_ in cycles[::every]]
    plot.set_yticks(places[::every], names, fontsize=7 if is_narrow or len(cycles) > 32 else 10)
    plot.set(
        facecolor=_OUTSIDE, xlim=(edges[0], edges[-1]), ylim=(lines[0], lines[-1]), xlabel="count",
        ylabel="cycle: input bits, weight bits",
        title="counts, cycle by cycle; lines: ends of\nthe ADC's range, shaded: outside of it" if is_narrow else
        "counts, cycle by cycle; lines: ends of the ADC's range, shaded: outside of it",
    )  # fmt: skip
    return mesh


def _draw_qualities(plots: Mapping[str, Axes], cycles: Sequence[_Seen]) -> None:
    """Clipped share, P(wrong) and CSNR of each cycle."""
    clipped = [100.0 * quality.clipped for *_, quality in cycles]
    wrong = [max(quality.wrong, _LEAST_WRONG) for *_, quality in cycles]
    csnr = [quality.csnr if math.isfinite(quality.csnr) else math.nan for *_, quality in cycles]
    low, high = min([0.0, *csnr]), max([10.0, *csnr])  # comparisons with nan are false
    drawn = (
        ("clipped", "clipped (%)", clipped, 0.0, 1.15 * max(1.0, *clipped)),
        ("wrong", "P(wrong code)", wrong, _LEAST_WRONG, 1.0),
        ("csnr", "CSNR (dB)", csnr, low, 1.1 * high),
    )
    for name, title, values, left, right in drawn:
        plot = plots[name]
        plot.barh(range(len(cycles)), np.array(values) - left, 0.8, left, color=_BAR)
        plot.set(xlim=(left, right), ylim=(-0.5, len(cycles) - 0.5), title=title, axisbelow=True)
        plot.locator_params(axis="x", nbins=2)
        plot.tick_params(axis="y", left=False, labelleft=False)
        plot.grid(axis="x", color="0.9", linewidth=0.6)
    plots["wrong"].set(xscale="log", xticks=[1e-6, 1e-3, 1])
    for place, (cycle, seen, quality) in enumerate(cycles):
        if not math.isfinite(quality.csnr):
            constant = quality.csnr < 0 or len(seen.counts) == 1
            text = "-" if constant else "exact" if _ends(cycle) else "digital"
            plots["csnr"].text(low + 0.03 * (high - low), place, text, va="center", fontsize=7, color="0.3")
