"""Values of an axis, and what a result refuses."""

import subprocess
import sys

import pytest

from asim_lightning.evaluation.results import PointResult, axis_text, distinct_values, noise_unit


def point(kind="simulated", accuracy=0.9, low=0.88, high=0.92, **axes):
    return PointResult(axes, kind, 2, 100, accuracy, low, high, 1.0, "exact")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"), (True, "true"), (False, "false"), (8, "8"), (8.0, "8"), (0.05, "0.05"), ("0.5 lsb", "0.5 lsb"),
        (1e14, "100000000000000"), (1e15, "1000000000000000.0"), (1e300, "1e+300"),
        ({"b": 1, "a": 2}, '{"a": 2, "b": 1}'),
    ],
)  # fmt: skip
def test_axis_text(value, text):
    assert axis_text(value) == text


def test_distinct_values_puts_numbers_first_and_rising():
    assert distinct_values([8, None, 0.1, "b", 8.0, "a", None, 6, True, "8"]) == [0.1, 6, 8, None, "b", "a", True, "8"]


def test_a_word_and_what_it_stands_for_are_two_values():
    assert distinct_values(["true", True, "null", None, "8", 8]) == [8, "true", True, "null", None, "8"]


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ((0, 0.1), "%"), ((0, "0.3 lsb"), "lsb"), (("1 mV", 0, "2 mV"), "mV"), ((0.1, "0.3 lsb"), None), ((), "%"),
        ((0,), "%"), (("1 lsb", "1 mV"), None),
    ],
)  # fmt: skip
def test_zero_has_the_unit_of_the_other_noises(values, unit):
    assert noise_unit(values) == unit


@pytest.mark.parametrize("right", [(-1, 3), (3, 101), (3,), (3, 4, 5)])
def test_right_answers_of_no_trial_are_refused(right):
    with pytest.raises(ValueError, match=r"`right` must hold 0\.\.100 for each of 2 trials, got"):
        PointResult({}, "simulated", 2, 100, 0.5, 0.4, 0.6, 1.0, "exact", right)


def test_right_answers_may_be_none_and_all():
    assert PointResult({}, "simulated", 2, 100, 0.5, 0.4, 0.6, 1.0, "exact", (0, 100)).right == (0, 100)


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
