"""Points of a search with all that they are compared by, and those that no other is better than."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from asim_lightning.evaluation.results import AxisValue, PointResult
from asim_lightning.evaluation.targets import Decision

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
        all_digital: Energy of the same products in a digital macro, uJ, and the ends of the factor within which it is
            known; None where no technology has it.
        objectives: What is traded, the first first.
        targets: What each point must keep, in words.
    """

    points: tuple[SearchPoint, ...]
    references: tuple[PointResult, ...]
    all_digital: tuple[float, float, float] | None
    objectives: tuple[str, ...]
    targets: tuple[str, ...] = ()

    @cached_property
    def front(self) -> tuple[SearchPoint, ...]:
        """Points that no other is better than in one objective and at least as good in all."""
        return pareto_front(self.points, self.objectives)

    @cached_property
    def best(self) -> SearchPoint | None:
        """The point that keeps all targets and costs least: best in the last objective, then in those before it.

        None where there is no target, or no point surely keeps all.
        """
        kept = [point for point in self.points if self.targets and point.verdict == "kept"]
        return min(kept, key=lambda point: costs(point, self.objectives)[::-1], default=None)


def costs(point: SearchPoint, objectives: Sequence[str]) -> tuple[float, ...]:
    """A point's objectives with signs such that less is better."""
    return tuple(-point.figures[name] if name in LARGE else point.figures[name] for name in objectives)


def pareto_front(points: Sequence[SearchPoint], objectives: Sequence[str]) -> tuple[SearchPoint, ...]:
    """Points that no other is better than in one objective and at least as good in all, the first objective falling.

    Args:
        points: All points.
        objectives: Names of figures.
    """
    of_all = [costs(point, objectives) for point in points]
    found = [
        (mine, place)
        for place, mine in enumerate(of_all)
        if not any(other != mine and all(a <= b for a, b in zip(other, mine, strict=True)) for other in of_all)
    ]
    return tuple(points[place] for _, place in sorted(found))
