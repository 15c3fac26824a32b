"""The curves of a sweep, and the choice of those that are drawn."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TypeAlias

from asim_lightning.evaluation.axis_settings import is_condition
from asim_lightning.evaluation.results import AxisValue, Kind, Result, axes_text, axis_text, distinct_values
from asim_lightning.report.labels import head_of
from asim_lightning.report.picture import MOST_CURVES, drawn_of

Curve: TypeAlias = tuple[dict[str, AxisValue], list[Result]]
"""Values of the other axes, and the points along the axis that is drawn."""


def sweep_lines(rows: Sequence[Result], axis: str, kind: Kind = "simulated") -> list[Curve]:
    """The points of a kind along `axis`, rising, one line for each combination of the other axes.

    Raises:
        ValueError: No point of the kind has the axis.
    """
    of_kind = [row for row in rows if row.kind == kind]
    points = [row for row in of_kind if axis in row.axes]
    if not points:
        known = ", ".join(dict.fromkeys(name for row in of_kind for name in row.axes)) or "none"
        raise ValueError(f"the axis of a plot must be one that {kind} points have ({known}), got {axis!r}")
    order = [axis_text(value) for value in distinct_values(row.axes[axis] for row in points)]
    others = list(dict.fromkeys(name for row in points for name in row.axes if name != axis))
    # A name that some points lack tells lines apart too, hence the None of a missing name beside (value,).
    seen = {name: {(name in row.axes, axis_text(row.axes.get(name))) for row in points} for name in others}
    groups: dict[str, Curve] = {}
    for row in points:
        differing = {name: row.axes[name] for name in others if name in row.axes and len(seen[name]) > 1}
        groups.setdefault(axes_text(differing), (differing, []))[1].append(row)
    for _, line in groups.values():
        line.sort(key=lambda row: order.index(axis_text(row.axes[axis])))
    return list(groups.values())


def drawn_lines(rows: Sequence[Result], axis: str) -> tuple[list[Curve], str]:
    """The lines of a figure, and a note that says how to read them.

    Up to `MOST_CURVES` lines are those of `sweep_lines`. If there are more, one line is drawn for each value of the
    other axis that changes the accuracy most; its points are the most accurate over the rest, under the hardest of
    their conditions. If that axis has too many values, some of them are drawn, from the first to the last.
    """
    lines, note = sweep_lines(rows, axis), "bars: 95 % intervals"
    if len(lines) <= MOST_CURVES:
        return lines, note
    others = list(dict.fromkeys(name for values, _ in lines for name in values))
    if len(others) > 1:
        strongest = max(others, key=lambda name: _effect(lines, name))
        rest = [name for name in others if name != strongest]
        lines = _over_the_rest(lines, axis, strongest)
        designs, met = ([head_of(name) for name in rest if is_condition(name) is kind] for kind in (False, True))
        said = [f"the best {', '.join(designs)}"] * bool(designs) + [f"the hardest {', '.join(met)}"] * bool(met)
        note = f"points: at {' under '.join(said)}; {note}"
    if len(lines) > MOST_CURVES:
        note += f"; {MOST_CURVES} of {len(lines)} lines are drawn"
        lines = drawn_of(sorted(lines, key=_order(lines)))
    return lines, note


def _effect(lines: Sequence[Curve], name: str) -> float:
    """Range of the mean accuracies over the values of an axis."""
    means = [fmean(row.accuracy for _, line in group for row in line) for group in _by_value(lines, name)]
    return max(means) - min(means)


def _by_value(lines: Sequence[Curve], name: str) -> list[list[Curve]]:
    groups: dict[tuple[bool, str], list[Curve]] = {}
    for curve in lines:
        groups.setdefault((name in curve[0], axis_text(curve[0].get(name))), []).append(curve)
    return list(groups.values())


def _over_the_rest(lines: Sequence[Curve], axis: str, name: str) -> list[Curve]:
    """One line for each value of an axis, over the values of all others."""
    found = []
    for group in _by_value(lines, name):
        points: dict[str, list[Result]] = {}
        for row in (row for _, line in group for row in line):
            points.setdefault(axis_text(row.axes[axis]), []).append(row)
        order = [axis_text(value) for value in distinct_values(row[0].axes[axis] for row in points.values())]
        kept = {key: value for key, value in group[0][0].items() if key == name}
        found.append((kept, [_best(points[text]) for text in order]))
    return found


def _best(rows: Sequence[Result]) -> Result:
    """The most accurate design, each at its least accurate conditions."""
    designs: dict[str, list[Result]] = {}
    for row in rows:
        chosen = {name: value for name, value in row.axes.items() if not is_condition(name)}
        designs.setdefault(axes_text(chosen), []).append(row)
    worst = [min(some, key=lambda row: row.merit) for some in designs.values()]
    return max(worst, key=lambda row: row.merit)


def _order(lines: Sequence[Curve]) -> Callable[[Curve], list[int]]:
    """A sort key: numbers of each axis ascending, names in their given order."""
    names = list(dict.fromkeys(name for others, _ in lines for name in others))
    ranks = {
        name: [axis_text(value) for value in distinct_values(o[name] for o, _ in lines if name in o)] for name in names
    }
    return lambda curve: [ranks[name].index(axis_text(value)) for name, value in curve[0].items()]
