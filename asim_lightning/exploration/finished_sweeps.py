"""Several finished sweeps in one picture, such as networks trained with and without noise."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.run import read_run
from asim_lightning.report.accuracy_figure import AccuracyPlot, plot_sweep

_NAME = "network"


def compare_sweeps(
    sweeps: Mapping[str, str | Path], path: str | Path, plot: AccuracyPlot = AccuracyPlot("random_noise")
) -> Path:
    """Draw the simulated accuracies of several sweeps against one axis, with their intervals, one line a sweep.

    Args:
        sweeps: Name of each line, and the sweep's folder.
        path: Picture to write; its suffix decides the format.
        plot: Axis, which all sweeps have, headline and marks.

    Raises:
        FileNotFoundError: The store has no such sweep.
        ValueError: There is no sweep, or no point has the axis.
    """
    if not sweeps:
        raise ValueError("compare_sweeps needs at least one sweep, got none")
    rows = [
        Result(**{**vars(row), "axes": {**row.axes, _NAME: name}})
        for name, given in sweeps.items()
        for row in read_run(given).points
    ]
    return plot_sweep(rows, replace(plot, labels={**plot.labels, _NAME: ""}), path)
