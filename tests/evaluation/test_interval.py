"""Intervals hold the truth, also where trials of an image agree and where nothing is wrong."""

from collections.abc import Callable

import numpy as np
import pytest

from asim_lightning.evaluation.interval import difference_interval, mean_interval, of_units, student


def draws(accuracy: float, agreement: str, rng: np.random.Generator) -> np.ndarray:
    """200 experiments of 200 images and 5 trials, shape (experiments, images, trials), at one true accuracy."""
    shape = (200, 200, 5)
    if agreement == "independent":
        return rng.random(shape) < accuracy
    if agreement == "identical":
        return np.repeat(rng.random((*shape[:2], 1)) < accuracy, shape[2], axis=2)
    difficulty = rng.beta(0.5 * accuracy, 0.5 * (1 - accuracy), (*shape[:2], 1))
    return rng.random(shape) < difficulty


@pytest.mark.parametrize("agreement", ["independent", "correlated", "identical"])
@pytest.mark.parametrize("accuracy", [0.1, 0.5, 0.9, 0.99])
def test_at_least_90_percent_of_intervals_hold_the_truth(accuracy, agreement):
    experiments = draws(accuracy, agreement, np.random.default_rng(20261124))
    found = [mean_interval(correct, True) for correct in experiments]
    low, high = np.array([one.low for one in found]), np.array([one.high for one in found])
    assert np.mean((low <= accuracy) & (accuracy <= high)) >= 0.90
    # No wider than what one trial alone would say, of which Wilson's interval is the yardstick.
    assert np.mean(high - low) < 1.15 * 2 * 1.96 * np.sqrt(accuracy * (1 - accuracy) / 200 + 1 / 200**2)


Draw = Callable[[np.random.Generator, int], np.ndarray]
SHARES: dict[str, tuple[Draw, float]] = {
    "beta 8 1": (lambda rng, n: rng.beta(8, 1, n), 8 / 9),
    "63 tokens": (lambda rng, n: rng.binomial(63, rng.beta(2, 1, n)) / 63, 2 / 3),
}
NUMBERS: dict[str, tuple[Draw, float]] = {
    "exponential": (lambda rng, n: rng.exponential(1, n), 1.0),
    "lognormal": (lambda rng, n: rng.lognormal(0, 1.5, n), float(np.exp(1.125))),
}


def coverage(drawn: tuple[Draw, float], samples: int, is_share: bool, runs: int = 300) -> float:
    rng, (draw, mean) = np.random.default_rng(20261201), drawn
    found = [mean_interval(draw(rng, samples)[:, None], is_share) for _ in range(runs)]
    return sum(one.low <= mean <= one.high for one in found) / runs


# 300 runs tell 2 points; the docstring has the coverage of 2,000
@pytest.mark.parametrize(
    ("numbers", "samples", "least"),
    [("beta 8 1", 30, 0.91), ("63 tokens", 30, 0.91), ("exponential", 30, 0.91), ("lognormal", 10, 0.84),
     ("lognormal", 100, 0.84)],
)  # fmt: skip
def test_intervals_of_other_numbers_hold_the_truth(numbers: str, samples: int, least: float) -> None:
    assert coverage({**SHARES, **NUMBERS}[numbers], samples, numbers in SHARES) >= least


@pytest.mark.parametrize("samples", [2, 3])
def test_few_numbers_without_bounds_have_students_interval(samples: int) -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(size=(400, samples))
    found = [mean_interval(each[:, None], False) for each in values]
    missed = np.mean([not one.low <= 0 <= one.high for one in found])
    assert missed <= 0.08  # 5 % by Student's; 31 and 9 % without
    for each, one in zip(values, found, strict=True):
        half = student(samples - 1) * each.std(ddof=1) / np.sqrt(samples)
        assert one.low <= each.mean() - half + 1e-12
        assert one.high >= each.mean() + half - 1e-12


def test_samples_that_belong_together_are_resampled_together() -> None:
    """24 groups of ten: the interval is that of 24 numbers, and not of 240."""
    rng = np.random.default_rng(7)
    groups = rng.permutation(np.arange(240) % 24)
    values = rng.normal(size=24)[groups] + 0.1 * rng.normal(size=240)
    units = of_units(values, groups=groups)
    assert units == pytest.approx([values[groups == each].mean() for each in range(24)])
    alone, together = (mean_interval(each[:, None], False) for each in (values, units))
    assert together.mean == pytest.approx(alone.mean)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_units_of_unequal_weights_have_the_error_of_a_ratio() -> None:
    rng = np.random.default_rng(8)
    values, weights, groups = rng.normal(1, 1, 600), rng.integers(1, 9, 600), np.sort(rng.integers(0, 60, 600))
    units = of_units(values, weights, groups)
    assert units.mean() == pytest.approx(np.average(values, weights=weights))
    means = []  # the same, by drawing groups
    for _ in range(2000):
        drawn = np.concatenate([np.flatnonzero(groups == each) for each in rng.integers(0, 60, 60)])
        means.append(np.average(values[drawn], weights=weights[drawn]))
    assert units.std(ddof=1) / np.sqrt(60) == pytest.approx(np.std(means), rel=0.08)
    assert of_units(values) is values


@pytest.mark.parametrize("factor", [1e-4, 1000.0])
def test_the_unit_of_a_loss_is_no_matter(factor: float) -> None:
    rng = np.random.default_rng(3)
    loss = rng.exponential(0.5, (64, 2))
    one, other = (mean_interval(each * loss, False) for each in (1.0, factor))
    assert (other.low, other.high) == pytest.approx((factor * one.low, factor * one.high))
    one, other = (difference_interval(each * loss[:, :1], each * loss[:, 1:], False) for each in (1.0, factor))
    assert (other.low, other.high) == pytest.approx((factor * one.low, factor * one.high))
    binary = rng.integers(0, 2, (64, 1))  # right or wrong only by chance: it has no bounds
    assert mean_interval(binary, False) != mean_interval(binary, True)


@pytest.mark.parametrize("is_share", [True, False])
def test_pairs_of_shares_of_a_sample_are_as_wide_as_by_hand(is_share: bool) -> None:
    """64 windows of 63 tokens, of which a few turn."""
    rng = np.random.default_rng(4)
    before = rng.binomial(63, rng.beta(2, 1, 64)) / 63
    after = before + rng.choice([-2, -1, 0, 1], 64) / 63
    found, change = difference_interval(after[:, None], before[:, None], is_share), after - before
    half = student(63) * change.std(ddof=1) / 8
    assert (found.low, found.high) == pytest.approx((change.mean() - half, change.mean() + half), abs=half / 10)
    assert found.differing is None


def test_few_differences_widen() -> None:
    before = np.random.default_rng(5).exponential(1, (400, 1))
    for few in 1, 3, 9, 10:
        after = before.copy()
        after[:few] += 0.3
        loss, share = (difference_interval(after, before, is_share) for is_share in (False, True))
        assert loss.differing == share.differing == (few if few < 10 else None)
        more = np.append(after - before, [0.3, -0.3])
        half = student(401) * more.std(ddof=1) / np.sqrt(402)
        is_widened = loss.low <= more.mean() - half + 1e-12 and loss.high >= more.mean() + half - 1e-12
        assert is_widened == (few < 10)
        assert (share.low < 0) == (few < 10)  # half an image lost
    same = difference_interval(before, before, False)
    assert (same.mean, same.low, same.high, same.differing) == (0.0, -np.inf, np.inf, 0)
    assert mean_interval(np.ones((400, 1)), False).differing == 0
    alike = mean_interval(np.append(np.full(395, 0.5), np.arange(5))[:, None], False)
    assert alike.differing == 5
    assert alike.high - alike.mean > 0.02  # as if one more sample was 4 away


def test_many_different_numbers_give_the_interval_of_their_mean():
    values = np.random.default_rng(4).random((5000, 1))
    found = mean_interval(values, True)
    half = 1.96 * values.std() / np.sqrt(5000)
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=half / 10)


def test_agreeing_trials_add_no_certainty_and_independent_ones_do():
    rng = np.random.default_rng(1)
    one = rng.random((400, 1)) < 0.7
    alone = mean_interval(one, True)
    agreeing = mean_interval(np.repeat(one, 16, axis=1), True)
    independent = mean_interval(rng.random((400, 16)) < 0.7, True)
    assert (agreeing.mean, agreeing.low, agreeing.high) == pytest.approx((alone.mean, alone.low, alone.high))
    assert independent.high - independent.low == pytest.approx((alone.high - alone.low) / 4, rel=0.2)


def test_equals_the_plain_bootstrap_over_rows():
    rng = np.random.default_rng(2)
    correct = rng.random((300, 4)) < rng.beta(2, 1, (300, 1))
    rows = rng.integers(0, 300, (4000, 300))
    low, high = np.quantile(correct.mean(axis=1)[rows].mean(axis=1), [0.025, 0.975])
    found = mean_interval(correct, True)
    assert found.mean == pytest.approx(correct.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.003)


@pytest.mark.parametrize("right", [True, False])
def test_all_alike_gives_wilsons_interval(right):
    found = mean_interval(np.full((200, 3), right), True)
    reach = 1.959964**2 / (200 + 1.959964**2)
    expected = (1.0, 1.0 - reach, 1.0) if right else (0.0, 0.0, reach)
    assert (found.mean, found.low, found.high) == pytest.approx(expected, abs=1e-6)


def test_images_alike_at_one_half_are_not_certain():
    found = mean_interval(np.tile([True, False], (150, 1)), True)
    assert found.mean == 0.5
    assert found.high - found.low > 0.15


def wilson(right: float, images: int) -> tuple[float, float]:
    share, z = right / images, 1.959964
    reach = z * np.sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2)
    middle = share + z * z / (2 * images)
    return (middle - reach) / (1 + z * z / images), (middle + reach) / (1 + z * z / images)


# 10 of either answer and 100 images tell enough for the bootstrap alone; 16 trials of an image count as one answer
@pytest.mark.parametrize("few", ["wrong", "right"])
@pytest.mark.parametrize(
    ("answers", "images", "trials", "widened"),
    [(9, 200, 1, True), (10, 200, 1, False), (20, 99, 1, True), (20, 100, 1, False), (144, 200, 16, True),
     (176, 200, 16, False)],
)  # fmt: skip
def test_few_answers_or_images_widen_to_wilsons_interval(few, answers, images, trials, widened):
    correct = np.zeros((images, trials), bool)
    correct[:answers, 0] = True
    found = mean_interval(correct if few == "right" else ~correct, True)
    low, high = wilson(answers / trials, images)
    low, high = (low, high) if few == "right" else (1 - high, 1 - low)
    assert bool(found.low <= low + 1e-6 and found.high >= high - 1e-6) is widened


def test_one_image_leaves_almost_everything_open():
    found = mean_interval(np.array([[1]], dtype=np.uint8), True)
    assert found.low < 0.25
    assert found.high == 1.0


def test_the_same_answers_give_the_same_interval():
    correct = np.random.default_rng(3).random((2000, 5)) < 0.8
    assert mean_interval(correct, True) == mean_interval(correct.astype(np.uint8), True)


@pytest.mark.parametrize(
    ("correct", "message"),
    [
        (np.ones(3, bool), r"shape \(samples, reads\).*got \(3,\)"),
        (np.ones((0, 3), bool), r"got \(0, 3\)"),
        (np.full((3, 1), np.nan), "finite numbers"),
        (np.full((3, 1), "right"), "finite numbers"),
    ],
)
def test_refuses(correct, message):
    with pytest.raises(ValueError, match=message):
        mean_interval(correct, True)


@pytest.mark.parametrize(("won", "lost"), [(0.05, 0.05), (0.01, 0.01), (0.02, 0.1), (0.0, 0.005)])
@pytest.mark.parametrize("trials", [1, 3])
def test_intervals_of_paired_differences_hold_the_truth(won: float, lost: float, trials: int) -> None:
    rng = np.random.default_rng(5)
    held = []
    for _ in range(200):
        before = rng.random((300, 1)) < 0.8
        flip = np.where(before, rng.random((300, 1)) < lost / 0.8, rng.random((300, 1)) < won / 0.2)
        found = difference_interval(np.repeat(before ^ flip, trials, 1), before, True)
        assert found.low <= found.mean <= found.high
        held.append(found.low <= won - lost <= found.high)
    assert np.mean(held) >= 0.92


def test_pairs_tell_more_than_two_intervals() -> None:
    rng = np.random.default_rng(1)
    before = rng.random((400, 1)) < 0.7
    after = before.copy()
    after[:4] = ~after[:4]
    found, alone = difference_interval(after, before, True), mean_interval(before, True)
    assert found.high - found.low < 0.3 * (alone.high - alone.low)
    same = difference_interval(before, before, True)
    assert same.mean == 0.0
    assert -0.02 < same.low < 0 < same.high < 0.02  # none of 400 is not none of all


def test_pairs_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^both answers must be to the same images, got 3 and 4 images$"):
        difference_interval(np.ones((3, 1), bool), np.ones((4, 1), bool), True)


def test_quantiles_of_student_are_those_of_tables() -> None:
    expected = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 9: 2.2622, 10: 2.2281, 30: 2.0423}
    assert {freedom: round(student(freedom), 4) for freedom in expected} == expected
