"""Several finished sweeps in one picture, such as networks trained with and without noise."""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from asim_lightning.evaluation.record import FIGURE_COLUMNS, RESULT_COLUMNS
from asim_lightning.evaluation.results import PointResult, axis_value, check_kind
from asim_lightning.report.accuracy_figure import AccuracyPlot, plot_sweep

_NAME = "network"


def compare_sweeps(
    sweeps: Mapping[str, str | Path], path: str | Path, plot: AccuracyPlot = AccuracyPlot("random_noise")
) -> Path:
    """Draw the simulated accuracies of several sweeps against one axis, with their intervals, one line a sweep.

    Args:
        sweeps: Name of each line, and the sweep's results.csv, or the folder that holds it.
        path: Picture to write; its suffix decides the format.
        plot: Axis, which all sweeps have, headline and marks.

    Raises:
        FileNotFoundError: A sweep has no results.csv.
        ValueError: There is no sweep, a file is no results.csv, or no point has the axis.
    """
    if not sweeps:
        raise ValueError("compare_sweeps needs at least one sweep, got none")
    rows = [
        PointResult(**{**vars(row), "axes": {**row.axes, _NAME: name}})
        for name, given in sweeps.items()
        for row in read_results(given)
        if row.kind == "simulated"
    ]
    return plot_sweep(rows, replace(plot, labels={**plot.labels, _NAME: ""}), path)


def read_results(path: str | Path) -> list[PointResult]:
    """The points in a sweep's results.csv.

    Args:
        path: The file, or the folder that holds it.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It has other columns.
    """
    file = Path(path) / "results.csv" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"There is no results.csv of a sweep at {path}")
    with file.open(newline="", encoding="utf-8") as opened:
        reader = csv.DictReader(opened)
        needed = [name for name in RESULT_COLUMNS if name != "right"]  # which files of before have not
        missing = [name for name in needed if name not in (reader.fieldnames or [])]
        if missing:
            raise ValueError(f"{file} must be the results.csv of a sweep, and lacks {', '.join(missing)}")
        return [_point(row) for row in reader]


def _point(row: dict[str, str]) -> PointResult:
    check_kind(row["kind"])
    others = (*RESULT_COLUMNS, *FIGURE_COLUMNS)
    axes = {name: axis_value(text) for name, text in row.items() if name not in others and text != ""}
    return PointResult(
        axes=axes,
        kind=row["kind"],  # type: ignore[arg-type]  # checked above
        trials=int(row["trials"]),
        images=int(row["images"]),
        accuracy=float(row["accuracy"]),
        low=float(row["low"]),
        high=float(row["high"]),
        seconds=float(row["seconds"]),
        algorithm=row["algorithm"],
        right=tuple(int(count) for count in row.get("right", "").split()),
    )
