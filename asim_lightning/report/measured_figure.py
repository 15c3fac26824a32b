"""The figure of a measured column: transfer, INL, DNL and noise by count."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asim_lightning.circuit.code_fit import intervals
from asim_lightning.circuit.columns import Column
from asim_lightning.circuit.measured import Measured, MeasuredCurve
from asim_lightning.report.draw import new_figure, save_figure
from asim_lightning.report.picture import Format

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#5B5B5B"  # apart for colour-blind readers, too


def draw_measured(columns: Iterable[Column], folder: Path, suffix: Format = "png") -> list[Path]:
    """Draw each measured column once, into a file of its file's name.

    Args:
        columns: Columns of any kind.
        folder: Where to draw; it is made where absent.
        suffix: Format of the files.

    Returns:
        The files.
    """
    found = [column for column in columns if isinstance(column, Measured)]
    measured = {(c.file, number): (c, curve) for c in found for number, curve in c.by_converter.items()}
    drawn: list[Path] = []
    for (file, converter), (column, curve) in measured.items():
        name = Path(file).stem + ("" if converter is None else f"_converter_{converter}")
        path = folder / f"{name}.{suffix}"
        if path in drawn:  # another folder's file of the same name
            path = folder / f"{name}_{len(drawn)}.{suffix}"
        title = f"{Path(file).name}" + ("" if converter is None else f", converter {converter}")
        drawn.append(save_figure(measured_figure(curve, column.macro.top_code or 1, title), path))
    return drawn


def measured_figure(curve: MeasuredCurve, top: int, title: str) -> Figure:
    """Level, its deviation from the line through both ends (INL), its steps (DNL) and sigma, by count, in LSB.

    ``INL(k) = level(k) - level(0) - k * slope`` and ``DNL(k) = level(k) - level(k - 1) - slope``, where
    ``slope = (level(full scale) - level(0)) / full scale``. 95 % intervals are drawn where single reads are there.

    Args:
        curve: The column.
        top: Largest code of its ADC.
        title: Headline.
    """
    level, sigma = curve.level, curve.sigma
    counts = np.arange(len(level))
    slope = (level[-1] - level[0]) / curve.full_scale
    line = level[0] + slope * counts
    figure = new_figure(11.0, 7.6)
    transfer, inl, dnl, noise = figure.subplots(2, 2).flat
    transfer.plot(counts, counts * top / curve.full_scale, color=_GREY, linestyle="--", linewidth=1, label="ideal")
    transfer.plot(counts, level, color=_BLUE, linewidth=1.5, label="measured, before rounding")
    transfer.legend(loc="upper left", frameon=False)
    offset, gain = level[0], slope * curve.full_scale / top
    _name(transfer, f"transfer: offset {offset:+.2f} LSB, gain {gain:.4f}", "code")
    inl.plot(counts, level - line, color=_BLUE, linewidth=1)
    _name(inl, f"INL, line through both ends: {_range(level - line)} LSB", "INL (LSB)")
    steps = np.diff(level) - slope
    dnl.plot(counts[1:], steps, color=_BLUE, linewidth=1)
    _name(dnl, f"DNL, steps from count to count: {_range(steps)} LSB", "DNL (LSB)")
    silent = sigma == 0
    noise.plot(counts[~silent], sigma[~silent], color=_BLUE, linewidth=0, marker=".", markersize=4, label="noise")
    if silent.any():
        label = f"one code only: {silent.sum()} counts"
        noise.plot(counts[silent], sigma[silent], color=_ORANGE, linewidth=0, marker="|", markersize=8, label=label)
    reads = curve.measurement.reads
    if reads is not None:
        levels, sigmas = intervals(reads, top)
        inl.vlines(counts, levels[0] - line, levels[1] - line, color=_BLUE, alpha=0.3)
        noise.vlines(counts, *sigmas, color=_BLUE, alpha=0.3, label="95 % interval")
    noise.margins(y=0.2)
    noise.set_ylim(bottom=0.0)
    noise.legend(loc="upper center", frameon=False, ncols=3, fontsize=9)
    _name(noise, f"noise before rounding: up to {sigma.max():.3g} LSB", "sigma (LSB)")
    figure.suptitle(title, fontsize=13)
    return figure


def _name(plot: Axes, title: str, label: str) -> None:
    plot.set_title(title, fontsize=11)
    plot.set_xlabel("count")
    plot.set_ylabel(label)
    plot.grid(alpha=0.3)


def _range(values: NDArray[np.float64]) -> str:
    return f"{values.min():+.2f} to {values.max():+.2f}"
