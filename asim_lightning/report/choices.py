"""The cheapest points of a run that keep an accuracy, and its Pareto front."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from asim_lightning.circuit.units import quantity
from asim_lightning.evaluation.axis_settings import is_condition, setting_of
from asim_lightning.evaluation.results import AxisValue, Result, axis_text, distinct_values, noise_unit
from asim_lightning.evaluation.run import Run

Axes: TypeAlias = Mapping[str, AxisValue]


@dataclass(frozen=True)
class Choice:
    """The cheapest point that keeps the targets of a run under some conditions."""

    conditions: Axes
    """Values that a designer does not choose, such as noise."""
    best: Result | None
    """None if no point is known to keep them."""
    kept: int
    undecided: int
    missed: int
    cheaper: Sequence[Result]
    """Undecided points that cost less than the best, the cheapest first."""
    own: Result | None
    """The point of the recipe's macro; None if there is none."""
    nearest: Result
    """The most accurate point not known to keep them, the cheapest of several; the best if all keep them."""


def varied(run: Run) -> dict[str, list[AxisValue]]:
    """Axes with several values, and their values."""
    rows = list(run.points)
    found = {name: distinct_values(row.axes[name] for row in rows if name in row.axes) for name in run.axes}
    return {name: values for name, values in found.items() if len(values) > 1}


def conditions_of(point: Result, several: Collection[str]) -> Axes:
    """Values of the conditions of a point."""
    axes = point.axes
    return {name: value for name, value in axes.items() if is_condition(name) and name in several}


def choices(run: Run) -> list[Choice]:
    """The cheapest point that keeps the targets of a run under each combination of conditions, the hardest last.

    Conditions are compared by the first condition, then the next. Harder are more noise and wider spreads in one unit,
    and for noise in mV a smaller full scale. Without such an order, conditions are harder if fewer points keep the
    targets. The cheapest is the first by `Run.price`: with the least energy, if the run has no other objectives; the
    most accurate, if no cost is known. The run must be decided.
    """
    several = varied(run)
    ranks = {name: _ranks(run, name, values) for name, values in several.items() if is_condition(name)}

    def hardness(choice: Choice) -> tuple[float, ...]:
        places = (ranks[name].get(axis_text(value), 0.0) for name, value in choice.conditions.items())
        return (*places, -choice.kept)

    found = []
    for (_, points), best in zip(run.groups, run.cheapest, strict=True):
        kept, undecided, missed = (
            [point for point in points if point.verdict == verdict] for verdict in ("kept", "undecided", "missed")
        )
        # without energies a price is an accuracy
        cheaper = [point for point in undecided if run.costs and best and run.price(point)[0] < run.price(best)[0]]
        others = [point for point in points if point.verdict != "kept"] or kept
        found.append(
            Choice(
                conditions_of(points[0], several),
                best,
                len(kept),
                len(undecided),
                len(missed),
                sorted(cheaper, key=run.price),
                run.own(points),
                min(others, key=lambda point: (-point.merit, *run.price(point))),
            )
        )
    return sorted(found, key=hardness)


def front_of(run: Run) -> list[Result]:
    """The front of accuracy and energy, whatever objectives a search has.

    Empty if energies do not differ or are not known, and for chips, because nobody chooses a chip.
    """
    if run.yields or len({point.figures.get("energy_uj") for point in run.points}) < 2:
        return []
    return replace(run, objectives=("accuracy", "energy")).front


def numbers_of(values: Sequence[AxisValue]) -> list[float] | None:
    """The numbers of values that share a unit, or have none; None if units differ, or a value is not a number."""
    read = [quantity(value) for value in values]
    if None in read or noise_unit(values) is None:
        return None
    return [each[0] for each in read if each is not None]


def _ranks(run: Run, name: str, values: Sequence[AxisValue]) -> dict[str, float]:
    """The order of a condition's values by their text, the hardest last; empty if no order is known."""
    harder, numbers = setting_of(name).harder, numbers_of(values)
    if numbers is None or not harder:
        return {}
    if name.rpartition(".")[2] == "full_scale_mv":
        macro = run.settings.get("model", {}).get("plan", {}).get("macro", {})
        macro = {**macro, **(macro.get("static") or {})}
        noises = [value for each in run.points for value in {**macro, **each.axes}.values()]
        if not any((quantity(value) or ("", ""))[1] == "mV" for value in noises):
            return {}  # matters only for noise in mV
    return {axis_text(value): harder * number for value, number in zip(values, numbers, strict=True)}
