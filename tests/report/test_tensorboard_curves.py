"""What TensorBoard reads back from a sweep."""

import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from tensorboard.plugins.custom_scalar import layout_pb2

from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.run import Run
from asim_lightning.report.tensorboard_curves import (
    Curves,
    axis_curves,
    energy_curves,
    over_chips,
    scalar_steps,
    write_run,
)
from tests.callbacks.conftest import read_events
from tests.report.runs import REFERENCES, of_adc, point, run, simulated

TAG = "sweep/accuracy_vs_random_noise_in_millipercent"


def curve(events, tag):
    return {event.step: pytest.approx(event.value, abs=1e-6) for event in events.Scalars(tag)}


def write(folder: Path, rows: list[Result], axis: str = "random_noise") -> None:
    found = Run(folder, tuple(rows))
    write_run(found, {**axis_curves(rows, axis), **energy_curves(found)}, {"sweep/a": Figure(figsize=(1, 1), dpi=20)})


def charts(events: Any) -> dict[str, Any]:
    (event,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return {chart.title: chart for category in layout.category for chart in category.chart}


def test_one_curve_is_a_margin_chart(tmp_path: Path) -> None:
    rows = [*REFERENCES, *(simulated(0.9 - noise, random_noise=noise) for noise in (0.2, 0, 0.05))]
    write(tmp_path, rows)
    events = read_events(tmp_path)
    assert set(events.Tags()["scalars"]) == {
        f"{TAG}/mean", f"{TAG}/low", f"{TAG}/high", "sweep/accuracy_float", "sweep/accuracy_quantized"
    }  # fmt: skip
    assert [event.step for event in events.Scalars(f"{TAG}/mean")] == [0, 50, 200]
    assert curve(events, f"{TAG}/mean") == {0: 0.9, 50: 0.85, 200: 0.7}
    assert curve(events, f"{TAG}/low") == {0: 0.88, 50: 0.83, 200: 0.68}
    assert curve(events, f"{TAG}/high") == {0: 0.91, 50: 0.86, 200: 0.71}
    assert curve(events, "sweep/accuracy_float") == {0: 0.9125}
    assert len(events.Images("sweep/a")) == 1
    ((title, chart),) = charts(events).items()
    assert title == "accuracy (x = random noise in millipercent)"
    (series,) = chart.margin.series
    assert [series.value, series.lower, series.upper] == [f"{TAG}/mean", f"{TAG}/low", f"{TAG}/high"]


def test_several_lines_are_one_run_with_a_chart_of_all(tmp_path: Path) -> None:
    write(tmp_path, [simulated(b / 10 - n, random_noise=n, adc_bits=b) for b in (6, 8) for n in (0, 0.1)])
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    events = read_events(tmp_path)
    assert curve(events, f"{TAG}/adc_bits=6/mean") == {0: 0.6, 100: 0.5}
    assert curve(events, f"{TAG}/adc_bits=8/mean") == {0: 0.8, 100: 0.7}
    shown = charts(events)
    title = "accuracy (x = random noise in millipercent)"
    assert list(shown) == [f"{title}, adc_bits=6", f"{title}, adc_bits=8", title]
    tags = [tag for tag in events.Tags()["scalars"] for each in shown[title].multiline.tag if re.search(each, tag)]
    assert tags == [f"{TAG}/adc_bits=6/mean", f"{TAG}/adc_bits=8/mean"]


def test_thirty_chips_are_one_run_with_a_band_and_a_histogram(tmp_path: Path) -> None:
    write(tmp_path, [simulated(0.5 + c / 100 - n, random_noise=n, chip=c) for n in (0, 0.1) for c in range(30)])
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    events = read_events(tmp_path)
    assert curve(events, f"{TAG}/mean") == {0: 0.645, 100: 0.545}
    assert curve(events, f"{TAG}/low") == {0: 0.5, 100: 0.4}
    assert curve(events, f"{TAG}/high") == {0: 0.79, 100: 0.69}
    assert sorted(events.Tags()["histograms"]) == [
        "sweep/accuracy_of_chips,random_noise=0", "sweep/accuracy_of_chips,random_noise=0.1",
    ]  # fmt: skip


def test_writing_again_replaces_the_run_and_nothing_else(tmp_path: Path) -> None:
    training = tmp_path / "events.out.tfevents.1.host.training"
    training.write_bytes(b"")
    for accuracy in (0.5, 0.9):
        write(tmp_path, [simulated(accuracy, random_noise=0.1)])
    assert training.exists()
    (path,) = tmp_path.glob("*.sweep")
    assert [event.value for event in read_events(path).Scalars(f"{TAG}/mean")] == [pytest.approx(0.9)]


@pytest.mark.parametrize(
    ("axis", "values", "tag", "steps"),
    [
        ("random_noise", [0, 0.05, 0.1], TAG, [0, 50, 100]),
        ("random_noise", [0, 0.0001], "sweep/accuracy_vs_place_of_random_noise", [0, 1]),
        ("random_noise", [0, "0.5 lsb", "1 LSB"], "sweep/accuracy_vs_random_noise_in_millilsb", [0, 500, 1000]),
        ("nonlinear_noise", ["0.5mV"], "sweep/accuracy_vs_nonlinear_noise_in_millimV", [500]),
        ("random_noise", [0.1, "1 lsb"], "sweep/accuracy_vs_place_of_random_noise", [0, 1]),
        ("adc_bits", [6, 7.0, 8], "sweep/accuracy_vs_adc_bits", [6, 7, 8]),
        ("adc_bits", [6, 8, None], "sweep/accuracy_vs_place_of_adc_bits", [0, 1, 2]),
        ("full_scale_mv", [0.7, 0.9], "sweep/accuracy_vs_full_scale_mv_in_thousandths", [700, 900]),
        ("digital_adc", [False, True], "sweep/accuracy_vs_place_of_digital_adc", [0, 1]),
    ],
)
def test_steps_are_integers_that_the_tag_explains(axis, values, tag, steps):
    found_tag, found = scalar_steps(axis, values)
    assert (found_tag, list(found.values())) == (tag, steps)


def steps_of(curves: Curves) -> dict[str, list[tuple[int, float]]]:
    return {tag.partition("/accuracy_vs_energy_in_nanojoules/")[2]: [(step, row.accuracy) for step, row in points]
            for tag, points in curves.items()}  # fmt: skip


def test_the_points_that_no_other_betters_are_a_curve_under_each_noise() -> None:
    assert steps_of(energy_curves(of_adc())) == {
        "random_noise=0": [(3000, 0.75), (3500, 0.92)],
        "random_noise=0.1": [(3000, 0.25), (3500, 0.8), (4000, 0.9175)],
    }


def test_where_energies_are_equal_all_noises_and_the_digital_macro_are_shown() -> None:
    energies = {"energy_uj": 2.956, "all_digital_uj": 0.342, "all_digital_uj_low": 0.171, "all_digital_uj_high": 0.684}
    points = [point(right, {"random_noise": noise}, energies) for noise, right in ((0, 368), (0.1, 154))]
    assert steps_of(energy_curves(run(points))) == {
        "random_noise=0": [(2956, 0.92)], "random_noise=0.1": [(2956, 0.385)], "digital": [(342, 0.92)],
    }  # fmt: skip


def test_no_curve_without_energies_or_with_chips() -> None:
    assert axis_curves([*REFERENCES, *(simulated(0.9, chip=chip) for chip in range(3))], "chip") == {}
    assert energy_curves(of_adc(False)) == {}
    assert energy_curves(run([point(300 + chip, {"chip": chip}, {"energy_uj": 1.0}) for chip in range(3)])) == {}


def test_chips_that_are_equal_have_their_accuracy() -> None:
    # a rounded mean of 0.1, 0.1 and 0.1 lies above all three
    rows = [Result({"chip": chip}, "simulated", 1, 50, 0.1, 0.05, 0.2, 1, "native") for chip in range(3)]
    (found,) = over_chips(rows)
    assert (found.low, found.accuracy, found.high) == (0.1, 0.1, 0.1)
