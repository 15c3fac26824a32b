"""Trade-off of accuracy and cost, and accuracy over two or three axes of a run, as pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite, nan
from typing import Any

import numpy as np

from asim_lightning.evaluation.results import Result, axis_text, value_words
from asim_lightning.evaluation.run import Run, is_among
from asim_lightning.evaluation.target import FIGURES, LARGE
from asim_lightning.report.accuracy import accuracy_series, reference_marks
from asim_lightning.report.labels import COSTS, accuracy_text, cost_text, head_of, label_of, legend_text
from asim_lightning.report.picture import BLACK, GREY, Axis, Grid, Label, Marker, Picture, Series, drawn_of
from asim_lightning.report.verdict import varied
from asim_lightning.table import Rows

_VERDICTS: Mapping[str, Marker] = {"kept": "full", "undecided": "open", "missed": "cross"}
_MOST_NUMBERED = 12
_MOST_MAPS = 9
_RATIO = 8.0
"""Ratio of the largest to the smallest cost from which its axis is logarithmic."""


def trade_off_picture(run: Run, title: str = "Accuracy against energy") -> Picture | None:
    """Accuracy with its interval over its cost; None if there is no other objective, or its cost is not known.

    Stairs join the points of the front under the same conditions; other points are pale, without interval. Points that
    miss a target are crosses, undecided points are open, and the cheapest that keeps it has a ring. The all-digital
    point is at the quantised accuracy, with the factor of its energy.
    """
    others = [FIGURES.get(name, name) for name in run.objectives if name != "accuracy"]
    points = [point for point in run.compared if others and isfinite(point.figures.get(others[0], nan))]
    if not points:
        return None
    groups, some = drawn_of(run.groups, "conditions")
    if some:  # rings and numbers, too, belong to drawn points
        run = replace(run, results=(*run.references, *(each for _, group in groups for each in group)))
    cost, front = others[0], {id(each) for each in run.front}
    numbers: Rows = [["conditions", "point", cost, "accuracy", "low", "high", "on_the_front"]]
    series: list[Series] = []
    behind: list[Result] = []
    for style, (given, group) in enumerate(groups):
        where = legend_text(given) if len(run.groups) > 1 else ""
        group = sorted((each for each in group if cost in each.figures), key=lambda each: each.figures[cost])
        series += _front(run, [each for each in group if id(each) in front], cost, style, where)
        behind += [each for each in group if id(each) not in front]
        for each in group:
            row = [each.figures[cost], *each.plain, id(each) in front]
            numbers.append([where or "simulated", legend_text(each.axes), *row])
    if behind:
        texts = [_text(run, each) for each in behind]
        pale = _at(behind, cost, "bettered by the front", colour=GREY, marker="full", is_pale=True, texts=texts)
        series.insert(0, pale)
    series += _verdicts(run, cost)
    if cost == "energy_uj":
        series += _digital(run, numbers)
    marks = reference_marks([each for each in run.references if not each.axes], numbers)
    values = [point.figures[cost] for point in points]
    is_log = min(values) > 0 and max(values) > _RATIO * min(values)
    label = label_of(cost).replace(" (", " an image (") if cost in COSTS else label_of(cost)
    label += ", more is better" * (cost in LARGE)
    x = Axis(f"{label}{', log scale' if is_log else ''}", "log" if is_log else "linear")
    labels, key = _labels(run, cost)
    note = "; ".join(part for part in ("bars: 95 % intervals", some, key) if part)
    file = f"accuracy_vs_{cost.removesuffix('_uj').removesuffix('_ms')}.csv"
    y = Axis(run.measure.heading)
    return Picture(title, x, y, series, marks, labels=labels, note=note, numbers=numbers, file=file)


def map_pictures(run: Run) -> list[Picture]:
    """Accuracy over the two axes with most values, a picture for each value of a third; empty for other axes."""
    values = varied(run)
    several = {name: [axis_text(value) for value in some] for name, some in values.items()}
    order = sorted(several, key=lambda name: -len(several[name]))
    if len(order) not in (2, 3) or (len(order) == 3 and len(several[order[2]]) > _MOST_MAPS):
        return []
    along, up, *over = order
    measure, number = run.measure, ".1f" if run.measure.is_share else ".4g"
    shares = [measure.shown(each.accuracy) for each in (*run.points, *run.references)]
    x, y = (
        Axis(label_of(name), "names", [value_words(value) for value in values[name]], ends=ends)
        for name, ends in ((along, None), (up, (-0.5, len(several[up]) - 0.5)))
    )
    found = []
    for value in values[over[0]] if over else [None]:
        cells = [[nan] * len(several[along]) for _ in several[up]]
        texts = [[""] * len(several[along]) for _ in several[up]]
        numbers: Rows = [[along, up, "accuracy"]]
        for each in (each for each in run.points if not over or axis_text(each.axes[over[0]]) == axis_text(value)):
            at = [axis_text(each.axes[name]) for name in (along, up)]
            column, row, shown = several[along].index(at[0]), several[up].index(at[1]), measure.shown(each.accuracy)
            cells[row][column] = shown
            texts[row][column] = f"{shown:{number}}" + "\ncheapest" * is_among(each, run.cheapest)
            numbers.append([*at, each.plain[0]])
        grid = Grid(cells, texts, measure.heading, (min(shares), max(shares)))
        both = f"Accuracy over {head_of(along)} and {head_of(up)}"
        title = legend_text({over[0]: value}) if over else both
        found.append(Picture(title, x, y, grid=grid, numbers=numbers, file="accuracy_map.csv"))
    return found


def _at(points: Sequence[Result], cost: str, name: str = "", has_bars: bool = False, **others: Any) -> Series:
    """Points at their costs and accuracies."""
    return accuracy_series(points, [each.figures[cost] for each in points], name, has_bars, **others)


def _front(run: Run, points: Sequence[Result], cost: str, style: int, where: str) -> list[Series]:
    """The front as stairs, because between two points only the cheaper one is known; and its points by verdict."""
    if not points:
        return []
    line = _at(points, cost, f"front{where and ' at '}{where}", style=style, marker="full")
    if len(run.objectives) == 2 and "accuracy" in run.objectives:
        x, y = (np.repeat(each, 2).tolist() for each in (line.x, line.y))
        x, y = (x[:-1], y[1:]) if cost in LARGE else (x[1:], y[:-1])
        line = replace(line, x=x, y=y, form="line", marker="none")
    found = [line]
    for verdict, marker in _VERDICTS.items():
        if some := [each for each in points if each.verdict == verdict]:
            texts = [_text(run, each) for each in some]
            found.append(_at(some, cost, has_bars=True, style=style, marker=marker, texts=texts))
    return found


def _verdicts(run: Run, cost: str) -> list[Series]:
    """Legend entries for the meaning of markers, and a ring around each of the cheapest points."""
    if not run.targets:
        return []
    seen = [verdict for verdict in _VERDICTS if any(point.verdict == verdict for point in run.compared)]
    found = []
    for verdict in seen:
        targets = f": {' and '.join(run.targets)}" * (verdict == seen[0])
        found.append(Series(f"{verdict}{targets}", [nan], [nan], colour=GREY, marker=_VERDICTS[verdict]))
    best = [each for each in run.cheapest if each is not None and cost in each.figures]
    return [*found, *([_at(best, cost, "cheapest that is kept", colour=BLACK, marker="ring")] if best else [])]


def _digital(run: Run, numbers: Rows) -> list[Series]:
    """The quantised network with all products in a digital macro, and the energy model's typical error at one point."""
    found, quantized = [], run.of_kind("quantized")
    if quantized and run.all_digital is not None:
        row, (digital, low, high) = quantized[0], run.all_digital
        numbers.append(["all-digital", "", digital, *row.plain, ""])
        text = f"all-digital macro\n{row.measure.quantity(row.accuracy)} (quantized)\n{digital:.4g} µJ"
        look: dict[str, Any] = {"colour": "black", "marker": "star", "left": [low], "right": [high], "texts": [text]}
        found.append(accuracy_series([row], [digital], "all-digital", has_bars=False, **look))
    shown = next((each for each in (*run.cheapest, *run.front) if each is not None), None)
    if shown is not None and {"energy_uj_low", "energy_uj_high"} <= shown.figures.keys():
        low, high = (shown.figures[f"energy_uj_{end}"] for end in ("low", "high"))
        look = {"colour": "#8c8c8c", "marker": "tick", "left": [low], "right": [high]}
        found.append(_at([shown], "energy_uj", "typical error of the energy model, at one point", **look))
    return found


def _labels(run: Run, cost: str) -> tuple[list[Label], str]:
    """Numbers at the points of the front, from cheap to dear, and their key."""
    front = sorted((each for each in run.front if cost in each.figures), key=lambda each: each.figures[cost])
    if len(front) > _MOST_NUMBERED:
        front = [each for each in run.cheapest if each is not None]
    given = {name for conditions, _ in run.groups for name in conditions} if len(run.groups) > 1 else set()
    axes = [name for name in (front[0].axes if front else ()) if name not in given]
    differing = [name for name in axes if len({axis_text(each.axes[name]) for each in front}) > 1]
    names: dict[str, str] = {}
    labels = []
    for each in front if differing else ():
        words = "/".join(value_words(each.axes[name]) for name in differing)
        number = names.setdefault(words, str(len(names) + 1))
        labels.append((each.figures[cost], each.measure.shown(each.accuracy), number))
    heads = " / ".join(map(head_of, differing))
    key = ", ".join(f"{number}: {words}" for words, number in names.items())
    return labels, f"{heads} at {key}" if key else ""


def _text(run: Run, point: Result) -> str:
    lines = [legend_text({name: value}) for name, value in point.axes.items()]
    lines.append(accuracy_text(point))
    lines += [f"{head_of(name)} {cost_text(name, point.figures)}" for name in COSTS if name in point.figures]
    return "\n".join([*lines, *([point.verdict] if run.targets else [])])
