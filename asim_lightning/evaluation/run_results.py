"""A finished sweep, yield or search, as its folder keeps it: points, differences, yields, cost, commands, settings."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from asim_lightning.circuit import MacroConfig
from asim_lightning.evaluation.chip_yield import ChipYield
from asim_lightning.evaluation.command_record import CommandRecord, read_commands
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.record import RESULT_COLUMNS
from asim_lightning.evaluation.results import AxisValue, PointResult, axes_text, axis_text, axis_value, check_kind
from asim_lightning.evaluation.targets import Decision
from asim_lightning.text_table import unquoted

RESULTS, YIELDS, DIFFERENCES, COST, LAYERS, SETTINGS = (
    "results.csv", "yield.csv", "differences.csv", "cost.json", "layers.json", "settings.json",
)  # fmt: skip
"""Files of a run."""
CHIP = "chip"
_NEEDED = ("kind", "trials", "images", "accuracy", "low", "high")
"""Columns of every results.csv; a search has no more of those of a sweep."""
_FIELDS = {each.name for each in fields(MacroConfig)}
"""Columns of a search that are settings, and no costs."""
_DECISION = re.compile(r"(kept|missed|undecided)(?: \((over )?([\d,]+) images\))?")
_MOST_BYTES = 2**28
_CLOSE = 2e-6
"""Accuracies are written with six decimals."""


@dataclass(frozen=True)
class RunPoint:
    """A point of a run, and what else is known of it."""

    result: PointResult
    costs: Mapping[str, float] = field(default_factory=dict)
    """Energy, latency and the like, by the name of their column."""
    difference: Interval | None = None
    """Accuracy minus that of the quantised network on the same images, -1..1; None where it is not known."""
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    """Whether it keeps each target of a search, by the target's text."""


@dataclass(frozen=True)
class DesignLayers:
    """What the layers of a network take for one image at the points that share the values of some axes."""

    axes: Mapping[str, AxisValue]
    """All axes that change a cost."""
    layers: tuple[Mapping[str, Any], ...]
    """As in cost.json."""

    def is_of(self, point: RunPoint) -> bool:
        """Whether a point has these values."""
        axes = point.result.axes
        return all(name in axes and axis_text(axes[name]) == axis_text(value) for name, value in self.axes.items())


@dataclass(frozen=True)
class RunResults:
    """What a folder of `asim sweep` or `asim search` keeps."""

    folder: Path
    points: tuple[RunPoint, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What outcomes depend on beside the point, as in settings.json."""
    commands: tuple[CommandRecord, ...] = ()
    """Commands that worked in the folder, the first one first."""
    yields: tuple[ChipYield, ...] = ()
    thresholds: tuple[float, ...] = ()
    """Accuracies from which a chip counts as good, rising: 0..1."""
    network_cost: Mapping[str, Any] = field(default_factory=dict)
    """Technology, totals and layers of the network as it is configured, as in cost.json."""
    designs: tuple[DesignLayers, ...] = ()
    """Layers at each design that was evaluated, as in layers.json; none where they are not known."""

    @property
    def until(self) -> str | None:
        """The question that ended the images of each point; None where all were evaluated."""
        return self.settings.get("until")

    @property
    def images(self) -> int | None:
        """Test images that there are; None where a question ended those of each point, so that more are no matter of
        the root of their number."""
        known = [*(each.images or 0 for each in self.commands), *(point.result.images for point in self.points)]
        return max(known) if self.until is None and known else None

    @property
    def axes(self) -> list[str]:
        """Names of the axes."""
        return list(dict.fromkeys(name for point in self.points for name in point.result.axes))

    @property
    def costs(self) -> list[str]:
        """Names of the columns of costs."""
        return list(dict.fromkeys(name for point in self.points for name in point.costs))

    def of_kind(self, kind: str) -> list[RunPoint]:
        """Points of a kind."""
        return [point for point in self.points if point.result.kind == kind]


def read_run(folder: str | Path) -> RunResults:
    """The results in the folder of a sweep or search.

    Args:
        folder: The folder, which holds results.csv.

    Raises:
        FileNotFoundError: There is no such folder, or no results.csv in it.
        ValueError: A file is torn or edited, or is none of a run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "a file" if folder.exists() else "none"
        raise FileNotFoundError(f"a run must be a folder that asim sweep or asim search wrote, got {what} at {folder}")
    points = read_points(folder)
    differences = _differences(folder / DIFFERENCES, points)
    settings = _mapping(folder / SETTINGS)
    yields, thresholds = _yields(folder / YIELDS, [point.result for point in points])
    return RunResults(
        folder=folder,
        points=tuple(
            replace(point, difference=differences.get(_key(point.result.axes)))
            if point.result.kind == "simulated"
            else point
            for point in points
        ),
        settings=settings,
        commands=read_commands(folder),
        yields=yields,
        thresholds=thresholds,
        network_cost=_mapping(folder / COST),
        designs=_designs(folder / LAYERS),
    )


def read_results(path: str | Path) -> list[PointResult]:
    """The points in a results.csv.

    Args:
        path: The file, or the folder that holds it.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It has other columns, or a row is torn or edited.
    """
    return [point.result for point in read_points(path)]


def read_points(path: str | Path) -> list[RunPoint]:
    """The points in a results.csv, with the costs of further columns.

    Columns before `kind` are axes; of those behind it that no sweep has, numbers are costs, and words decisions.

    Args:
        path: The file, or the folder that holds it.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It has other columns, or a row is torn or edited.
    """
    file = Path(path) / RESULTS if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"There is no results.csv of a sweep at {path}")
    columns, rows = _rows(file)
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise ValueError(f"{file} must be the results.csv of a sweep, and lacks {', '.join(missing)}")
    axes = columns[: columns.index("kind")]
    others = [name for name in columns if name not in axes and name not in RESULT_COLUMNS]
    found = [_point(file, line, row, axes, others) for line, row in rows]
    if not found:
        raise ValueError(f"{file} must hold one point or more, got none")
    return found


def _rows(file: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Columns of a CSV file, and its rows with the number of their line."""
    if file.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{file} must have at most {_MOST_BYTES:,} bytes, got {file.stat().st_size:,}")
    try:
        text = file.read_bytes().decode("utf-8")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        columns, *rows = [(reader.line_num, list(map(unquoted, row))) for row in reader if row]
    except (UnicodeDecodeError, csv.Error, ValueError):
        raise ValueError(f"{file} must be a CSV file with a line of column names, and is none") from None
    names = columns[1]
    if len(set(names)) < len(names):
        raise ValueError(f"{file} must name each column once, got {', '.join(names)}")
    for line, row in rows:
        if len(row) != len(names):
            raise ValueError(f"{file} is torn at line {line}: {len(names)} cells are needed, got {len(row)}; {_AGAIN}")
    if not text.endswith("\n"):
        raise ValueError(f"{file} is torn at its end; {_AGAIN}")
    return names, [(line, dict(zip(names, row, strict=True))) for line, row in rows]


_AGAIN = "the command that wrote it writes it anew, and computes nothing twice"


def _point(file: Path, line: int, row: Mapping[str, str], axes: Sequence[str], others: Sequence[str]) -> RunPoint:
    try:
        check_kind(row["kind"])
        result = PointResult(
            axes={name: axis_value(row[name]) for name in axes if row[name] != ""},
            kind=row["kind"],  # type: ignore[arg-type]  # checked above
            trials=int(row["trials"]),
            images=int(row["images"]),
            accuracy=float(row["accuracy"]),
            low=float(row["low"]),
            high=float(row["high"]),
            seconds=float(row.get("seconds", 0)),
            algorithm=row.get("algorithm", ""),
            right=tuple(int(count) for count in row.get("right", "").split()),
        )
        costs = {name: float(row[name]) for name in others if name not in _FIELDS and _is_finite(row[name])}
    except ValueError as error:
        raise ValueError(f"{file} was changed at line {line}: {error}; {_AGAIN}") from None
    if result.right and abs(sum(result.right) / (result.trials * result.images) - result.accuracy) > _CLOSE:
        said = f"accuracy {result.accuracy:g} is not that of {sum(result.right)} right answers"
        raise ValueError(f"{file} was changed at line {line}: {said}; {_AGAIN}")
    decisions = {
        name: Decision(found[1], _whole(found[3]), found[2] is not None)  # type: ignore[arg-type]  # of the pattern
        for name in others
        if (found := _DECISION.fullmatch(row[name]))
    }
    return RunPoint(result, costs, decisions=decisions)


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text.replace(",", ""))


def _is_finite(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False  # words, or nothing


def _differences(file: Path, points: Sequence[RunPoint]) -> dict[str, Interval]:
    """Difference of each point to the quantised network, where it was worked out from as many trials and images."""
    if not file.is_file():
        return {}
    columns, rows = _rows(file)
    names = ("trials", "images", "difference", "low", "high")
    _check_columns(file, columns, names)
    axes = columns[: columns.index("trials")]
    counts = {_key(each.result.axes): (each.result.trials, each.result.images) for each in points}
    found = {}
    for line, row in rows:
        key = _key({name: axis_value(row[name]) for name in axes if row[name] != ""})
        try:
            mean, low, high = (float(row[name]) for name in names[2:])
            now = int(row["trials"]), int(row["images"])
        except ValueError as error:
            raise ValueError(f"{file} was changed at line {line}: {error}; {_AGAIN}") from None
        if not -1.0 <= low <= mean <= high <= 1.0:
            raise ValueError(f"{file} was changed at line {line}: low, difference and high must rise; {_AGAIN}")
        if counts.get(key) == now:
            found[key] = Interval(mean, low, high)
    return found


def _yields(file: Path, results: Sequence[PointResult]) -> tuple[tuple[ChipYield, ...], tuple[float, ...]]:
    """The chips of each combination of the other axes, where yields were asked for, and thresholds."""
    if not file.is_file():
        return (), ()
    columns, rows = _rows(file)
    numbers = ("accuracy", "good", "chips", "reads", "mean", "mean_low", "mean_high")
    _check_columns(file, columns, (*numbers, "bounds"))
    axes = columns[: columns.index("accuracy")]
    found: dict[str, ChipYield] = {}
    thresholds = set()
    for line, row in rows:
        others = {name: axis_value(row[name]) for name in axes if row[name] != ""}
        try:
            accuracy, good, total, reads, *mean = (float(row[name]) for name in numbers)
        except ValueError as error:
            raise ValueError(f"{file} was changed at line {line}: {error}; {_AGAIN}") from None
        thresholds.add(accuracy)
        if _key(others) not in found:
            chips = _chips(results, others, int(reads), int(total))
            right = np.array([each.right for each in chips.values()])  # (chips, reads)
            images = {each.images for each in chips.values()}
            if len(chips) < max(2, total) or len(images) > 1:
                where = axes_text(others) or "no axis"
                raise ValueError(f"{file} counts {total:g} chips at {where} that {RESULTS} lacks; {_AGAIN}")
            stopped = row["bounds"] == "sequence"
            found[_key(others)] = ChipYield(others, tuple(chips), right, images.pop(), Interval(*mean), stopped)
        if found[_key(others)].good(accuracy) != good:
            raise ValueError(f"{file} and {RESULTS} differ in the good chips of line {line}; {_AGAIN}")
    return tuple(found.values()), tuple(sorted(thresholds))


def _chips(
    results: Sequence[PointResult], others: Mapping[str, AxisValue], reads: int, total: int
) -> dict[int, PointResult]:
    """The first so many chips at the values of the other axes, by number."""
    found = {
        int(each.axes[CHIP]): each  # type: ignore[arg-type]  # numbers of chips
        for each in results
        if len(each.right) == reads
        and CHIP in each.axes
        and _key({name: value for name, value in each.axes.items() if name != CHIP}) == _key(others)
    }
    return {number: found[number] for number in sorted(found)[:total]}


def _check_columns(file: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        raise ValueError(f"{file} lacks {', '.join(missing)}; {_AGAIN}")


def _designs(file: Path) -> tuple[DesignLayers, ...]:
    try:
        given = _mapping(file).get("designs", [])
        return tuple(DesignLayers(dict(each["axes"]), tuple(map(dict, each["layers"]))) for each in given)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ValueError) and str(file) in str(error):
            raise
        raise ValueError(f"{file} must hold axes and layers of designs, and was changed; {_AGAIN}") from None


def _mapping(file: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where there is none."""
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        raise ValueError(f"{file} must be a JSON file, and is torn or edited; {_AGAIN}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} must hold a mapping, got a {type(found).__name__}; {_AGAIN}")
    return found


def _key(axes: Mapping[str, AxisValue]) -> str:
    return "\n".join(f"{name}={axis_text(axes[name])}" for name in sorted(axes))
