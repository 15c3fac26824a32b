"""Names of points: they hide neither each other nor a point, and are left out where there is no place."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from asim_lightning.report.point_labels import PointLabel, write_labels


def drawn(places: list[tuple[float, float]]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.0, 4.0), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(*zip(*places, strict=True), "o", label="points")
    axes.legend(loc="upper left")
    return figure, axes


def boxes(axes: Axes) -> list[Bbox]:
    return [
        Annotation.get_window_extent(note) if note.arrow_patch is None else super(Annotation, note).get_window_extent()
        for note in axes.texts
        if isinstance(note, Annotation)
    ]


def test_names_of_crowded_points_do_not_overlap() -> None:
    places = [(float(x), float(y)) for x in np.linspace(0, 0.3, 4) for y in np.linspace(0, 0.2, 3)] + [(5.0, 5.0)]
    figure, axes = drawn(places)
    written = write_labels(figure, axes, [PointLabel(x, y, f"{x:.1f}/{y:.1f}") for x, y in places], places, [])
    assert len(written) > 8
    assert written[-1].text == "5.0/5.0"
    figure.draw_without_rendering()
    found, outer = boxes(axes), axes.get_window_extent()
    assert len(found) == len(written)
    assert not any(one.overlaps(other) for one, other in combinations(found, 2))
    legend = axes.get_legend()
    assert legend is not None
    assert not any(box.overlaps(legend.get_window_extent()) for box in found)
    dots = axes.transData.transform(places)
    assert not any(box.contains(x, y) for box in found for x, y in dots)
    assert all(outer.x0 < box.x0 and box.x1 < outer.x1 and outer.y0 < box.y0 and box.y1 < outer.y1 for box in found)


@pytest.mark.parametrize("may_be_far", [True, False])
def test_a_name_apart_from_its_point_has_a_line_to_it(may_be_far: bool) -> None:
    figure, axes = drawn([(0.0, 0.0), (2.0, 2.0)])
    crowd = [(1.0 + dx, 1.0 + dy) for dx in np.linspace(-0.09, 0.09, 8) for dy in np.linspace(-0.12, 0.12, 8)]
    written = write_labels(figure, axes, [PointLabel(1.0, 1.0, "7/1", may_be_far)], crowd, [])
    assert len(written) == may_be_far
    lines = [note.arrow_patch.get_visible() for note in axes.texts if isinstance(note, Annotation) and note.arrow_patch]
    assert lines == [True] * may_be_far


@pytest.mark.parametrize("across", [True, False])
def test_names_avoid_lines(across: bool) -> None:
    places = [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]

    def box_with(lines: list[list[tuple[float, float]]]) -> tuple[Axes, Bbox]:
        figure, axes = drawn(places)
        write_labels(figure, axes, [PointLabel(1.0, 1.0, "middle")], places, lines)
        figure.draw_without_rendering()
        (box,) = boxes(axes)
        return axes, box

    axes, free = box_with([])
    x, y = axes.transData.inverted().transform(((free.x0 + free.x1) / 2, (free.y0 + free.y1) / 2))
    line = [(0.0, y), (2.0, y)] if across else [(x, 0.0), (x, 2.0)]  # through where the name would be
    axes, box = box_with([line])
    ends = axes.transData.transform(line)
    assert not any(box.contains(*place) for place in np.linspace(ends[0], ends[1], 1000))
