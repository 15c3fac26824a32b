"""Names of points in a figure, placed so that none hides another, a point, or what else stands there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, cos, pi, sin
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

_SIZE = 8  # points
_PAD = 2.0  # dots around a label
_MARKER = 5.0  # dots: half of a point
_RINGS = (9.0, 16.0, 26.0, 40.0, 58.0)  # dots from a point to the edge of its label; beyond the first with a line to it
_DIRECTIONS = 16
_STEP = 3.0  # dots
Place: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class PointLabel:
    """A point and its name; where all else is equal, those that come first are placed first."""

    x: float
    y: float
    text: str
    may_be_far: bool = True
    """Whether it may stand apart from its point, with a line to it."""


def write_labels(
    figure: Figure, axes: Axes, labels: Sequence[PointLabel], points: Sequence[Place], lines: Sequence[Sequence[Place]]
) -> list[PointLabel]:
    """Write names beside points; must be called when all else is drawn.

    Args:
        figure: The figure.
        axes: Its axes, whose limits stay.
        labels: The points to name.
        points: All points that must stay visible.
        lines: Corners of lines that names cross only where there is no other place beside their point.

    Returns:
        The labels that found a place.
    """
    axes.set_xlim(*axes.get_xlim())
    axes.set_ylim(*axes.get_ylim())
    figure.draw_without_rendering()
    inside = axes.get_window_extent()
    taken = [Bbox.from_extents(x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER) for x, y in _dots(axes, points)]
    taken += [text.get_window_extent() for text in axes.texts]
    if (legend := axes.get_legend()) is not None:
        taken.append(legend.get_window_extent())
    on_lines = _along(axes, lines)
    places = _dots(axes, [(label.x, label.y) for label in labels])
    written = []
    for label, (x, y) in zip(labels, places, strict=True):
        note = axes.annotate(
            label.text, (label.x, label.y), (0.0, 0.0), textcoords="offset pixels", fontsize=_SIZE, ha="center",
            va="center", color="0.1", zorder=6,
            arrowprops={"arrowstyle": "-", "color": "0.45", "lw": 0.6, "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip
        note.set_in_layout(False)
        size = note.get_window_extent()
        half = size.width / 2, size.height / 2
        free = []
        for dx, dy, is_far in _offsets(half, label.may_be_far):
            box = Bbox.from_extents(x + dx - half[0], y + dy - half[1], x + dx + half[0], y + dy + half[1])
            if _is_within(box, inside) and not any(box.padded(_PAD).overlaps(each) for each in taken):
                free.append((_crossed(box, on_lines), dx, dy, is_far, box))
                if not free[-1][0]:
                    break
        if not label.may_be_far:
            free = [each for each in free if not each[0]]
        if free:
            _, dx, dy, is_far, box = min(free, key=lambda each: (each[0] > 0, each[3], each[0]))
            note.set_position((dx, dy))
            if not is_far and note.arrow_patch is not None:
                note.arrow_patch.set_visible(False)
            taken.append(box)
            written.append(label)
        else:
            note.remove()
    return written


def _along(axes: Axes, lines: Sequence[Sequence[Place]]) -> NDArray[np.float64]:
    """Places a few dots apart along lines. # (places, 2)"""
    found = [np.empty((0, 2))]
    for line in lines:
        for start, end in pairwise(axes.transData.transform(line)):
            steps = max(2, ceil(float(np.hypot(*(end - start))) / _STEP))
            found.append(start + np.linspace(0.0, 1.0, steps)[:, None] * (end - start))
    return np.concatenate(found)


def _crossed(box: Bbox, places: NDArray[np.float64]) -> int:
    """How many of some places lie in a box."""
    return int(np.all((places > box.p0) & (places < box.p1), axis=1).sum())


def _dots(axes: Axes, points: Sequence[Place]) -> list[Place]:
    return [(float(x), float(y)) for x, y in axes.transData.transform(points)] if points else []


def _offsets(half: tuple[float, float], may_be_far: bool) -> Iterator[tuple[float, float, bool]]:
    """Offsets from a point to the middle of a label, the nearest first, and whether it stands apart."""
    for ring in _RINGS if may_be_far else _RINGS[:1]:
        for step in range(_DIRECTIONS):
            angle = 2 * pi * (step / _DIRECTIONS + 0.125)  # above and right of the point first
            yield (ring + half[0]) * cos(angle), (ring + half[1]) * sin(angle), ring > _RINGS[0]


def _is_within(box: Bbox, outer: Bbox) -> bool:
    return bool(box.x0 > outer.x0 and box.x1 < outer.x1 and box.y0 > outer.y0 and box.y1 < outer.y1)
