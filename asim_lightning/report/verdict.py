"""The cheapest points of a run that keep an accuracy, its Pareto front, and the verdict in words."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from asim_lightning.circuit.units import quantity
from asim_lightning.evaluation.axis_settings import CORNER, is_condition, setting_of
from asim_lightning.evaluation.notes import differing_words, images_needed
from asim_lightning.evaluation.results import AxisValue, Result, Verdict, distinct_values, noise_unit
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import Target
from asim_lightning.evaluation.worst_corner import WorstResult, dearest_corner, worst_corner
from asim_lightning.report.labels import accuracy_text, cost_text, head_of, legend_text, quantity_of

_MOST_VALUES = 4


@dataclass(frozen=True)
class Choice:
    """The points of a run under some conditions, and the cheapest that keeps its targets."""

    conditions: Mapping[str, AxisValue]
    """Values that a designer does not choose, such as noise."""
    points: Sequence[Result]
    best: Result | None
    """None if no point is known to keep them."""

    def of(self, verdict: Verdict) -> list[Result]:
        """The points with a verdict."""
        return [point for point in self.points if point.verdict == verdict]


def varied(run: Run) -> dict[str, list[AxisValue]]:
    """Axes with several values, and their values."""
    found = {name: distinct_values(row.axes[name] for row in run.points if name in row.axes) for name in run.axes}
    return {name: values for name, values in found.items() if len(values) > 1}


def conditions_of(point: Result, several: Collection[str]) -> dict[str, AxisValue]:
    """Values of the conditions of a point."""
    return {name: value for name, value in point.axes.items() if is_condition(name) and name in several}


def choices(run: Run) -> list[Choice]:
    """The cheapest point that keeps the targets of a run under each combination of conditions, the hardest last.

    Conditions are compared by the first condition, then the next. Harder are more noise and wider spreads in one unit,
    and a smaller full scale. Without such an order, conditions are harder if fewer points keep the targets. The
    cheapest is the first by `Run.price`: with the least energy, if the run has no other objectives; the most accurate,
    if no cost is known. The run must be decided.
    """
    several = varied(run)
    in_one_unit = {name for name, values in several.items() if all(map(quantity, values)) and noise_unit(values)}

    def hardness(choice: Choice) -> tuple[float, ...]:
        known = ((name, quantity(value)) for name, value in choice.conditions.items())
        places = (setting_of(name).harder * found[0] if found and name in in_one_unit else 0.0 for name, found in known)
        return (*places, -len(choice.of("kept")))

    groups = zip(run.groups, run.cheapest, strict=True)
    found = [Choice(conditions_of(points[0], several), points, best) for (_, points), best in groups]
    return sorted(found, key=hardness)


def front_of(run: Run) -> list[Result]:
    """The front of accuracy and energy, whatever objectives a search has.

    Empty if energies do not differ or are not known, and for chips, because nobody chooses a chip.
    """
    if run.yields or len({point.figures.get("energy_uj") for point in run.points}) < 2:
        return []
    return replace(run, objectives=("accuracy", "energy")).front


def verdict(run: Run, target: Target) -> str:
    """The verdict of a run, in a line of facts. With several conditions, it is about the hardest one under which a
    point keeps the target."""
    if not run.points:
        return "No simulated point is finished."
    reference = run.reference(target)
    if run.yields:
        return f"{_of_yields(run, target.value * (1.0 if reference is None else reference.accuracy))}."
    share, decided = "", run.decided(target)
    if reference is not None:
        measure, least = reference.measure, target.least_of(reference)
        share = f" ({measure.text(least)} of {measure.quantity(reference.accuracy)})"
    if all(map(is_condition, varied(run))):
        facts = _of_conditions(decided)
    else:
        found = choices(decided)
        keeping = [choice for choice in found if choice.best is not None]
        facts = choice_facts(decided, (keeping or found)[-1])
        if len(found) > 1:
            facts.append(f"kept at {len(keeping)} of {len(found)} conditions")
    return f"{target}{share}: {'; '.join(facts)}."


def choice_facts(run: Run, choice: Choice) -> list[str]:
    """Points that keep the targets of a run under some conditions, the cheapest, and points to compare it with."""
    given = list(choice.conditions)
    where = f"at {legend_text(choice.conditions)} " if given else ""
    best, undecided, count = choice.best, choice.of("undecided"), len(choice.points)
    keeping = f"{where}kept by {len(choice.of('kept'))} of {count} point{'s' * (count > 1)}"
    if best is not None:
        shown, which = best, "cheapest" if run.costs else "most accurate"
        facts = [f"{keeping}, the {which} is {_numbers(run, best, given)}"]
    else:
        shown = min(choice.points, key=lambda point: (-point.merit, *run.price(point)))
        facts = [f"{keeping}, {len(undecided)} undecided"]
        facts += [f"the nearest is {_numbers(run, shown, given)}, {shown.verdict}", *_deciding([shown])]
    facts += _few([shown])
    own = run.own(choice.points)
    if own is not None and own is not shown:
        facts.append(f"the recipe's macro, {_numbers(run, own, given)}, {own.verdict}")
    # without energies a price is an accuracy
    cheaper = [point for point in undecided if run.costs and best and run.price(point)[0] < run.price(best)[0]]
    if cheaper:
        cheapest = min(cheaper, key=run.price)
        facts.append(f"{len(cheaper)} cheaper ones are undecided, the cheapest is {_numbers(run, cheapest, given)}")
        facts += _deciding(cheaper)
    if "all_digital_uj" in shown.figures:
        facts.append(f"a digital macro takes {cost_text('energy_uj', {'energy_uj': shown.figures['all_digital_uj']})}")
    return facts


def point_words(run: Run, point: Result, without: Sequence[str] = ()) -> str:
    """The varied axes of a point in words; all axes if it is the only point."""
    several = varied(run) or run.axes
    axes = {name: value for name, value in point.axes.items() if name in several and name not in without}
    return legend_text(axes) or "the macro"


def _numbers(run: Run, point: Result, without: Sequence[str] = ()) -> str:
    """A point with its accuracy, the interval, and its energy if known."""
    numbers, is_worst = accuracy_text(point), isinstance(point, WorstResult)
    numbers += f" at {worst_corner(point).axes[CORNER]}" if is_worst else ""
    if "energy_uj" in point.figures:
        numbers += f", {cost_text('energy_uj', point.figures)}"
        numbers += f" at {dearest_corner(point).axes[CORNER]}" if is_worst else ""
    return f"{point_words(run, point, without)} ({numbers})"


def _deciding(points: Sequence[Result]) -> list[str]:
    """How many images would decide all of some undecided points, if images do."""
    decisions = [each for point in points for each in point.decisions.values() if each.verdict == "undecided"]
    return [needed for needed in [images_needed(decisions)] if needed] if decisions else []


def _few(points: Sequence[Result]) -> list[str]:
    """How few samples decide some points, if fewer than ten differ."""
    few = [each.differing for point in points for each in point.decisions.values() if each.differing is not None]
    if not few or len(points) == 1:
        return [differing_words(min(few))] if few else []
    return [f"at {len(few)} of {len(points)} points fewer than ten samples differ"]


def _of_conditions(run: Run) -> list[str]:
    """Conditions under which the target of a run is kept and missed; numbers if there is one point."""
    points = [each.points[0] for each in choices(run)]
    names = [name for name in varied(run) if name in points[0].axes]  # points at their worst corners have no corner
    facts = []
    for kind in ("kept", "undecided", "missed"):
        if found := [point for point in points if point.verdict == kind]:
            facts.append(f"{kind} at {_listed(names, found)}" if names else f"{kind} by {_numbers(run, found[0])}")
            facts += [*_few(found), *_deciding(found)]
    return facts


def _listed(names: Sequence[str], points: Sequence[Result]) -> str:
    """The values of one axis, as "random noise 0 %, 0.05 %", or how many points there are."""
    if len(names) > 1:
        return legend_text(points[0].axes) if len(points) == 1 else f"{len(points)} points"
    head = head_of(names[0])
    texts = [quantity_of(names[0], point.axes[names[0]]) for point in points]
    listed = ", ".join(texts) if len(texts) <= _MOST_VALUES else f"{texts[0]} to {texts[-1]} ({len(texts)} points)"
    return f"{head} {listed}".strip()


def _of_yields(run: Run, accuracy: float) -> str:
    """Share of chips that reach an accuracy, for the first combinations."""
    said = []
    for found in run.yields[:_MOST_VALUES]:
        at, where = found.at(accuracy), legend_text(found.axes)
        bounds = f"{100 * at.share:.0f} %, of all chips {100 * at.low:.1f} to {100 * at.high:.1f} %"
        said.append(f"{at.good} of {at.total} chips ({bounds}){f' at {where}' if where else ''}")
    more = len(run.yields) - len(said)
    said += [f"{more} more combinations below"] if more > 0 else []
    return f"{100 * accuracy:.4g} % on these {run.yields[0].images:,} images is reached by {'; '.join(said)}"
