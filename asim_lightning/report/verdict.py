"""What a run shows, in a line of facts: the cheapest point that keeps an accuracy, or where the accuracy is lost."""

from collections.abc import Iterable, Sequence

from asim_lightning.evaluation.axis_settings import is_condition
from asim_lightning.evaluation.results import Decision, Result, images_needed
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import Target
from asim_lightning.report.axis_labels import legend_text
from asim_lightning.report.choices import Choice, choices, digital_energy, energy_of, numbers_of, target_words, varied
from asim_lightning.report.cost_names import cost_text
from asim_lightning.report.numbers import interval_text

_FEW = 4
"""Values that a line lists."""


def verdict(run: Run, target: Target) -> str:
    """What the run shows, in a line of facts.

    Raises:
        ValueError: The run lacks what the target is a share of.
    """
    if run.yields:
        return _of_yields(run)
    if not run.points:
        return "No simulated point is finished."
    several = varied(run)
    if any(not is_condition(name) for name in several):
        facts = _of_designs(run, target, choices(run, target))
    else:
        facts = _of_conditions(run, target, list(several))
    return f"{_target(run, target)}: {'; '.join(facts)}."


def point_words(run: Run, point: Result, without: Sequence[str] = ()) -> str:
    """The axes of a point that vary, in words; of the only point all."""
    several = varied(run) or run.axes
    axes = {name: value for name, value in point.axes.items() if name in several and name not in without}
    return legend_text(axes) or "the macro"


def _of_designs(run: Run, target: Target, found: Sequence[Choice]) -> list[str]:
    """The cheapest point under the hardest conditions at which one keeps the target, and what it is compared with."""
    keeping = [(choice, choice.best) for choice in found if choice.best is not None]
    if not keeping:
        return _none_keeps(run, target, found)
    choice, best = keeping[-1]
    points, given = choice.kept + choice.undecided + choice.missed, list(choice.conditions)
    where = f"at {legend_text(choice.conditions)} " if given else ""
    which = "cheapest" if run.costs else "most accurate"
    facts = [f"{where}kept by {choice.kept} of {points} points, the {which} {_numbers(run, best, given)}"]
    if choice.own is not None and choice.own[0] is not best:
        own, decided = choice.own
        facts.append(f"the recipe's macro, {_numbers(run, own, given)}, {decided.verdict}")
    if choice.cheaper:
        cheapest = _numbers(run, choice.cheaper[0][0], given)
        facts.append(f"{len(choice.cheaper)} cheaper undecided, the cheapest {cheapest}")
        facts += _deciding(decided for _, decided in choice.cheaper)
    if len(found) > 1:
        missing = [legend_text(choice.conditions) for choice in found if choice.best is None]
        failing = f", not at {' or at '.join(missing)}" if 0 < len(missing) <= _FEW else ""
        facts.append(f"kept at {len(keeping)} of {len(found)} conditions{failing}")
    if energy_of(run) is not None and (digital := digital_energy(run, best)) is not None:
        facts.append(f"a digital macro {cost_text('all_digital', {'all_digital': digital})}")
    return facts


def _none_keeps(run: Run, target: Target, found: Sequence[Choice]) -> list[str]:
    total = sum(choice.undecided + choice.missed for choice in found)
    undecided = sum(choice.undecided for choice in found)
    reference = run.reference(target)
    nearest = min(
        (choice.nearest for choice in found),
        key=lambda point: (-target.margin(point, reference), *run.price(point)),
    )
    decided = run.decision(target, nearest)
    return [
        f"kept by none of {total} points, {undecided} undecided",
        f"the nearest {_numbers(run, nearest)} {decided.verdict}",
        *_deciding([decided]),
    ]


def _numbers(run: Run, point: Result, without: Sequence[str] = ()) -> str:
    """A point with its accuracy, the interval of it, and its energy where it is known."""
    name = energy_of(run)
    numbers = f"{100 * point.accuracy:.2f} % {interval_text(point.low, point.high)}"
    if name is not None and name in point.figures:
        numbers += f", {cost_text(name, point.figures)}"
    return f"{point_words(run, point, without)} ({numbers})"


def _deciding(decisions: Iterable[Decision]) -> list[str]:
    """How many images would decide, where images do."""
    needed = images_needed(decisions)
    return [needed] if needed else []


def _of_conditions(run: Run, target: Target, names: Sequence[str]) -> list[str]:
    """Under which conditions the target is kept and missed; of one point, with its numbers."""
    points = run.points
    numbers = numbers_of([point.axes[names[0]] for point in points]) if len(names) == 1 else None
    if numbers is not None:
        points = [points[place] for place in sorted(range(len(points)), key=numbers.__getitem__)]
    decided = [(point, run.decision(target, point)) for point in points]
    facts = []
    for kind in ("kept", "undecided", "missed"):
        found = [(point, decision) for point, decision in decided if decision.verdict == kind]
        if found:
            listed = _listed([point_words(run, point) for point, _ in found])
            facts.append(f"{kind} at {listed}" if names else f"{kind} by {_numbers(run, found[0][0])}")
        if found and kind == "undecided":
            facts += _deciding(decision for _, decision in found)
    return facts


def _of_yields(run: Run) -> str:
    said = []
    for found in run.yields[:_FEW]:
        at = found.at(run.thresholds[-1])
        where = legend_text(found.axes)
        said.append(
            f"{at.good} of {at.total} chips ({100 * at.share:.0f} %, of all chips {100 * at.low:.1f} to "
            f"{100 * at.high:.1f} %){f' at {where}' if where else ''}"
        )
    more = len(run.yields) - len(said)
    rest = f"; {more} more combinations below" if more > 0 else ""
    images = f"{run.yields[0].images:,} images"
    return f"{100 * run.thresholds[-1]:g} % on these {images} is reached by {'; '.join(said)}{rest}."


def _target(run: Run, target: Target) -> str:
    """The target in words, with the accuracy that it comes to."""
    reference = run.reference(target)
    if reference is None:
        return target_words(target)
    level = 100 * target.value * reference.accuracy
    return f"{target_words(target)} ({level:.2f} of {100 * reference.accuracy:.2f} %)"


def _listed(texts: Sequence[str]) -> str:
    """Values of one axis once with its name: "random noise 0 %, 0.05 %"; of many the first and the last."""
    if len(texts) > _FEW or (len(texts) > 1 and "," in texts[0]):
        return f"{texts[0]} to {texts[-1]} ({len(texts)} points)" if "," not in texts[0] else f"{len(texts)} points"
    return texts[0] + "".join(f", {_tail(text, texts[0])}" for text in texts[1:])


def _tail(text: str, first: str) -> str:
    """A text without the words that it begins with as the first one does."""
    words, others = text.split(" "), first.split(" ")
    same = 0
    while same < min(len(words), len(others)) - 1 and words[same] == others[same] and not words[same][0].isdigit():
        same += 1
    return " ".join(words[same:])
