"""The picture of a measured column."""

from pathlib import Path

import numpy as np
import pytest

from asim_lightning.circuit import Column, MacroConfig, transfer
from asim_lightning.circuit.column_models import build_column
from asim_lightning.circuit.measured import measured_curves
from asim_lightning.report.measured_figure import (
    draw_curves,
    draw_measured,
    driven_pictures,
    measured_pictures,
    swing_pictures,
)
from tests.circuit.measured_chips import COUNTS, TOP, bent_level, codes_of, ideal_csv, moments_csv, reads_csv, written
from tests.engine.test_explanation import Bent

SILENT_START = np.where(COUNTS < 60, 0.0, 0.2)


@pytest.mark.parametrize("reads", [True, False])
def test_the_figure_has_transfer_inl_dnl_and_noise(reads: bool) -> None:
    codes = codes_of(bent_level(), SILENT_START, 60, 0)
    text = reads_csv(codes) if reads else moments_csv(codes.mean(1), codes.std(1))
    curve = measured_curves(text.encode(), "chip.csv", None, TOP)[None]
    transfer, inl, dnl, noise = measured_pictures(curve, TOP)
    assert np.allclose(transfer.series[1].y, curve.level)
    bend = np.asarray(inl.series[0].y)
    assert bend[[0, -1]] == pytest.approx([0, 0], abs=1e-9)
    slope = (curve.level[-1] - curve.level[0]) / 255
    assert np.allclose(bend, curve.level - curve.level[0] - slope * COUNTS)
    assert np.allclose(dnl.series[0].y[1:], np.diff(bend))
    assert sum(dnl.series[0].y[1:]) == pytest.approx(0, abs=1e-9)
    assert len(noise.series[1].x) == curve.counts_of_one_code
    assert [len(picture.series[0].low) > 0 for picture in (inl, noise)] == [reads, reads]
    assert noise.series[1].name == f"one code only: {curve.counts_of_one_code} counts"


def test_each_measured_column_is_drawn_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    files = [written(tmp_path / folder, ideal_csv()) for folder in "ab"]

    def column(file: str) -> Column:
        return build_column(MacroConfig(column="measured", column_args={"file": file}))

    columns = [column(files[0]), column(files[1]), column(files[0]), build_column(MacroConfig())]
    drawn = draw_measured(columns, tmp_path / "pictures")
    assert [path.name for path in drawn] == ["chip.png", "chip_1.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_a_column_is_drawn_for_some_numbers_of_driven_rows(tmp_path: Path) -> None:
    droop = transfer(MacroConfig(column="droop", column_args={"k": 0.1}, encoding_bits=3), False)
    level, noise = driven_pictures(droop, droop.cycles[0])
    for series, driven in zip(level.series, (64, 128, 191, 255), strict=True):
        assert (series.x[-1], series.name) == (7 * driven, f"{driven} rows driven")
        assert series.y[-1] == pytest.approx(-0.1 * driven / 255 * driven, abs=1e-4)
    assert [max(series.y) for series in noise.series] == [0.0] * 4
    drawn = draw_curves([transfer(MacroConfig(), False), droop, droop], tmp_path)
    assert [path.name for path in drawn] == ["driven_droop_1785.png", "driven_droop_765.png"]


def test_a_users_column_is_drawn_over_its_swing(tmp_path: Path) -> None:
    own = transfer(MacroConfig(column=f"{Bent.__module__}.Bent", encoding_bits=3), False)
    level, lost, noise = swing_pictures(own, own.cycles[0])
    assert [series.x[-1] for series in (*level.series, *lost.series, *noise.series)] == [1785] * 4
    assert lost.series[0].y[-1] == pytest.approx(-0.02 * 255, abs=1e-3)
    assert [level.series[0].y[-1], *noise.series[0].y[:1]] == [255, 0]
    drawn = draw_curves([transfer(MacroConfig(), False), own, own], tmp_path)
    assert [path.name for path in drawn] == [f"curve_{Bent.__module__}.Bent_{most}.png" for most in (1785, 765)]
