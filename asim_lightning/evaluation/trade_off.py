"""Points of a search with all that they are compared by, and those that no other is better than."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from asim_lightning.evaluation.canonical import canonical_json
from asim_lightning.evaluation.results import NOISE_AXES, AxisValue, PointResult, axis_text
from asim_lightning.evaluation.targets import Decision

_GIVEN = {
    *NOISE_AXES, "full_scale_mv", "chip", "column", "column_args", "static", "offset", "gain", "inl", "cell_mismatch",
    "parasitics", "stuck_at_0", "stuck_at_1",
}  # fmt: skip
LARGE = ("accuracy", "yield", "tops_per_watt")
"""Figures of which more is better; of all others less is."""


@dataclass(frozen=True)
class SearchPoint:
    """A point of a search.

    Attributes:
        axes: Value of each setting, by name.
        result: Its accuracy.
        figures: All that it is compared by, by name: accuracy and yield 0..1, energy in uJ, latency in ms, TOPS/W,
            fields of the macro.
        decisions: Whether it keeps each target, in their order.
    """

    axes: Mapping[str, AxisValue]
    result: PointResult
    figures: Mapping[str, float]
    decisions: tuple[Decision, ...] = ()

    @property
    def verdict(self) -> str:
        """Whether it keeps all targets: kept, missed or undecided."""
        verdicts = {each.verdict for each in self.decisions}
        return next((each for each in ("missed", "undecided") if each in verdicts), "kept")


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        points: Its points, in the order in which they were evaluated.
        references: The accuracy of the float and of the quantised network.
        objectives: What is traded, the first first.
        targets: What each point must keep, in words.
        macro: Fields of the recipe's own macro.
    """

    points: tuple[SearchPoint, ...]
    references: tuple[PointResult, ...]
    objectives: tuple[str, ...]
    targets: tuple[str, ...] = ()
    macro: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def all_digital(self) -> tuple[float, float, float] | None:
        """Energy of the same products in a digital macro, uJ, and the ends of the factor within which it is known.

        None where it is not known, or not one for all points: bits and technology decide it.
        """
        names = ("all_digital", "all_digital_low", "all_digital_high")
        found = {tuple(point.figures.get(name) for name in names) for point in self.points}
        value, low, high = found.pop() if len(found) == 1 else (None, None, None)
        return None if value is None or low is None or high is None else (value, low, high)

    @cached_property
    def groups(self) -> tuple[tuple[Mapping[str, AxisValue], tuple[SearchPoint, ...]], ...]:
        """Points at the same noise and spread, which nobody chooses, and the values of these axes."""
        names = [name for name in self.points[0].axes if is_given(name)]
        found: dict[str, tuple[Mapping[str, AxisValue], list[SearchPoint]]] = {}
        for point in self.points:
            given = {name: point.axes[name] for name in names}
            found.setdefault(canonical_json(given), (given, []))[1].append(point)
        return tuple((given, tuple(points)) for given, points in found.values())

    @cached_property
    def front(self) -> tuple[SearchPoint, ...]:
        """Points that no other at the same noise is better than in one objective and at least as good in all."""
        return tuple(point for _, points in self.groups for point in pareto_front(points, self.objectives))

    def front_of(self, points: Sequence[SearchPoint]) -> list[SearchPoint]:
        """Those of some of its points that are on the front, in their order."""
        return [point for point in points if any(point is each for each in self.front)]

    @cached_property
    def cheapest(self) -> tuple[SearchPoint | None, ...]:
        """Of each of the `groups` the point that keeps all targets and costs least.

        It is best in the last objective, then in those before it; None where no point surely keeps all, or there is no
        target.
        """
        found = []
        for _, points in self.groups:
            kept = [point for point in points if self.targets and point.verdict == "kept"]
            found.append(min(kept, key=lambda point: costs(point, self.objectives)[::-1], default=None))
        return tuple(found)

    def own(self, points: Sequence[SearchPoint]) -> SearchPoint | None:
        """The one of some of its points that is of the recipe's own macro; None where none is."""
        return next((point for point in points if is_design(point.axes, self.macro)), None)

    def cheaper(self, points: Sequence[SearchPoint], best: SearchPoint) -> list[SearchPoint]:
        """Undecided points that cost less than another by the last objective, the cheapest first."""
        price = {id(point): costs(point, self.objectives)[::-1] for point in (*points, best)}
        less = [each for each in points if each.verdict == "undecided" and price[id(each)][0] < price[id(best)][0]]
        return sorted(less, key=lambda point: price[id(point)])


def is_given(axis: str) -> bool:
    """Whether an axis is what a design meets, and not what it is: noise, spreads of chips, the column model."""
    return axis.rpartition(".")[2] in _GIVEN


def is_design(axes: Mapping[str, AxisValue], macro: Mapping[str, Any]) -> bool:
    """Whether a point is of a macro, whatever it meets; an axis that is no field of a macro tells that it is not.

    Args:
        axes: Values of the axes of the point.
        macro: Fields of the macro.
    """
    chosen = {name: value for name, value in axes.items() if not is_given(name)}
    return all(name in macro and axis_text(macro[name]) == axis_text(value) for name, value in chosen.items())


def costs(point: SearchPoint, objectives: Sequence[str]) -> tuple[float, ...]:
    """A point's objectives with signs such that less is better."""
    return tuple(-point.figures[name] if name in LARGE else point.figures[name] for name in objectives)


def pareto_front(points: Sequence[SearchPoint], objectives: Sequence[str]) -> tuple[SearchPoint, ...]:
    """Points that no other is better than in one objective and at least as good in all, the first objective falling.

    Args:
        points: All points.
        objectives: Names of figures.
    """
    return tuple(points[place] for place in places_of_front([costs(point, objectives) for point in points]))


def places_of_front(of_all: Sequence[tuple[float, ...]]) -> list[int]:
    """Places of costs that no other is less than in one and no more than in all, the first cost rising.

    Args:
        of_all: Costs, equally many each. # (points, costs)
    """
    found = [
        (mine, place)
        for place, mine in enumerate(of_all)
        if not any(other != mine and all(a <= b for a, b in zip(other, mine, strict=True)) for other in of_all)
    ]
    return [place for _, place in sorted(found)]
