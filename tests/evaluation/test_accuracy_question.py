"""The sequence that ends images early is right as often as it says, and questions are read as they are written."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from asim_lightning.evaluation.accuracy_question import AccuracyQuestion, hypergeometric_interval


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
def test_interval_is_that_of_exact_fractions(right: int, seen: int, total: int) -> None:
    low, high = by_sums(right, seen, total)
    found = hypergeometric_interval(right, seen, total)
    assert found.mean == right / seen
    assert found.low == pytest.approx(min(low / total, right / seen))
    assert found.high == pytest.approx(max(high / total, right / seen))


def test_all_images_leave_no_doubt_and_none_all() -> None:
    assert hypergeometric_interval(3, 4, 4) == hypergeometric_interval(3, 4, 4)
    found = hypergeometric_interval(3, 4, 4)
    assert (found.low, found.high) == (0.75, 0.75)
    none = hypergeometric_interval(0, 0, 7)
    assert (none.low, none.high) == (0.0, 1.0)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_truth_is_ever_outside_in_one_run_of_twenty_at_most(share: float) -> None:
    rng, total, outside, runs = np.random.default_rng(1), 60, 0, 400
    answers = np.arange(total) < round(share * total)
    truth = answers.mean()
    known: dict[tuple[int, int], bool] = {}
    for _ in range(runs):
        right = np.cumsum(rng.permutation(answers))
        for seen in range(1, total + 1):
            key = int(right[seen - 1]), seen
            if key not in known:
                found = hypergeometric_interval(*key, total)
                known[key] = found.low - 1e-9 <= truth <= found.high + 1e-9
            if not known[key]:
                outside += 1
                break
    assert outside <= 0.05 * runs + 3 * (runs * 0.05 * 0.95) ** 0.5


def test_answers() -> None:
    at_least, within = AccuracyQuestion.read("accuracy 90 %"), AccuracyQuestion.read("accuracy within 10 %")
    assert at_least.answer(200, 200, 400) is True
    assert at_least.answer(100, 200, 400) is False
    assert at_least.answer(180, 200, 400) is None
    assert within.answer(10, 20, 400) is None
    assert within.answer(200, 400, 400) is True
    correct = np.ones(400, dtype=bool)
    stop = at_least.images(correct, 400)
    assert stop is not None
    assert stop < 400
    assert at_least.answer(stop, stop, 400) is True
    assert at_least.answer(stop - 4, stop - 4, 400) is None
    assert at_least.images(correct[: stop - 1], 400) is None
    half = np.arange(400) % 10 > 0  # 90 % all along, so that nothing decides
    assert at_least.images(half, 400) == 400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("accuracy 90 %", AccuracyQuestion(share=0.9)),
        ("accuracy 90%", AccuracyQuestion(share=0.9)),
        ("accuracy within 2 %", AccuracyQuestion(width=0.02)),
        ("accuracy within 0.02", AccuracyQuestion(width=0.02)),
        ("accuracy 0.02", AccuracyQuestion(width=0.02)),
    ],
)
def test_questions_are_read(text: str, expected: AccuracyQuestion) -> None:
    assert AccuracyQuestion.read(text) == expected
    assert AccuracyQuestion.read(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accuracy", "`until` must be as in 'accuracy 90 %'"),
        ("accuracy 9.0.5 %", "`until` must be as in 'accuracy 90 %'"),
        ("accuracy 0.9", r"an accuracy to reach has a %, as in 'accuracy 90 %'\), got 'accuracy 0.9'"),
        ("accuracy within 0 %", "must be above 0 and at most 0.5"),
        ("accuracy 100 %", "must be between 0 % and 100 %, got 'accuracy 100 %'"),
        ("accuracy 120 %", "must be between 0 % and 100 %"),
    ],
)
def test_what_is_no_question(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AccuracyQuestion.read(text)
