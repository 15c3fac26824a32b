"""A search as text: its points, the Pareto front, and the cheapest point that keeps the targets."""

from collections.abc import Mapping, Sequence

from asim_lightning.evaluation.results import AxisValue, Result, axes_text, images_needed, value_words
from asim_lightning.evaluation.run import Run, is_among
from asim_lightning.evaluation.target import has_figure
from asim_lightning.text_table import text_table

HEADINGS = {"energy_uj": "energy (uJ)", "latency_ms": "latency (ms)", "yield": "yield", "tops_per_watt": "TOPS/W"}
"""Figures that a table shows."""
_MOST_ROWS = 40
"""Points up to which all are printed; of more, the front alone."""


def search_text(found: Run, technology: str) -> str:
    """Table of a search, and in words what it says: the front, the cheapest point, what is undecided.

    Args:
        found: What a search found.
        technology: What energy and latency were computed from, in words.
    """
    front, cheapest = found.front, found.cheapest
    shown = found.points if len(found.points) <= _MOST_ROWS else _shown(found)
    axes = list(found.points[0].axes)
    figures = [name for name in HEADINGS if all(has_figure(point, name) for point in found.points)]
    figures = [name for name in figures if name != "tops_per_watt" or name in found.objectives]
    measure = found.points[0].measure
    targets = map(measure.words, found.targets)
    header = ["", *axes, measure.heading, "95 % interval", *(HEADINGS[name] for name in figures), *targets]
    rows = [
        [each.kind, *(value_words(each.axes[name]) if name in each.axes else "-" for name in axes), *_accuracy(each),
         *("-" for _ in header[3 + len(axes) :])] for each in found.references
    ]  # fmt: skip
    for point in shown:
        mark = "cheapest" if is_among(point, cheapest) else "front" if is_among(point, front) else ""
        values = [f"{point.figures[name]:.4g}" for name in figures]
        cells = [mark, *(value_words(value) for value in point.axes.values()), *_accuracy(point), *values]
        rows.append([*cells, *(str(point.decisions[target]) for target in found.targets)])
    sides = "l" + "r" * (len(header) - 1 - len(found.targets)) + "l" * len(found.targets)
    lines = [text_table([header, *rows], 1, sides)]
    if len(shown) < len(found.points):
        lines.append(f"{len(found.points) - len(shown):,} more points: see numbers")
    return "\n".join([*lines, "", *map(measure.words, _notes(found, technology))])


def cheapest_lines(found: Run) -> list[str]:
    """The cheapest point that keeps all targets at each noise, and what it saves; why there is none, where so."""
    if not found.targets:
        return ["No constraint was given, so that no point is the cheapest that keeps it: see the front."]
    lines = []
    for (given, points), best in zip(found.groups, found.cheapest, strict=True):
        where = f" at {axes_text(given)}" if len(found.groups) > 1 else ""
        if best is None:
            count = sum(point.verdict == "undecided" for point in points)
            more = f"; {count} {'is' if count == 1 else 'are'} undecided on these images" if count else ""
            lines.append(f"No point{where} surely keeps {_all(found.targets)}{more}.")
            continue
        lines.append(f"Cheapest{where} that keeps {_all(found.targets)}: {_numbers(best, given)}.")
        if (own := found.own(points)) is not None and own is not best:
            lines.append(f"The recipe's macro{where}: {_numbers(own, given)}, {own.verdict}.")
        undecided = [point for point in points if point.verdict == "undecided"]
        cheaper = sorted((each for each in undecided if found.price(each)[0] < found.price(best)[0]), key=found.price)
        if cheaper:
            decisions = [each for point in cheaper for each in point.decisions.values()]
            needed = images_needed(each for each in decisions if each.verdict == "undecided")
            deciding = f"; {needed}" if needed else ""
            cheapest = f"{len(cheaper)}, the cheapest {_numbers(cheaper[0], given)}"
            lines.append(f"Cheaper and undecided{where}: {cheapest}{deciding}.")
    return lines


def _numbers(point: Result, given: Mapping[str, AxisValue]) -> str:
    """What is chosen at a point, with its accuracy and energy."""
    parts = [f"{point.measure.quantity(point.accuracy)} {point.measure.name}"]
    if "energy_uj" in point.figures:
        parts.append(f"{point.figures['energy_uj']:.4g} uJ an image")
        if digital := point.figures.get("all_digital_uj"):
            parts.append(f"{point.figures['energy_uj'] / digital:.3g} times the all-digital energy")
    chosen = {name: value for name, value in point.axes.items() if name not in given}
    return f"{axes_text(chosen or point.axes)} ({', '.join(parts)})"


def _all(targets: Sequence[str]) -> str:
    return " and ".join(targets)


def _notes(found: Run, technology: str) -> list[str]:
    names = " and ".join(found.objectives)
    same = " at the same noise" if len(found.groups) > 1 else ""
    notes = cheapest_lines(found)
    notes.append(f"Front: no point{same} is better in one of {names} and at least as good in all.")
    if any("all_digital_uj" in point.figures for point in found.points):
        own = any(name.startswith("technology.") for name in found.points[0].axes)
        line = f"Energy and latency: at {'the technology of each point' if own else technology}, by the model's factor"
        digital = "of each point in results.csv"
        if found.all_digital is not None:
            digital = "{:.4g} uJ, {:.3g} to {:.3g}".format(*found.all_digital)
        notes.append(f"{line} either way (results.csv); all-digital {digital}.")
    undecided = [each for point in found.points for each in point.decisions.values() if each.verdict == "undecided"]
    if undecided:
        counted = any(each.images is not None for each in undecided)
        more = "; about so many images would decide, if the mean stays" if counted else ""
        notes.append(f"Undecided: the interval holds the target{more}.")
    if (owner := found.references[0].axes) and any(" of " in target for target in found.targets):
        notes.append(f"Shares of the float or quantized accuracy are of the network at {axes_text(owner)}.")
    if found.targets:
        notes.append("Each bound holds with 95 % for its own point; of many points, some are kept or missed by chance.")
    return notes


def _shown(found: Run) -> list[Result]:
    front = found.front
    return [point for point in found.points if is_among(point, front) or is_among(point, found.cheapest)]


def _accuracy(result: Result) -> tuple[str, str]:
    return result.measure.text(result.accuracy), result.measure.interval(result.low, result.high)
