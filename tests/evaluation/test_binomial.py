"""Bounds of a share hold with what they promise, and are the known ones."""

from fractions import Fraction
from itertools import chain, product
from math import comb

import numpy as np
import pytest

from asim_lightning.evaluation.binomial import (
    clopper_pearson,
    dkw,
    evidence_above,
    hypergeometric_interval,
    sequence_decides,
    sequence_interval,
)


@pytest.mark.parametrize(
    ("good", "total", "low", "high"), [(45, 50, 0.782, 0.967), (190, 200, 0.910, 0.976), (200, 200, 0.982, 1)]
)
def test_clopper_pearson_is_the_known_one(good: int, total: int, low: float, high: float) -> None:
    found = clopper_pearson(good, total)
    assert found == pytest.approx((low, high), abs=5e-4)
    assert clopper_pearson(total - good, total) == pytest.approx((1 - found[1], 1 - found[0]), abs=1e-12)


@pytest.mark.parametrize(("share", "total"), [(0.90, 43), (0.95, 88), (0.99, 449)])
def test_the_sequence_decides_for_all_good_ones_at_the_known_number(share: float, total: int) -> None:
    assert all(sequence_decides(seen, seen, share) is None for seen in range(total))
    assert sequence_decides(total, total, share) is True
    assert sequence_decides(0, total, 1 - share) is False


def test_where_the_sequence_decides_so_does_the_interval_of_a_fixed_number() -> None:
    for total, share in product(range(2, 201, 9), (0.5, 0.7, 0.9, 0.95)):
        for good in range(total + 1):
            (low, high), decided = clopper_pearson(good, total), sequence_decides(good, total, share)
            assert decided is None or (low >= share if decided else high < share)


def test_evidence_is_the_integral_that_it_says() -> None:
    good, total, share = 17, 20, 0.7
    y = np.linspace(share, 1, 200_001)
    likelihood = y**good * (1 - y) ** (total - good)
    integral = (likelihood[1:] + likelihood[:-1]).sum() / 2 * (y[1] - y[0])
    expected = integral / ((1 - share) * share**good * (1 - share) ** (total - good))
    assert np.exp(evidence_above(good, total, share)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("good", "total"), [(0, 3), (1, 1), (45, 50), (250, 500), (500, 500)])
def test_the_interval_has_the_ends_at_which_the_sequence_decides(good: int, total: int) -> None:
    low, high = sequence_interval(good, total)
    assert 0 <= low <= good / total <= high <= 1
    for end, decided in ((low, True), (high, False)):
        if 0 < end < 1:
            inside = 1e-6 if decided else -1e-6
            assert sequence_decides(good, total, end - inside) is decided
            assert sequence_decides(good, total, end + inside) is None


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_coins_that_are_looked_at_after_every_throw(share: float) -> None:
    """Of 600 runs of 200 chips, each side is ever wrong in 5 % at most."""
    good = np.cumsum(np.random.default_rng(0).random((600, 200)) < share, axis=1)
    looks = [*range(2, 40), *range(40, 201, 5)]
    runs = [[(int(run[total - 1]), total) for total in looks] for run in good]
    decided = {pair: sequence_decides(*pair, share) for pair in set(chain(*runs))}
    for wrong in (True, False):
        assert np.mean([any(decided[pair] is wrong for pair in run) for run in runs]) < 0.05 + 3 * 0.009


def test_the_band_of_a_whole_curve() -> None:
    assert dkw(50) == pytest.approx(np.sqrt(np.log(40) / 100))


def by_sums(right: int, seen: int, total: int) -> tuple[int, int]:
    """The kept totals in exact fractions, by sums over the beta-binomial's definition as a mixture."""

    def mixture(k: int, n: int, a: int, b: int) -> Fraction:
        def beta(x: int, y: int) -> Fraction:
            return Fraction(1, (x + y - 1) * comb(x + y - 2, x - 1))

        return comb(n, k) * beta(k + a, n - k + b) / beta(a, b)

    kept = [
        whole
        for whole in range(right, right + total - seen + 1)
        if mixture(whole, total, 1, 1) / mixture(whole - right, total - seen, 1 + right, 1 + seen - right) < 20
    ]
    return min(kept), max(kept)


@pytest.mark.parametrize(("right", "seen", "total"), [(0, 1, 10), (9, 10, 30), (30, 30, 40), (7, 12, 25), (20, 40, 40)])
def test_the_interval_of_some_images_is_that_of_exact_fractions(right: int, seen: int, total: int) -> None:
    low, high = by_sums(right, seen, total)
    found = hypergeometric_interval(right, seen, total)
    assert found.mean == right / seen
    assert found.low == pytest.approx(min(low / total, right / seen))
    assert found.high == pytest.approx(max(high / total, right / seen))


def test_all_images_leave_no_doubt_and_none_all() -> None:
    found, none = hypergeometric_interval(3, 4, 4), hypergeometric_interval(0, 0, 7)
    assert (found.low, found.high) == (0.75, 0.75)
    assert (none.low, none.high) == (0.0, 1.0)
