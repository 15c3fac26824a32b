"""The cheapest points of a run that keep an accuracy, and those that no other betters."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeAlias

from asim_lightning.circuit.units import quantity
from asim_lightning.evaluation.accuracy_target import AccuracyTarget
from asim_lightning.evaluation.results import NOISE_AXES, AxisValue, axis_text, distinct_values, is_number, noise_unit
from asim_lightning.evaluation.run_results import RunPoint, RunResults
from asim_lightning.evaluation.targets import Decision
from asim_lightning.evaluation.trade_off import is_design, is_given, places_of_front
from asim_lightning.report.axis_labels import LABELS, legend_text
from asim_lightning.report.cost_names import ALL_DIGITAL

_BITS = ("adc_bits", "weight_bits", "input_bits", "votes", "vote_levels", "digital_levels")
"""Axes that cost more the larger they are, the dearest first."""
_OF_DIGITAL = ("weight_bits", "input_bits")
"""Ends of axes that the energy of a digital macro follows."""
_HARDER = (*NOISE_AXES, "offset", "gain", "inl", "cell_mismatch", "parasitics", "stuck_at_0", "stuck_at_1")
"""Conditions that are harder the larger they are."""
Axes: TypeAlias = Mapping[str, AxisValue]
Decided: TypeAlias = tuple[RunPoint, Decision]


@dataclass(frozen=True)
class Choice:
    """The cheapest point that keeps the target under some conditions."""

    conditions: Axes
    """What a designer does not choose, such as noise."""
    best: RunPoint | None
    """None where no point is known to keep it."""
    kept: int
    undecided: int
    missed: int
    cheaper: Sequence[Decided]
    """Undecided points that cost less than the best, the cheapest first."""
    own: Decided | None
    """The recipe's own macro; None where no point is of it."""
    nearest: RunPoint
    """The point with the largest margin among those not known to keep it, the cheapest of several; the best where all
    do."""


def energy_of(run: RunResults) -> str | None:
    """The column of energies; None where there is none."""
    return next(
        (name for name in run.costs if name.startswith("energy") and not name.endswith(("_low", "_high"))), None
    )


def digital_energy(run: RunResults, point: RunPoint | None = None) -> float | None:
    """Energy of all products in a digital macro, µJ an image; None where it is not known.

    Args:
        run: The run.
        point: A simulated point, by whose bits of weights and inputs it is; None: it must be one for all points.
    """
    points = run.of_kind("simulated") if point is None else [point]
    known = {value for each in points for name, value in each.costs.items() if name in ALL_DIGITAL}
    if not known and any(name.endswith(_OF_DIGITAL) for name in varied(run)):
        designs = (next((one for one in run.designs if one.is_of(each)), None) for each in points)
        known = {1e-6 * sum(layer["all_digital_pj"] for layer in one.layers) for one in designs if one is not None}
        return known.pop() if len(known) == 1 else None
    if not known:  # a sweep prices the quantised network so
        known = {each.costs["energy_uj"] for each in run.of_kind("quantized") if "energy_uj" in each.costs}
    if known:
        return known.pop() if len(known) == 1 else None
    found = run.network_cost.get("total", {}).get("all_digital_pj")
    return 1e-6 * found if isinstance(found, (int, float)) else None


def varied(run: RunResults) -> dict[str, list[AxisValue]]:
    """Axes with several values, and these."""
    rows = [point.result for point in run.of_kind("simulated")]
    found = {name: distinct_values(row.axes[name] for row in rows if name in row.axes) for name in run.axes}
    return {name: values for name, values in found.items() if len(values) > 1}


def conditions_of(point: RunPoint, several: Collection[str]) -> Axes:
    """Values of the conditions of a point.

    Args:
        point: The point.
        several: Names of the axes that have several values.
    """
    axes = point.result.axes
    return {name: value for name, value in axes.items() if is_given(name) and name in several}


def choices(run: RunResults, target: AccuracyTarget) -> list[Choice]:
    """The cheapest point that keeps a target under each combination of conditions, the hardest last.

    Harder are more noise and wider spreads in one unit, and with noise in mV a smaller full scale, of the first
    condition, then of the next; of conditions without such an order, those under which fewer points keep the target.
    The cheapest has the least energy, where it is known, else the fewest bits; of several the most accurate.

    Raises:
        ValueError: The run lacks what the target is a share of.
    """
    reference, several = target.reference(run), varied(run)
    macro = run.commands[-1].macro if run.commands else {}
    under: dict[str, tuple[Axes, list[RunPoint]]] = {}
    for point in run.of_kind("simulated"):
        conditions = conditions_of(point, several)
        under.setdefault(legend_text(conditions, LABELS), (conditions, []))[1].append(point)
    ranks = {name: _ranks(run, name, values) for name, values in several.items() if is_given(name)}

    def hardness(choice: Choice) -> tuple[float, ...]:
        places = (ranks[name].get(axis_text(value), 0.0) for name, value in choice.conditions.items())
        return (*places, -choice.kept)

    found = []
    for conditions, points in under.values():
        decided = [(point, target.decision(point, reference, run.images)) for point in points]
        kept = [point for point, decision in decided if decision.verdict == "kept"]
        others = [point for point, decision in decided if decision.verdict != "kept"]
        undecided = [each for each in decided if each[1].verdict == "undecided"]
        best = min(kept, key=lambda point: price(run, point), default=None)
        cheaper = [each for each in undecided if best and price(run, each[0])[:-1] < price(run, best)[:-1]]
        found.append(
            Choice(
                conditions,
                best,
                len(kept),
                len(undecided),
                len(points) - len(kept) - len(undecided),
                sorted(cheaper, key=lambda each: price(run, each[0])),
                next((each for each in decided if is_design(each[0].result.axes, macro)), None),
                min(others or kept, key=lambda point: (-target.margin(point, reference)[0], *price(run, point))),
            )
        )
    return sorted(found, key=hardness)


def pareto(run: RunResults) -> set[int]:
    """Places among the run's points of those that no point under the same conditions betters.

    Better: at least as accurate at no more energy, and one of both. Empty where energies do not differ or are not
    known, and for chips, of which one is no choice.
    """
    name = energy_of(run)
    if name is None or run.yields:
        return set()
    if len({point.costs.get(name) for point in run.of_kind("simulated")}) < 2:
        return set()
    several = varied(run)
    under: dict[str, list[int]] = {}
    for place, point in enumerate(run.points):
        if point.result.kind == "simulated" and name in point.costs:
            conditions = conditions_of(point, several)
            under.setdefault(legend_text(conditions, LABELS), []).append(place)
    front = set[int]()
    for places in under.values():
        of_all = [(run.points[place].costs[name], -run.points[place].result.accuracy) for place in places]
        front.update(places[place] for place in places_of_front(of_all))
    return front


def price(run: RunResults, point: RunPoint) -> tuple[float, ...]:
    """What orders points by what they cost, the cheapest first; of several the most accurate."""
    name = energy_of(run)
    first = (
        (point.costs.get(name, inf),) if name is not None else tuple(_bits(point, axis) for axis in ordered_bits(run))
    )
    return (*first, -point.result.accuracy)


def numbers_of(values: Sequence[AxisValue]) -> list[float] | None:
    """The numbers of values with one unit, or none; None where they share no unit, or one is no number."""
    read = [quantity(value) for value in values]
    if None in read or noise_unit(values) is None:
        return None
    return [each[0] for each in read if each is not None]


def ordered_bits(run: RunResults) -> list[str]:
    """Axes that vary and cost more the larger they are, the dearest first."""
    several = varied(run)
    return [name for field in _BITS for name in several if name == field or name.endswith(f".{field}")]


def _bits(point: RunPoint, axis: str) -> float:
    value = point.result.axes.get(axis)
    return float(value) if is_number(value) else inf  # type: ignore[arg-type]  # null: an ideal converter


def _ranks(run: RunResults, name: str, values: Sequence[AxisValue]) -> dict[str, float]:
    """What orders the values of a condition by their text, the hardest last; empty where nothing is known to."""
    field, numbers = name.rpartition(".")[2], numbers_of(values)
    if numbers is None or (field != "full_scale_mv" and field not in _HARDER):
        return {}
    if field == "full_scale_mv":
        macro = run.settings.get("model", {}).get("plan", {}).get("macro", {})
        noises = [value for each in run.of_kind("simulated") for value in ({**macro, **each.result.axes}).items()]
        if not any(key.endswith(NOISE_AXES) and (quantity(value) or ("", ""))[1] == "mV" for key, value in noises):
            return {}  # of a share of the full scale, its millivolts are none
        numbers = [-number for number in numbers]
    return {axis_text(value): number for value, number in zip(values, numbers, strict=True)}
