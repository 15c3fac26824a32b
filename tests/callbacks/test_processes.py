"""Callbacks give the same on 1 and 2 processes, and only the first process writes."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.callbacks.conftest import read_events

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("processes")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.callbacks.on_processes", str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=240)
    return {count: folder / str(count) for count in (1, 2)}


def found(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "found.json").read_text())


def test_noise_sweeps_find_the_same(folders: dict[int, Path]) -> None:
    (alone,) = found(folders[1])
    assert [row[3:] for row in alone["results"]] == [[11, 1], [11, 2]]
    everyone = found(folders[2])
    assert [each["results"] for each in everyone] == [alone["results"]] * 2


def test_every_process_has_the_same_ranges(folders: dict[int, Path]) -> None:
    for count, folder in folders.items():
        first, *others = [each["ranges"] for each in found(folder)]
        assert all(other == first for other in others)
        assert first[-2:] == [float(count), 1.0]  # the largest, and those of the first process
    first, second = json.loads((folders[2] / "fit_ranges.json").read_text())
    assert first == second


@pytest.mark.parametrize("name", ["confusion_val.csv", "misclassified_val.csv", "misclassified_val.png"])
def test_files_are_the_same(name: str, folders: dict[int, Path]) -> None:
    assert (folders[1] / name).read_bytes() == (folders[2] / name).read_bytes()


def test_a_fit_keeps_a_checkpoint_and_one_line_a_level(folders: dict[int, Path]) -> None:
    run = folders[2] / "runs" / "version_0"
    assert (run / "checkpoints" / "best.ckpt").exists()
    with (run / "noise_sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["level"], row["images"]) for row in rows] == [("0", "7"), ("5", "7")]
    (event,) = read_events(run).Scalars("noise/acc_mean")
    assert event.value == pytest.approx(sum(float(row["accuracy"]) for row in rows) / 2, abs=1e-6)
