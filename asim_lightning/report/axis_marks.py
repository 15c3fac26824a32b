"""Ticks and their labels on the axis of a figure."""

import re
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from asim_lightning.evaluation.results import value_words
from asim_lightning.report.axis_scale import AxisScale, number_ticks

_SIZE, _SIZE_ABOVE = 11, 10  # points
_LONG = 16
"""Length of an import path from which only its class is shown, where that is unambiguous."""
_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_LINE = 28
"""Characters of a line of a label."""
_BREAK = [(-0.45, -1.0), (0.45, 1.0)]


def write_marks(figure: Figure, plot: Axes, scale: AxisScale, bits: int | None) -> None:
    """Set limits, ticks and labels of the horizontal axis; must be called last, when the figure is complete.

    Args:
        figure: The figure.
        plot: Its axes.
        scale: The axis; numbers without a label get a minor tick.
        bits: Bits of the ADC, where an axis on top counts noise in LSB.
    """
    plot.set_xlim(*scale.ends)
    above = None if bits is None or scale.kind == "names" else plot.secondary_xaxis("top")
    if above is not None:
        above.set_xlabel(f"noise in LSB of the {bits}-bit ADC", fontsize=11)
        above.tick_params(labelsize=_SIZE_ABOVE)
    figure.draw_without_rendering()  # legend and labels take their room
    width = float(plot.get_window_extent().width)
    if scale.kind == "names":
        _write_names(figure, plot, scale, width)
        return
    plot.set_xticks(*number_ticks(scale, width, lambda text: _dots(figure, text, _SIZE)))
    plot.set_xticks(scale.positions, minor=True)
    if above is not None and bits is not None:
        factor = (2**bits - 1) / 100.0
        above.set_xticks(*number_ticks(scale, width, lambda text: _dots(figure, text, _SIZE_ABOVE), factor))
    if scale.kind == "log" and scale.zero_step:
        middle = scale.zero_step / 2
        for shift in (-3.0, 3.0):  # two strokes: the axis is cut between 0 and the smallest number above it
            place = middle + shift * (scale.ends[1] - scale.ends[0]) / width
            plot.plot(
                [place], [0.0], transform=plot.get_xaxis_transform(), marker=_BREAK, markersize=9, color="black",
                markeredgewidth=1.0, linestyle="none", clip_on=False, label="_",
            )  # fmt: skip


def _write_names(figure: Figure, plot: Axes, scale: AxisScale, width: float) -> None:
    texts = [value_words(value) for value in scale.values]
    short = [text.rsplit(".", 1)[-1] if len(text) > _LONG and _PATH.fullmatch(text) else text for text in texts]
    texts = [fill(text, _LINE) for text in (short if len(set(short)) == len(short) else texts)]
    left, right = scale.ends
    if max(_dots(figure, line, _SIZE) for text in texts for line in text.splitlines()) + 10.0 > width / (right - left):
        plot.set_xticks(scale.positions, texts, rotation=25, ha="right", rotation_mode="anchor")
    else:
        plot.set_xticks(scale.positions, texts)


def _dots(figure: Figure, text: str, size: float) -> float:
    canvas: Any = figure.canvas  # of Agg, which measures texts
    return float(canvas.get_renderer().get_text_width_height_descent(text, FontProperties(size=size), False)[0])
