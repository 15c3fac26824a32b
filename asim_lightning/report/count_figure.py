"""One page that answers what the ADC of a layer sees: its counts against the ADC's range, cycle by cycle."""

import math
from collections.abc import Sequence
from textwrap import fill
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from asim_lightning.circuit import Cycle
from asim_lightning.engine.adc_range import Histogram, Quality, overall, qualities
from asim_lightning.nn.count_histograms import LayerCounts
from asim_lightning.report.command_tables import decibels

_WIDTH, _HEIGHT, _DOTS = 13.0, 12.0, 100  # inches and dots per inch: 1300 x 1200 pixels
_MOST_BINS = 256
_MOST_LABELS = 72
_RANGE, _BAR, _OUTSIDE = "#D55E00", "#0072B2", "0.88"
_LEAST_WRONG = 1e-8
_WIDEST = 2
"""Times the largest count that the axis of counts reaches at most, so that a wide range leaves room for counts."""


_Seen: TypeAlias = tuple[Cycle, Histogram, Quality]
"""A cycle, its counts, and what its ADC makes of them."""


def count_figure(name: str, counts: LayerCounts, images: str) -> Figure:
    """The page of a layer: counts of all cycles, rows in use, and by cycle counts, clipped share, P(wrong) and CSNR.

    Args:
        name: Full name of the layer.
        counts: Its counts.
        images: Images that they are of, in words.
    """
    found = qualities(counts.circuit, counts.histograms)
    cycles = list(zip(counts.circuit.cycles, counts.histograms, found, strict=True))
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DOTS)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        2, 4, width_ratios=(6.2, 1.3, 1.3, 1.3), height_ratios=(1.5, 8.0), hspace=0.17, wspace=0.09,
        left=0.1, right=0.965, top=0.885, bottom=0.105,
    )  # fmt: skip
    figure.suptitle(f"What the ADC of {name} sees", x=0.1, y=0.985, ha="left", fontsize=15)
    text = fill(_text(counts, overall(counts.circuit, found), images), 148)
    figure.text(0.1, 0.957, text, ha="left", va="top", fontsize=10, color="0.25")
    edges = _edges(cycles)
    shares = np.array([np.histogram(seen.counts, edges, weights=seen.shares)[0] for _, seen, _ in cycles])
    plot = figure.add_subplot(grid[1, 0])
    _draw_all(figure.add_subplot(grid[0, 0], sharex=plot), cycles, edges, shares.mean(0))
    _draw_rows(figure.add_subplot(grid[0, 1:]), counts)
    _draw_cycles(figure, plot, cycles, edges, shares)
    names = ("clipped (%)", "P(wrong code)", "CSNR (dB)")
    plots = [figure.add_subplot(grid[1, 1 + place], sharey=plot) for place in range(3)]
    for each, head in zip(plots, names, strict=True):
        each.set_title(head, fontsize=11)
        each.tick_params(axis="y", labelleft=False)
        each.tick_params(axis="x", labelsize=8)
        each.grid(axis="x", color="0.9", linewidth=0.6)
        each.set_axisbelow(True)
    _draw_figures(plots, cycles)
    return figure


def _text(counts: LayerCounts, together: Quality, images: str) -> str:
    macro = counts.circuit.macro
    csnr = decibels(together.csnr)
    converter = "an ideal converter" if macro.adc_bits is None else f"a {macro.adc_bits}-bit ADC over its full scale"
    if macro.adc_step is not None:
        converter = f"a {macro.adc_bits}-bit ADC from count {macro.adc_low} on, an LSB is {macro.adc_step}"
    return (
        f"W{macro.weight_bits}A{macro.input_bits}, {macro.rows} rows, {converter}; random noise "
        f"{_noise(macro.random_noise)}, nonlinear noise {_noise(macro.nonlinear_noise)}. {images}, "
        f"{counts.conversions:,} counts in each cycle. All cycles, weighted with 4^shift: CSNR "
        f"{csnr}{'' if csnr == 'exact' else ' dB'}; on average {100 * together.clipped:.2g} % of the counts are "
        f"clipped, and P(wrong code) is {together.wrong:.1e}."
    )


def _noise(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g} %"


def _bits(bits: tuple[int, ...]) -> str:
    return str(bits[0]) if len(bits) == 1 else f"{bits[0]}-{bits[-1]}"


def _ends(cycle: Cycle) -> tuple[float, ...]:
    """Counts of the lowest and the highest code; none if the cycle is digital or the converter ideal."""
    if not cycle.converted or cycle.top_code is None:
        return ()
    low = -cycle.top_code if cycle.signed else 0
    return tuple(cycle.adc_low + cycle.counts_a_code * code for code in (low, cycle.top_code))


def _edges(cycles: Sequence[_Seen]) -> NDArray[np.float64]:
    """Edges of the bins along counts: one a count where there is room."""
    found = [float(end) for _, seen, _ in cycles for end in (seen.counts.min(), seen.counts.max())]
    ends = [0.0, *found, *(end for cycle, *_ in cycles for end in _ends(cycle))]
    seen, low, high = max([1.0, *map(abs, found)]), min(ends), max(ends)
    low, high = max(low, -_WIDEST * seen), min(high, _WIDEST * seen)
    width = max(1, math.ceil((high - low + 1) / _MOST_BINS))
    return np.arange(low - 0.5, high + 0.5 + width, width)


def _draw_all(plot: Axes, cycles: Sequence[_Seen], edges: NDArray[np.float64], total: NDArray[np.float64]) -> None:
    plot.stairs(np.maximum(total, 1e-12), edges, fill=True, color=_BAR)
    least = float(total[total > 0].min())
    plot.set_yscale("log")
    plot.set_ylim(max(least / 3, 1e-9), 2.0)
    plot.set_ylabel("share", fontsize=10)
    plot.set_title("counts of all cycles", fontsize=11)
    plot.tick_params(axis="both", labelsize=8)
    beyond = []
    for count in sorted({end for cycle, *_ in cycles for end in _ends(cycle)}):
        if edges[0] <= count <= edges[-1]:
            plot.axvline(count, color=_RANGE, linewidth=1.3)
        else:
            beyond.append(f"{count:.6g}")
    if beyond:
        text = f"the range ends beyond this picture, at {', '.join(beyond)}"
        plot.text(0.99, 0.9, text, transform=plot.transAxes, ha="right", va="top", fontsize=9, color=_RANGE)


def _draw_rows(plot: Axes, counts: LayerCounts) -> None:
    rows, tiles = counts.circuit.macro.rows, np.arange(len(counts.rows))
    plot.bar(tiles, counts.rows, color=_BAR, width=0.8)
    plot.axhline(rows, color=_RANGE, linewidth=1.3)
    plot.set_ylim(0, 1.12 * rows)
    plot.set_xlim(-0.7, max(len(tiles), 3) - 0.3)
    plot.set_xticks([tile for tile in tiles if tile % max(1, math.ceil(len(tiles) / 12)) == 0])
    plot.yaxis.tick_right()
    plot.tick_params(axis="both", labelsize=8)
    used = sum(counts.rows) / (len(counts.rows) * rows)
    plot.set_title(f"rows in use, tile by tile: {100 * used:.0f} % of {rows}", fontsize=11)


def _draw_cycles(
    figure: Figure, plot: Axes, cycles: Sequence[_Seen], edges: NDArray[np.float64], shares: NDArray[np.float64]
) -> None:
    for place, (cycle, *_) in enumerate(cycles):
        if not (ends := _ends(cycle)):
            continue
        low, high = ends[0] - cycle.counts_a_code / 2, ends[1] + cycle.counts_a_code / 2
        for left, right in ((edges[0], low), (high, edges[-1])):
            if right > left:
                plot.barh(place, right - left, 1.0, left, color=_OUTSIDE, zorder=0)
        for end in (low, high):
            if edges[0] <= end <= edges[-1]:
                plot.plot([end, end], [place - 0.5, place + 0.5], color=_RANGE, linewidth=1.6, zorder=3)
    lines = np.arange(len(cycles) + 1) - 0.5
    least = max(float(shares[shares > 0].min()), 1e-7)
    seen = np.ma.masked_less_equal(shares, 0.0)
    mesh = plot.pcolormesh(edges, lines, seen, norm=LogNorm(least, 1.0), cmap="viridis_r", zorder=2)
    every = math.ceil(len(cycles) / _MOST_LABELS)
    places = list(range(0, len(cycles), every))
    names = [f"x{_bits(cycle.input_bits)} w{_bits(cycle.weight_bits)}" for cycle, *_ in cycles[::every]]
    plot.set_yticks(places, names)
    plot.tick_params(axis="y", labelsize=10 if len(cycles) <= 32 else 6.5, length=2)
    plot.tick_params(axis="x", labelsize=9)
    plot.set_xlim(edges[0], edges[-1])
    plot.set_ylim(-0.5, len(cycles) - 0.5)
    plot.set_xlabel("count", fontsize=11)
    plot.set_ylabel("cycle: input bits, weight bits", fontsize=11)
    plot.set_title("counts, cycle by cycle; lines: ends of the ADC's range, shaded: outside of it", fontsize=11)
    bar = figure.add_axes((0.685, 0.044, 0.28, 0.012))
    figure.colorbar(mesh, cax=bar, orientation="horizontal").ax.tick_params(labelsize=8)
    bar.set_title("share of a cycle's counts", fontsize=9, pad=3)


def _draw_figures(plots: Sequence[Axes], cycles: Sequence[_Seen]) -> None:
    """Clipped share, P(wrong) and CSNR of each cycle."""
    clipped, wrong, csnr = plots
    places = np.arange(len(cycles))
    shares = [100.0 * quality.clipped for *_, quality in cycles]
    clipped.barh(places, shares, color=_BAR, height=0.8)
    clipped.set_xlim(0, 1.15 * max(1.0, *shares))
    clipped.xaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
    widths = [max(0.0, quality.wrong - _LEAST_WRONG) for *_, quality in cycles]
    wrong.barh(places, widths, left=_LEAST_WRONG, color=_BAR, height=0.8)
    wrong.set_xscale("log")
    wrong.set_xlim(_LEAST_WRONG, 1.0)
    wrong.set_xticks([1e-6, 1e-3, 1])
    finite = [quality.csnr for *_, quality in cycles if math.isfinite(quality.csnr)]
    low, high = min([0.0, *finite]), max([10.0, *finite])
    csnr.set_xlim(low, 1.1 * high)
    for place, (cycle, seen, quality) in enumerate(cycles):
        if math.isfinite(quality.csnr):
            csnr.barh(place, quality.csnr - low, left=low, color=_BAR, height=0.8)
            continue
        constant = quality.csnr < 0 or len(seen.counts) == 1
        text = "-" if constant else "exact" if _ends(cycle) else "digital"
        csnr.text(low + 0.03 * (high - low), place, text, va="center", fontsize=6.5, color="0.3")
