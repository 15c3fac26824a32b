"""A search as text, as CSV and as JSON: its points, the Pareto front, and the cheapest point that keeps the targets."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asim_lightning.evaluation.results import AxisValue, PointResult, axes_text, axis_text, value_words
from asim_lightning.evaluation.targets import images_needed
from asim_lightning.evaluation.trade_off import SearchPoint, SearchResult
from asim_lightning.evaluation.whole_file import write_lines, write_whole
from asim_lightning.report.numbers import interval_text
from asim_lightning.text_table import text_table, unquoted

FIGURE_UNITS: Mapping[str, str] = {"energy": "uJ", "latency": "ms", "tops_per_watt": "TOPS/W", "yield": ""}
"""Units of figures, as headings and labels have them."""
_OF_ALL = ("front", "cheapest")
"""Columns that further points may change."""
_MOST_ROWS = 40
"""Points up to which all are printed; of more, the front alone."""


def search_text(found: SearchResult, technology: str) -> str:
    """Table of a search, and in words what it says: the front, the cheapest point, what is undecided.

    Args:
        found: What a search found.
        technology: What energy and latency were computed from, in words.
    """
    front, cheapest = found.front, found.cheapest
    shown = found.points if len(found.points) <= _MOST_ROWS else _shown(found)
    axes = list(found.points[0].axes)
    figures = [name for name in ("energy", "latency", "yield", "tops_per_watt") if _has(found, name)]
    header = ["", *axes, "accuracy (%)", "95 % interval", *(_heading(name) for name in figures), *found.targets]
    rows = [
        [each.kind, *(value_words(each.axes[name]) if name in each.axes else "-" for name in axes), *_accuracy(each),
         *("-" for _ in header[3 + len(axes) :])] for each in found.references
    ]  # fmt: skip
    for point in shown:
        mark = "cheapest" if _is_among(point, cheapest) else "front" if _is_among(point, front) else ""
        values = [f"{point.figures[name]:.4g}" for name in figures]
        cells = [mark, *(value_words(value) for value in point.axes.values()), *_accuracy(point.result), *values]
        rows.append([*cells, *map(str, point.decisions)])
    sides = "l" + "r" * (len(header) - 1 - len(found.targets)) + "l" * len(found.targets)
    lines = [text_table([header, *rows], 1, sides)]
    if len(shown) < len(found.points):
        lines.append(f"{len(found.points) - len(shown):,} more points: see numbers")
    return "\n".join([*lines, "", *_notes(found, technology)])


def write_search(found: SearchResult, folder: Path, described: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write results.csv and results.json of a search.

    Args:
        found: What it found.
        folder: Where to.
        described: What else the JSON file says.

    Raises:
        OSError: One cannot be written.
    """
    references, rows = _references(found), [_row(point, found) for point in found.points]
    write_lines(folder / "results.csv", _lines(references, rows), "\n")
    content = {**described, "objectives": found.objectives, "constraints": found.targets, "references": references,
               "all_digital_uj": found.all_digital, "points": rows}  # fmt: skip
    text = json.dumps(content, indent=2, allow_nan=False, default=str) + "\n"
    write_whole(folder / "results.json", lambda file: file.write(text.encode()))
    return folder / "results.csv", folder / "results.json"


def changed_line(found: SearchResult, table: Path) -> str | None:
    """What a user should know of the results.csv of an earlier call, which had the same points first, or some of them.

    Args:
        found: What the search found now.
        table: The file; it need not exist.

    Returns:
        Where it was torn or edited; None where it was not.
    """
    points = [_row(point, found) for point in found.points]
    columns, *rows = _lines(_references(found), points)
    try:
        text = table.read_text(encoding="utf-8")
        before, *others = [list(map(unquoted, row)) for row in csv.reader(io.StringIO(text))]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, csv.Error):
        text, before, others = "", [], []
    changed = [1] * (not set(points[0]) <= set(before)) + [len(others) + 1] * (not text.endswith("\n"))
    for line, (old, row) in enumerate(zip(others, rows, strict=False), 2):
        now = {str(name): str(cell) for name, cell in zip(columns, row, strict=True) if name not in _OF_ALL}
        then = dict(zip(before, old, strict=False))
        if len(old) != len(before) or any(then[name] != cell for name, cell in now.items() if name in then):
            changed.append(line)
    if not changed:
        return None
    more = f" and {len(set(changed)) - 1} more" if len(set(changed)) > 1 else ""
    return f"{table} was torn or edited at line {min(changed)}{more}, and is written anew from the trials"


def _references(found: SearchResult) -> list[dict[str, Any]]:
    return [
        {**each.axes, "kind": each.kind, "trials": each.trials, "images": each.images, "accuracy": each.accuracy,
         "low": each.low, "high": each.high} for each in found.references
    ]  # fmt: skip


def _lines(references: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[Sequence[object]]:
    """Lines of results.csv, the names of the columns first."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [
        [row["kind"] if name == "kind" else _cell(row.get(name)) for name in columns] for row in [*references, *rows]
    ]
    return [columns, *cells]


def cheapest_lines(found: SearchResult) -> list[str]:
    """The cheapest point that keeps all targets at each noise, and what it saves; why there is none, where so."""
    if not found.targets:
        return ["No constraint was given, so that no point is the cheapest that keeps it: see the front."]
    lines = []
    for (given, points), best in zip(found.groups, found.cheapest, strict=True):
        where = f" at {axes_text(given)}" if len(found.groups) > 1 else ""
        if best is None:
            undecided = sum(point.verdict == "undecided" for point in points)
            more = f"; {undecided} {'is' if undecided == 1 else 'are'} undecided on these images" if undecided else ""
            lines.append(f"No point{where} surely keeps {_all(found.targets)}{more}.")
            continue
        lines.append(f"Cheapest{where} that keeps {_all(found.targets)}: {_numbers(best, given)}.")
        if (own := found.own(points)) is not None and own is not best:
            lines.append(f"The recipe's macro{where}: {_numbers(own, given)}, {own.verdict}.")
        if cheaper := found.cheaper(points, best):
            needed = images_needed(each for point in cheaper for each in point.decisions if each.verdict == "undecided")
            deciding = f"; {needed} would decide" if needed else ""
            cheapest = f"{len(cheaper)}, the cheapest {_numbers(cheaper[0], given)}"
            lines.append(f"Cheaper and undecided{where}: {cheapest}{deciding}.")
    return lines


def _numbers(point: SearchPoint, given: Mapping[str, AxisValue]) -> str:
    """What is chosen at a point, with its accuracy and energy."""
    parts = [f"{100 * point.result.accuracy:.2f} % accuracy"]
    if "energy" in point.figures:
        parts.append(f"{point.figures['energy']:.4g} uJ an image")
        if digital := point.figures.get("all_digital"):
            parts.append(f"{point.figures['energy'] / digital:.3g} times the all-digital energy")
    chosen = {name: value for name, value in point.axes.items() if name not in given}
    return f"{axes_text(chosen or point.axes)} ({', '.join(parts)})"


def _all(targets: Sequence[str]) -> str:
    return " and ".join(targets)


def _notes(found: SearchResult, technology: str) -> list[str]:
    names = " and ".join(found.objectives)
    same = " at the same noise" if len(found.groups) > 1 else ""
    notes = cheapest_lines(found)
    notes.append(f"Front: no point{same} is better in one of {names} and at least as good in all.")
    if any("all_digital" in point.figures for point in found.points):
        own = any(name.startswith("technology.") for name in found.points[0].axes)
        line = f"Energy and latency: at {'the technology of each point' if own else technology}, by the model's factor"
        digital = "of each point in results.csv"
        if found.all_digital is not None:
            digital = "{:.4g} uJ, {:.3g} to {:.3g}".format(*found.all_digital)
        notes.append(f"{line} either way (results.csv); all-digital {digital}.")
    undecided = [each for point in found.points for each in point.decisions if each.verdict == "undecided"]
    if undecided:
        counted = any(each.images is not None for each in undecided)
        more = "; about so many images would decide, if the mean stays" if counted else ""
        notes.append(f"Undecided: the interval holds the target{more}.")
    if (owner := found.references[0].axes) and any(" of " in target for target in found.targets):
        notes.append(f"Shares of the float or quantized accuracy are of the network at {axes_text(owner)}.")
    if found.targets:
        notes.append("Each bound holds with 95 % for its own point; of many points, some are kept or missed by chance.")
    return notes


def _shown(found: SearchResult) -> list[SearchPoint]:
    front = found.front
    return [point for point in found.points if _is_among(point, front) or _is_among(point, found.cheapest)]


def _is_among(point: SearchPoint, others: Sequence[SearchPoint | None]) -> bool:
    return any(point is each for each in others)


def _has(found: SearchResult, name: str) -> bool:
    if name == "tops_per_watt":
        return name in found.objectives
    return all(name in point.figures for point in found.points)


def _heading(name: str) -> str:
    return f"{name} ({FIGURE_UNITS[name]})" if FIGURE_UNITS.get(name) and name != "tops_per_watt" else (
        FIGURE_UNITS.get(name) or name
    )  # fmt: skip


def _accuracy(result: PointResult) -> tuple[str, str]:
    return f"{100 * result.accuracy:.2f}", interval_text(result.low, result.high)


def _row(point: SearchPoint, found: SearchResult) -> dict[str, Any]:
    result = point.result
    return {
        **{name: axis_text(value) for name, value in point.axes.items()},
        "kind": result.kind,
        "trials": result.trials,
        "images": result.images,
        "accuracy": result.accuracy,
        "low": result.low,
        "high": result.high,
        **{
            name: value
            for name, value in point.figures.items()
            if name not in point.axes and name != "accuracy" and value != float("inf")
        },
        **{target: str(each) for target, each in zip(found.targets, point.decisions, strict=True)},
        "front": _is_among(point, found.front),
        "cheapest": _is_among(point, found.cheapest),
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
