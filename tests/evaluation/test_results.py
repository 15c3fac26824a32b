"""Values of an axis, and the lines that points form."""

import subprocess
import sys

import pytest

from asim_lightning.evaluation.results import PointResult, axis_text, distinct_values, sweep_lines


def point(kind="simulated", accuracy=0.9, low=0.88, high=0.92, **axes):
    return PointResult(axes, kind, 2, 100, accuracy, low, high, 1.0, "exact")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (False, "false"), (8, "8"), (8.0, "8"), (0.05, "0.05"), ("0.5 lsb", "0.5 lsb")],
)
def test_axis_text(value, text):
    assert axis_text(value) == text


def test_distinct_values_puts_numbers_first_and_rising():
    assert distinct_values([8, None, 0.1, "b", 8.0, "a", None, 6, True, "8"]) == [0.1, 6, 8, None, "b", "a", True, "8"]


def test_lines_are_the_combinations_of_the_other_axes():
    rows = [point("float"), *(point(random_noise=n, adc_bits=b, votes=3) for n in (0.1, 0) for b in (8, None))]
    lines = sweep_lines(rows, "random_noise")
    assert [others for others, _ in lines] == [{"adc_bits": 8}, {"adc_bits": None}]  # votes are the same everywhere
    assert [[row.axes["random_noise"] for row in line] for _, line in lines] == [[0, 0.1], [0, 0.1]]


def test_one_line_needs_no_name():
    assert [others for others, _ in sweep_lines([point(random_noise=0), point(random_noise=1)], "random_noise")] == [{}]


def test_unknown_axis_names_the_known():
    with pytest.raises(ValueError, match=r"\(random_noise, votes\), got 'rows'"):
        sweep_lines([point(random_noise=0, votes=1)], "rows")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "exact"}, "one of float, quantized, simulated, got 'exact'"),
        ({"low": 0.95}, "rise within 0..1"),
        ({"high": 1.5}, "rise within 0..1"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        point(**changes)


def test_reading_a_record_needs_no_matplotlib():
    code = (
        "import sys, asim_lightning.sweep.record, asim_lightning.report.results_table; "
        "sys.exit(any(name.split('.')[0] == 'matplotlib' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
