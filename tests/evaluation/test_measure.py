"""Means and changes of outcomes as people and files see them."""

from math import inf, log

import pytest

from asim_lightning.classifier.outcome import OUTCOMES
from asim_lightning.evaluation.measure import Measure

SHARE, LOSS, PERPLEXITY = (Measure.of(OUTCOMES[name]) for name in ("accuracy", "loss", "perplexity"))


@pytest.mark.parametrize(
    ("measure", "mean", "shown", "plain"),
    [
        (SHARE, 0.885, "88.50 % [70.00, 95.00]", 0.885),
        (LOSS, 2.5, "2.5 [0.7, 0.95]", 2.5),
        (PERPLEXITY, log(20.784), "20.78 [2.014, 2.586]", 20.784),
    ],
)
def test_a_mean(measure: Measure, mean: float, shown: str, plain: float) -> None:
    assert f"{measure.quantity(mean)} {measure.interval(0.7, 0.95)}" == shown
    assert measure.plain(mean) == pytest.approx(plain)
    assert measure.mean_of(plain) == pytest.approx(mean)
    assert measure.interval(-inf, inf) == "no bounds"


@pytest.mark.parametrize(
    ("measure", "difference", "shown", "plain"),
    [
        (SHARE, -0.0123, "-1.23 points [-1.50, 0.50]", -0.0123),
        (LOSS, 0.5, "+0.5  [-0.015, 0.005]", 0.5),
        (PERPLEXITY, log(1.05), "+5.00 % [-1.49, 0.50]", 0.05),
    ],
)
def test_a_change(measure: Measure, difference: float, shown: str, plain: float) -> None:
    interval = measure.change_interval(-0.015, 0.005)
    assert f"{measure.change_text(difference, '+')} {measure.change_unit} {interval}" == shown
    assert measure.plain_change(difference) == pytest.approx(plain)
    assert measure.change_interval(0.0, inf) == "no bounds"


def test_a_logarithm_whose_exponential_is_no_float_is_infinite() -> None:
    assert (PERPLEXITY.text(1e4), PERPLEXITY.plain_change(1e4), PERPLEXITY.mean_of(0.0)) == ("inf", inf, -inf)


def test_measures_of_earlier_versions_are_read() -> None:
    given = {"name": "score", "more_is_better": False, "are_images": True, "note": ""}
    for is_share, shown_as in (True, "percent"), (False, "number"):
        assert Measure.of_json({**given, "is_share": is_share}) == Measure("score", shown_as, False)  # type: ignore
