"""Differences to the quantised network, in pairs of images."""

import csv
from pathlib import Path

import numpy as np
import pytest

from asim_lightning.evaluation.interval import difference_interval
from asim_lightning.evaluation.record import SweepRecord
from asim_lightning.evaluation.results import Outcomes
from asim_lightning.exploration.differences import write_differences


def outcomes(index: np.ndarray, right: np.ndarray) -> Outcomes:
    return Outcomes(index, np.zeros(len(index), dtype=int), (~right).astype(int), 1.0, "exact")


def test_pairs_of_images_on_those_that_both_have(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    record = SweepRecord(tmp_path / "a", {"weights": 1}, ["random_noise"])
    index, reference = np.arange(300), generator.random(300) < 0.9
    record.store({}, "quantized", 0, outcomes(index, reference))
    rows = [record.finish({}, "quantized", 1)]
    reads = [generator.random(200) < 0.7 for _ in range(2)]
    for trial, right in enumerate(reads):
        record.store({"random_noise": 0.1}, "simulated", trial, outcomes(index[100:], right))
    rows.append(record.finish({"random_noise": 0.1}, "simulated", 2))
    with write_differences(record, rows).open() as file:
        (row,) = csv.DictReader(file)
    found = difference_interval(np.stack(reads, axis=1), reference[100:, None])
    assert (row["random_noise"], row["trials"], row["images"]) == ("0.1", "2", "200")
    numbers = [float(row[name]) for name in ("difference", "low", "high")]
    assert numbers == pytest.approx([found.mean, found.low, found.high], abs=1e-6)
    assert numbers[1] < numbers[0] < numbers[2] < 0
