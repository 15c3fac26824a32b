"""Accuracies of a sweep minus that of the quantised network, on the same images: pairs tell more than two intervals."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asim_lightning.evaluation.interval import difference_interval
from asim_lightning.evaluation.record import SweepRecord
from asim_lightning.evaluation.results import Outcomes, PointResult, axis_text
from asim_lightning.evaluation.run_results import DIFFERENCES
from asim_lightning.evaluation.whole_file import write_lines


def write_differences(record: SweepRecord, rows: Sequence[PointResult]) -> Path:
    """Write differences.csv: a row for each simulated point, shares -1..1 with the ends of their 95 % interval.

    Args:
        record: Record of the sweep.
        rows: Its results, a quantised one among them.

    Raises:
        OSError: It cannot be written.
    """
    (reference,) = _reads(record, next(row for row in rows if row.kind == "quantized"))
    lines: list[Sequence[object]] = [[*record.columns, "trials", "images", "difference", "low", "high"]]
    for row in rows:
        if row.kind != "simulated":
            continue
        reads = _reads(record, row)
        # a point whose images ended early has some of them
        shared = np.intersect1d(reads[0].sample_index, reference.sample_index)
        found = difference_interval(_answers(reads, shared), _answers([reference], shared))
        axes = [axis_text(row.axes[name]) if name in row.axes else "" for name in record.columns]
        numbers = [f"{each:.6f}" for each in (found.mean, found.low, found.high)]
        lines.append([*axes, row.trials, row.images, *numbers])
    path = record.folder / DIFFERENCES
    write_lines(path, lines, "\n")
    return path


def _reads(record: SweepRecord, row: PointResult) -> list[Outcomes]:
    return [record.outcomes(row.axes, row.kind, trial) for trial in range(row.trials)]


def _answers(reads: Sequence[Outcomes], images: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each read is right on some of its images. # (images, reads)"""
    return np.stack([read.correct[np.searchsorted(read.sample_index, images)] for read in reads], axis=1)
