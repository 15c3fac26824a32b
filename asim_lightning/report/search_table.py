"""A search as text, as CSV and as JSON: its points, the Pareto front, and the cheapest point that keeps the targets."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asim_lightning.evaluation.results import PointResult, axes_text, axis_text
from asim_lightning.evaluation.trade_off import SearchPoint, SearchResult
from asim_lightning.evaluation.whole_file import write_lines, write_whole
from asim_lightning.report.numbers import interval_text
from asim_lightning.text_table import text_table

FIGURE_UNITS: Mapping[str, str] = {"energy": "uJ", "latency": "ms", "tops_per_watt": "TOPS/W", "yield": ""}
"""Units of figures, as headings and labels have them."""
_MOST_ROWS = 40
"""Points up to which all are printed; of more, the front alone."""


def search_text(found: SearchResult, technology: str) -> str:
    """Table of a search, and in words what it says: the front, the cheapest point, what is undecided.

    Args:
        found: What a search found.
        technology: What energy and latency were computed from, in words.
    """
    front, best = found.front, found.best
    shown = found.points if len(found.points) <= _MOST_ROWS else _shown(found)
    axes = list(found.points[0].axes)
    figures = [name for name in ("energy", "latency", "yield", "tops_per_watt") if _has(found, name)]
    header = ["", *axes, "accuracy (%)", "95 % interval", *(_heading(name) for name in figures), *found.targets]
    rows = [[each.kind, *("-" for _ in axes), *_accuracy(each), *("-" for _ in header[3 + len(axes) :])]
            for each in found.references]  # fmt: skip
    for point in shown:
        mark = "cheapest" if point is best else "front" if point in front else ""
        values = [f"{point.figures[name]:.4g}" for name in figures]
        cells = [mark, *(axis_text(value) for value in point.axes.values()), *_accuracy(point.result), *values]
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
    rows = [_row(point, found) for point in found.points]
    references = [
        {"kind": each.kind, "trials": each.trials, "images": each.images, "accuracy": each.accuracy, "low": each.low,
         "high": each.high} for each in found.references
    ]  # fmt: skip
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines: list[Sequence[object]] = [columns]
    lines += [
        [row["kind"] if name == "kind" else _cell(row.get(name)) for name in columns] for row in [*references, *rows]
    ]
    write_lines(folder / "results.csv", lines, "\n")
    content = {**described, "objectives": found.objectives, "constraints": found.targets, "references": references,
               "all_digital_uj": found.all_digital, "points": rows}  # fmt: skip
    text = json.dumps(content, indent=2, allow_nan=False, default=str) + "\n"
    write_whole(folder / "results.json", lambda file: file.write(text.encode()))
    return folder / "results.csv", folder / "results.json"


def best_line(found: SearchResult) -> str:
    """The cheapest point that keeps all targets, and what it saves, in a sentence; why there is none, where so."""
    best = found.best
    if not found.targets:
        return "No constraint was given, so that no point is the cheapest that keeps it: see the front."
    if best is None:
        undecided = sum(point.verdict == "undecided" for point in found.points)
        more = f"; {undecided} are undecided on these images" if undecided else ""
        return f"No point surely keeps {_all(found.targets)}{more}."
    parts = [f"{100 * best.result.accuracy:.2f} % accuracy"]
    if "energy" in best.figures:
        parts.append(f"{best.figures['energy']:.4g} uJ an image")
        if found.all_digital is not None:
            parts.append(f"{best.figures['energy'] / found.all_digital[0]:.3g} of an all-digital macro's")
    return f"Cheapest that keeps {_all(found.targets)}: {axes_text(best.axes)} ({', '.join(parts)})."


def _all(targets: Sequence[str]) -> str:
    return " and ".join(targets)


def _notes(found: SearchResult, technology: str) -> list[str]:
    names = " and ".join(found.objectives)
    notes = [best_line(found), f"Front: no point is better in one of {names} and at least as good in all."]
    if found.all_digital is not None:
        digital, low, high = found.all_digital
        notes.append(
            f"Energy and latency: at {technology}, by the model's factor either way (results.csv); all-digital "
            f"{digital:.4g} uJ, {low:.3g} to {high:.3g}."
        )
    if any("undecided" in (each.verdict for each in point.decisions) for point in found.points):
        notes.append("Undecided: the interval holds the target; about so many images would decide, if the mean stays.")
    if found.targets:
        notes.append("Each bound holds with 95 % for its own point; of many points, some are kept or missed by chance.")
    return notes


def _shown(found: SearchResult) -> list[SearchPoint]:
    front = list(found.front)
    best = found.best
    return [point for point in found.points if point in front or point is best]


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
        "front": point in found.front,
        "cheapest": point is found.best,
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
