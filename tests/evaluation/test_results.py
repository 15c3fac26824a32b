"""Values of an axis, and what a result refuses."""

import subprocess
import sys

import pytest

from asim_lightning.evaluation.results import PointResult, axis_text, distinct_values


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
        "import sys, asim_lightning.evaluation.record, asim_lightning.report.results_table; "
        "sys.exit(any(name.split('.')[0] == 'matplotlib' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
