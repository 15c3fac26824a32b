"""Several sweeps in one picture, from their results.csv."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from asim_lightning.evaluation.record import SweepRecord
from asim_lightning.evaluation.results import Outcomes, PointResult
from asim_lightning.evaluation.run_results import read_results
from asim_lightning.exploration.finished_sweeps import compare_sweeps
from asim_lightning.report import accuracy_figure
from asim_lightning.report.accuracy_figure import AccuracyPlot
from asim_lightning.report.curves import drawn_lines


def finished(folder: Path, right: int) -> SweepRecord:
    record = SweepRecord(folder, {"weights": right}, ["random_noise", "adc_bits"])
    index, label = np.arange(200), np.zeros(200, dtype=int)
    answers = (np.arange(200) >= right).astype(int)
    record.store({}, "float", 0, Outcomes(index, label, answers, 1.0, "torch"))
    record.finish({}, "float", 1)
    for noise in (0, 0.05, 0.1):
        axes = {"random_noise": noise, "adc_bits": None}
        record.store(axes, "simulated", 0, Outcomes(index, label, answers, 1.0, "reference"))
        record.finish(axes, "simulated", 1)
    return record


def test_results_read_back_are_those_written(tmp_path: Path) -> None:
    record = finished(tmp_path / "a", 150)
    for given in (tmp_path / "a", tmp_path / "a" / "results.csv"):
        found = read_results(given)
        for row, written in zip(found, record.results(), strict=True):
            assert dict(row.axes) == dict(written.axes)
            assert (row.kind, row.trials, row.images) == (written.kind, written.trials, written.images)
            assert row.accuracy == pytest.approx(written.accuracy, abs=1e-6)
            assert row.right == written.right
            assert (row.low, row.high) == pytest.approx((written.low, written.high), abs=1e-6)


def test_a_file_from_before_counts_were_written_is_read(tmp_path: Path) -> None:
    finished(tmp_path / "a", 150)
    file = tmp_path / "a" / "results.csv"
    file.write_text("".join(line.rpartition(",")[0] + "\n" for line in file.read_text().splitlines()))
    assert [(row.images, row.right) for row in read_results(file)] == [(200, ())] * 4


def test_one_line_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(tmp_path / "a", 150), finished(tmp_path / "b", 120)
    drawn: list[tuple[dict[str, object], list[float]]] = []

    def spy(rows: Sequence[PointResult], axis: str, names: Mapping[str, str]) -> object:
        lines, note = drawn_lines(rows, axis, names)
        drawn.extend((dict(others), [row.accuracy for row in line]) for others, line in lines)
        return lines, note

    monkeypatch.setattr(accuracy_figure, "drawn_lines", spy)
    picture = compare_sweeps(
        {"QAT": tmp_path / "a", "NAT": tmp_path / "b"}, tmp_path / "c.png", AccuracyPlot("random_noise", "both")
    )
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert drawn == [({"network": "QAT"}, [0.75] * 3), ({"network": "NAT"}, [0.6] * 3)]


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="compare_sweeps needs at least one sweep, got none"):
        compare_sweeps({}, tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match=r"There is no results\.csv of a sweep at "):
        read_results(tmp_path)
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"results\.csv must be the results.csv of a sweep, and lacks kind, trials"):
        read_results(tmp_path)
    finished(tmp_path / "x", 100)
    with pytest.raises(ValueError, match="the axis of a plot must be one that simulated points have"):
        compare_sweeps({"a": tmp_path / "x"}, tmp_path / "a.png", AccuracyPlot("rows"))
