"""Several finished sweeps in one picture, such as networks trained with and without noise."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from asim_lightning.evaluation.results import PointResult
from asim_lightning.evaluation.run_results import read_results
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
