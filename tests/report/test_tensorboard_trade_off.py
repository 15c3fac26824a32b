"""Accuracy against energy, as TensorBoard reads it back."""

from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.plugins.custom_scalar import layout_pb2

from asim_lightning.report.tensorboard_trade_off import TAG, write_trade_off
from tests.callbacks.conftest import read_events
from tests.report.runs import of_adc, point, run


def test_the_points_that_no_other_betters_are_a_curve_under_each_noise(tmp_path: Path) -> None:
    folders = write_trade_off(tmp_path, of_adc())
    assert [folder.name for folder in folders] == ["energy,random_noise=0", "energy,random_noise=0.1"]
    steps = []
    for folder in folders:
        events = read_events(folder)
        steps.append({event.step: pytest.approx(event.value, abs=1e-6) for event in events.Scalars(f"{TAG}/mean")})
        (event,) = events.Tensors("custom_scalars__config__")
        (chart,) = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0]).category[0].chart
        assert chart.title == "accuracy (x = energy in nanojoules)"
        assert chart.margin.series[0].lower == f"{TAG}/low"
    assert steps == [{3000: 0.75, 3500: 0.92}, {3000: 0.25, 3500: 0.8, 4000: 0.9175}]
    assert events.Scalars(f"{TAG}/low")[2].value == pytest.approx(0.8875)


def test_where_energies_are_equal_all_noises_and_the_digital_macro_are_shown(tmp_path: Path) -> None:
    points = [point(right, {"random_noise": noise}, {"energy_uj": 2.956}) for noise, right in ((0, 368), (0.1, 154))]
    found = run(points)
    figures = {"quantized": {"energy_uj": 0.342}}
    priced = tuple(replace(each, figures=figures.get(each.kind, each.figures)) for each in found.results)
    folders = write_trade_off(tmp_path, replace(found, results=priced))
    assert [folder.name for folder in folders] == ["energy,random_noise=0", "energy,random_noise=0.1", "energy,digital"]
    shown = [read_events(folder).Scalars(f"{TAG}/mean") for folder in folders]
    assert [[(event.step, pytest.approx(event.value, abs=1e-6)) for event in events] for events in shown] == [
        [(2956, 0.92)], [(2956, 0.385)], [(342, 0.92)],
    ]  # fmt: skip


def test_nothing_without_energies_or_with_chips(tmp_path: Path) -> None:
    assert write_trade_off(tmp_path, of_adc(False)) == []
    chips = [point(300 + chip, {"chip": chip}, {"energy_uj": 1.0}) for chip in range(3)]
    assert write_trade_off(tmp_path, run(chips)) == []
    assert list(tmp_path.iterdir()) == []
