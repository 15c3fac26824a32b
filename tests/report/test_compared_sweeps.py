"""Several sweeps in one picture, from their store."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.store import Store
from asim_lightning.report import accuracy
from asim_lightning.report.accuracy import AccuracyPlot, compare_sweeps
from asim_lightning.report.curves import drawn_lines


def finished(folder: Path, accuracy: float) -> None:
    """Keep a sweep of three points in the store."""
    for noise in (0, 0.05, 0.1):
        axes = {"random_noise": noise, "adc_bits": None}
        result = Result(axes, "simulated", 1, 200, accuracy, accuracy - 0.1, accuracy + 0.1, 1.0, "reference")
        Store(folder.parent).keep_point(folder.name, str(noise), 1, asdict(result))


def test_one_line_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(tmp_path / "a", 0.75), finished(tmp_path / "b", 0.6)
    drawn: list[tuple[dict[str, object], list[float]]] = []

    def spy(rows: Sequence[Result], axis: str, names: Mapping[str, str]) -> object:
        lines, note = drawn_lines(rows, axis, names)
        drawn.extend((dict(others), [row.accuracy for row in line]) for others, line in lines)
        return lines, note

    monkeypatch.setattr(accuracy, "drawn_lines", spy)
    picture = compare_sweeps(
        {"QAT": tmp_path / "a", "NAT": tmp_path / "b"}, tmp_path / "c.png", AccuracyPlot("random_noise", "both")
    )
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert drawn == [({"network": "QAT"}, [0.75] * 3), ({"network": "NAT"}, [0.6] * 3)]


def test_a_folder_without_a_sweep_and_an_axis_that_no_point_has(tmp_path: Path) -> None:
    finished(tmp_path / "x", 0.5)
    with pytest.raises(FileNotFoundError, match=r"y is no folder"):
        compare_sweeps({"a": tmp_path / "y"}, tmp_path / "a.png")
    with pytest.raises(ValueError, match="the axis of a plot must be one that simulated points have"):
        compare_sweeps({"a": tmp_path / "x"}, tmp_path / "a.png", AccuracyPlot("rows"))
