"""What a run shows, in a sentence: the cheapest point that keeps an accuracy, or where the accuracy is lost."""

from collections.abc import Sequence
from math import ceil

from asim_lightning.evaluation.accuracy_target import AccuracyTarget
from asim_lightning.evaluation.results import PointResult
from asim_lightning.evaluation.run_results import RunPoint, RunResults
from asim_lightning.evaluation.trade_off import is_given
from asim_lightning.report.axis_labels import LABELS, head_of, legend_text
from asim_lightning.report.choices import (
    Choice,
    choices,
    digital_energy,
    energy_of,
    numbers_of,
    ordered_bits,
    price,
    varied,
)
from asim_lightning.report.cost_names import cost_text
from asim_lightning.report.numbers import interval_text

_MOST_IMAGES = 10_000_000
_FEW = 4
"""Values that a sentence lists."""


def verdict(run: RunResults, target: AccuracyTarget) -> str:
    """What the run shows, in a sentence or two.

    Raises:
        ValueError: The run lacks what the target is a share of.
    """
    if run.yields:
        return _of_yields(run)
    if not run.of_kind("simulated"):
        return "No simulated point is finished."
    several = varied(run)
    if not several:
        return _of_one(run, target)
    if any(not is_given(name) for name in several):
        return _of_designs(run, target, choices(run, target))
    return _of_conditions(run, target, list(several))


def price_words(run: RunResults) -> str:
    """What cheap means in a run."""
    if energy_of(run) is not None:
        return "least energy"
    bits = [head_of(name, LABELS) for name in ordered_bits(run)]
    return (
        f"fewest {bits[0]}" + (f", then {', '.join(bits[1:])}" if len(bits) > 1 else "") if bits else "highest accuracy"
    )


def accuracy_words(result: PointResult) -> str:
    """An accuracy with its interval, percent."""
    return f"{100 * result.accuracy:.2f} % {interval_text(result.low, result.high)}"


def point_words(run: RunResults, point: RunPoint, without: Sequence[str] = ()) -> str:
    """The axes of a point that vary, in words."""
    several = varied(run)
    axes = {name: value for name, value in point.result.axes.items() if name in several and name not in without}
    return legend_text(axes, LABELS) or "the point"


def _of_designs(run: RunResults, target: AccuracyTarget, found: Sequence[Choice]) -> str:
    keeping = [(choice, choice.best) for choice in found if choice.best is not None]
    if not keeping:
        return _none_keeps(run, target, found)
    last, best = keeping[-1]
    where = f"At {legend_text(last.conditions, LABELS)}, " if last.conditions else ""
    what = point_words(run, best, list(last.conditions))
    among = f"with the {price_words(run)} of {last.kept} points that do" if last.kept > 1 else "as the only point"
    sentence = (
        f"{where}{what} keeps {_target(run, target)}, {among}: {accuracy_words(best.result)}{_saving(run, last)}."
    )
    if len(found) > 1:
        rest = [choice for choice in found if choice.best is None]
        sentence += f" A point keeps it under {len(keeping)} of {len(found)} conditions"
        without = [legend_text(choice.conditions, LABELS) for choice in rest]
        undecided = sum(choice.undecided for choice in rest)
        more = f" ({undecided} undecided)" if undecided else ""
        sentence += f"; at {_listed(without)} none is known to{more}." if rest else "."
    if energy_of(run) is not None and (digital := digital_energy(run, best)) is not None:
        sentence += (
            f" A digital macro takes {cost_text('all_digital', {'all_digital': digital})} for the same products."
        )
    return sentence[0].upper() + sentence[1:]


def _saving(run: RunResults, choice: Choice) -> str:
    """What the cheapest point takes and saves, against the dearest under the same conditions that was evaluated."""
    name, best = energy_of(run), choice.best
    if name is None or best is None or name not in best.costs:
        return ""
    same = [
        point
        for point in run.of_kind("simulated")
        if name in point.costs and all(point.result.axes.get(key) == value for key, value in choice.conditions.items())
    ]
    dearest, energy = max(same, key=lambda point: point.costs[name]), best.costs[name]
    words = f", {cost_text(name, best.costs)}"
    if dearest.costs[name] <= energy:
        return words
    saved = 100 * (1 - energy / dearest.costs[name])
    against = point_words(run, dearest, list(choice.conditions))
    return f"{words}, {saved:.0f} % less than {against} ({cost_text(name, dearest.costs)})"


def _none_keeps(run: RunResults, target: AccuracyTarget, found: Sequence[Choice]) -> str:
    total = sum(choice.kept + choice.undecided + choice.missed for choice in found)
    undecided = sum(choice.undecided for choice in found)
    reference = target.reference(run)
    nearest = min(
        (choice.nearest for choice in found),
        key=lambda point: (-target.margin(point, reference)[0], *price(run, point)),
    )
    said = f"None of {total} points is known to keep {_target(run, target)}"
    said += f"; {undecided} undecided" if undecided else ""
    needed = _needed(run, target, nearest, reference)
    return f"{said}. Nearest: {point_words(run, nearest)}, {accuracy_words(nearest.result)}{needed}."


def _of_one(run: RunResults, target: AccuracyTarget) -> str:
    (point, *_), reference = run.of_kind("simulated"), target.reference(run)
    words = {"kept": "keeps", "missed": "does not keep", "undecided": "may or may not keep"}
    said = words[target.decision(point, reference).verdict]
    where = legend_text(point.result.axes, LABELS)
    needed = _needed(run, target, point, reference)
    return (
        f"The macro{f' with {where}' if where else ''} {said} {_target(run, target)}: "
        f"{accuracy_words(point.result)}{needed}."
    )


def _of_conditions(run: RunResults, target: AccuracyTarget, names: Sequence[str]) -> str:
    reference = target.reference(run)
    groups: dict[str, list[RunPoint]] = {}
    points = run.of_kind("simulated")
    numbers = numbers_of([point.result.axes[names[0]] for point in points]) if len(names) == 1 else None
    if numbers is not None:
        points = [points[place] for place in sorted(range(len(points)), key=numbers.__getitem__)]
    for point in points:
        groups.setdefault(target.decision(point, reference).verdict, []).append(point)
    said = []
    for decision, words in (("kept", "is kept at"), ("undecided", "is undecided at"), ("missed", "is missed at")):
        if found := groups.get(decision):
            listed = _listed([point_words(run, point) for point in found])
            needed = _needed(run, target, found[0], reference)
            said.append(f"{words} {listed}{needed}")
    sentence = f"{_target(run, target)} {'; '.join(said)}."
    return sentence[0].upper() + sentence[1:]


def _of_yields(run: RunResults) -> str:
    said = []
    for found in run.yields[:_FEW]:
        at = found.at(run.thresholds[-1])
        where = legend_text(found.axes, LABELS)
        said.append(
            f"{at.good} of {at.total} chips ({100 * at.share:.0f} %, of all chips {100 * at.low:.1f} to "
            f"{100 * at.high:.1f} %){f' at {where}' if where else ''}"
        )
    more = len(run.yields) - len(said)
    rest = f"; {more} more combinations below" if more > 0 else ""
    images = f"{run.yields[0].images:,} images"
    return f"{100 * run.thresholds[-1]:g} % on these {images} is reached by {'; '.join(said)}{rest}."


def _target(run: RunResults, target: AccuracyTarget) -> str:
    """The target in words, with the accuracy that it comes to."""
    reference = target.reference(run)
    if reference is None:
        return str(target)
    level = 100 * target.share * reference.accuracy
    return f"{target} ({level:.2f} of {100 * reference.accuracy:.2f} %)"


def _needed(run: RunResults, target: AccuracyTarget, point: RunPoint, reference: PointResult | None) -> str:
    decided = target.decision(point, reference)
    if decided.verdict != "undecided" or run.until is not None:
        return ""
    if decided.images is None or decided.images > _MOST_IMAGES:
        return " (more images than there are would be needed to decide)"
    digits = 10 ** max(0, len(str(decided.images)) - 2)
    return f" (about {ceil(decided.images / digits) * digits:,} images would decide)"


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
