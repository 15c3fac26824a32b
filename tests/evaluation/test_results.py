"""Values of an axis, and what a result refuses."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from asim_lightning.evaluation.interval import mean_interval
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.results import (
    Outcomes,
    Result,
    agreement,
    axis_text,
    canonical_json,
    distinct_values,
    noise_unit,
)


def point(kind="simulated", accuracy=0.9, low=0.88, high=0.92, **axes):
    return Result(axes, kind, 2, 100, accuracy, low, high, 1.0, "exact")


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


@pytest.mark.parametrize("changes", [{"low": 0.95}, {"high": 1.5}])
def test_ends_of_an_interval_that_do_not_rise_are_refused(changes):
    with pytest.raises(ValueError, match="must rise within"):
        point(**changes)


def test_equal_values_give_one_text():
    given = {"b": (8.0, np.float64(0.5)), "a": None}
    assert canonical_json(given) == canonical_json({"a": None, "b": [8, 0.5]}) == '{"a":null,"b":[8,0.5]}'


def outcomes(index, right, seconds=2.0, algorithm="exact", predicted=True):
    index = np.array(index)
    return Outcomes(
        index, np.isin(index, right).astype(np.float32), seconds, algorithm, index % 3 if predicted else None
    )


def test_a_trial_is_joined_from_two_parts_and_the_first_ones_outcomes_stay():
    found = outcomes([1, 4], [4]).joined(outcomes([0, 1, 2, 4], [0, 1], 1.0, "events"))
    assert found.sample_index.tolist() == [0, 1, 2, 4]
    assert found.numbers.tolist() == [True, False, False, True]
    assert found.prediction.tolist() == [0, 1, 2, 1]
    assert (found.seconds, found.algorithm) == (3.0, "exact+events")
    assert outcomes([1], []).joined(outcomes([2], [], predicted=False)).prediction is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("An image, or 400 images; Images ended", "A sample, or 400 samples; Samples ended"),
        ("the images' mean of an image", "the samples' mean of a sample"),
        (
            "`images` --images test_images runs/images/images.csv",
            "`images` --images test_images runs/images/images.csv",
        ),
        ("accuracy on all images of runs/accuracy", "next token on all samples of runs/accuracy"),
    ],
)
def test_words_of_a_measure_leave_names_of_files_and_settings(text, expected):
    measure = Measure("next token", are_images=False)
    assert measure.words(text) == measure.words(expected) == expected
    assert Measure().words(text) == text


def test_a_part_of_a_trial_has_its_share_of_the_time():
    whole = outcomes([0, 2, 5, 7], [5])
    part = whole.part(np.array([5, 0]))
    assert (part.sample_index.tolist(), part.numbers.tolist(), part.prediction.tolist()) == (
        [0, 5],
        [False, True],
        [0, 2],
    )
    assert part.seconds == 1.0
    assert whole.part(np.array([7, 5, 2, 0])) is whole
    with pytest.raises(ValueError, match="must have all of 2 images, and lacks 1"):
        whole.part(np.array([0, 4]))


def test_agreement_is_of_counted_tokens_and_a_mean_over_reads():
    whole = replace(outcomes(range(3), []), prediction=np.array([[1, 2, 3], [4, 5, -1], [9, 9, 9]]))
    some = [
        replace(outcomes([0, 1], []), prediction=np.array(tokens))
        for tokens in ([[1, 2, 3], [4, 0, -1]], [[1, 0, 0], [4, 5, -1]])
    ]
    assert agreement(some, whole) == pytest.approx((4 / 5 + 3 / 5) / 2)
    assert agreement(some, outcomes(range(3), [])) is None  # of classes
    idle = replace(outcomes(range(2), []), prediction=np.full((2, 3), -1))
    assert agreement([idle], idle) is None


def test_windows_count_by_their_tokens():
    tokens = np.array([[1, 2, 3, 4], [5, -1, -1, -1], [6, 7, -1, -1]])  # four, one and two count
    trial = Outcomes(np.arange(3), np.array([1, 8, 3], np.float32), 1.0, "exact", tokens)
    loss = Measure("perplexity", "exponential", more_is_better=False)
    found = Result.of({}, "simulated", [trial, replace(trial, value=trial.value + np.float32(1))], loss)
    assert found.accuracy == pytest.approx((4 * 1 + 8 + 2 * 3) / 7 + 0.5)
    assert found.sums == pytest.approx((3 * 18 / 7, 3 * 25 / 7))
    alike = replace(trial, prediction=np.where(tokens > 0, tokens, 0))
    assert Result.of({}, "simulated", [alike], loss).accuracy == 4.0


def test_samples_of_a_group_are_resampled_together():
    value = np.repeat(np.random.default_rng(0).random(20), 5).astype(np.float32)
    alone = Outcomes(np.arange(100), value, 1.0, "exact")
    whole = alone.grouped(np.arange(100) // 5)
    one, other = (Result.of({}, "simulated", [each]) for each in (alone, whole))
    assert (one.images, one.accuracy) == (other.images, pytest.approx(other.accuracy))
    assert other.high - other.low > 2 * (one.high - one.low)
    assert whole.part(np.arange(50, 60)).group.tolist() == [10] * 5 + [11] * 5
    assert alone.grouped(None) is alone


def test_a_result_is_of_all_trials():
    trials = [outcomes(range(120), range(wrong, 120), 1.5, name) for wrong, name in ((20, "exact"), (30, "events"))]
    found = Result.of({"adc_bits": 8}, "simulated", trials)
    interval = mean_interval(np.stack([each.numbers for each in trials], axis=1), True)
    assert (found.accuracy, found.low, found.high) == (interval.mean, interval.low, interval.high)
    assert (found.trials, found.images, found.seconds, found.algorithm) == (2, 120, 3.0, "exact+events")
    assert found.right == (100, 90)
    with pytest.raises(ValueError, match="trials of simulated at adc_bits 8 must see the same images"):
        Result.of({"adc_bits": 8}, "simulated", [trials[0], outcomes(range(1, 121), [])])


@pytest.mark.process
def test_reading_a_run_needs_no_matplotlib():
    code = (
        "import sys, asim_lightning.evaluation.run, asim_lightning.report.results_table; "
        "sys.exit(any(name.split('.')[0] == 'matplotlib' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
