"""Bounds of a share from good ones of so many: Clopper and Pearson's, and a sequence's, which may stop early.

Both follow from the binomial distribution's sums, as an incomplete beta function of integers is one:
``integral of y^a (1-y)^(t-a) over share..1 / B(a + 1, t - a + 1) = P(Binomial(t + 1, share) <= a)``.
"""

from collections.abc import Callable
from math import lgamma, log, log1p, sqrt

import numpy as np
from numpy.typing import NDArray

from asim_lightning.checks import check_whole

_HALVINGS = 60
"""Of an interval of 0..1, down to the last bit of a float."""


def clopper_pearson(good: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share, for a number of trials that was fixed before.

    Its ends are the shares at which so many good ones or more, and so many or fewer, have probability (1 - level) / 2.

    Args:
        good: Good ones: 0..total.
        total: Trials: 1 or more.
        level: Share of intervals that hold the true share at least, between 0 and 1.

    Raises:
        ValueError: `good` or `total` is not allowed.
    """
    _check(good, total)
    tail = log((1.0 - level) / 2.0)

    def least(good: int) -> float:
        # P(X >= good; p) = P(X <= total - good; 1 - p), rising in p
        return _largest(lambda p: _log_at_most(total - good, total, 1.0 - p) <= tail) if good else 0.0

    return least(good), 1.0 - least(total - good)


def dkw(total: int, level: float = 0.95) -> float:
    """Half width of the band that holds a whole distribution function: ``sqrt(ln(2 / (1 - level)) / (2 total))``."""
    return sqrt(log(2.0 / (1.0 - level)) / (2.0 * total))


def evidence_above(good: int, total: int, share: float) -> float:
    """How much better shares above one explain what was seen, as a natural logarithm.

    ``integral of y^a (1-y)^(t-a) dy over share..1 / ((1 - share) share^a (1 - share)^(t-a))`` with a good ones of t.
    While the true share is at most this one, it exceeds 1/alpha with probability alpha at most, however often one looks
    (Ville's inequality): it is a nonnegative supermartingale of mean 1 at most.

    Args:
        good: Good ones: 0..total.
        total: Trials so far: 0 or more.
        share: The share, between 0 and 1.
    """
    below, above = log(share), log1p(-share)
    whole = lgamma(good + 1) + lgamma(total - good + 1) - lgamma(total + 2)  # of the integral over 0..1
    return whole + _log_at_most(good, total + 1, share) - above - good * below - (total - good) * above


def evidence_below(good: int, total: int, share: float) -> float:
    """How much better shares below one explain what was seen, as `evidence_above`."""
    return evidence_above(total - good, total, 1.0 - share)


def sequence_decides(good: int, total: int, share: float, alpha: float = 0.05) -> bool | None:
    """Whether the true share is at least a share; None while the chips so far do not decide.

    It may be asked after every trial: a decision is wrong with probability alpha at most.

    Args:
        good: Good ones: 0..total.
        total: Trials so far: 0 or more.
        share: The share, between 0 and 1.
        alpha: Probability of a wrong decision at most.
    """
    if evidence_above(good, total, share) > -log(alpha):
        return True
    return False if evidence_below(good, total, share) > -log(alpha) else None


def sequence_interval(good: int, total: int, alpha: float = 0.05) -> tuple[float, float]:
    """Both ends of the sequence that `sequence_decides` asks: each holds at all numbers of trials at once.

    Args:
        good: Good ones: 0..total.
        total: Trials so far: 1 or more.
        alpha: Probability that an end is ever on the wrong side, at most.

    Raises:
        ValueError: `good` or `total` is not allowed.
    """
    _check(good, total)

    def least(good: int) -> float:
        # the evidence falls with the share up to good / (total + 1), from where it is 1 at most
        scale = good / (total + 1)
        return scale * _largest(lambda part: evidence_above(good, total, scale * part) > -log(alpha)) if good else 0.0

    return least(good), 1.0 - least(total - good)


def _check(good: int, total: int) -> None:
    check_whole("`total`", total, 1, None)
    check_whole("`good`", good, 0, total)


def _largest(holds: Callable[[float], bool]) -> float:
    """The number of 0..1 up to which something holds."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _log_at_most(most: int, total: int, share: float) -> float:
    """Logarithm of ``P(Binomial(total, share) <= most)``."""
    if most >= total or share <= 0.0:
        return 0.0
    if share >= 1.0:
        return float("-inf")
    count = np.arange(most + 1)
    terms = _log_choices(total)[: most + 1] + count * log(share) + (total - count) * log1p(-share)
    top = float(terms.max())
    return min(top + log(float(np.exp(terms - top).sum())), 0.0)


def _log_choices(total: int) -> NDArray[np.float64]:
    """Logarithms of the binomial coefficients. # (total + 1,)"""
    count = np.arange(1, total + 1)
    return np.concatenate([[0.0], np.cumsum(np.log(total + 1 - count) - np.log(count))])
