"""Bounds of a share from counts: Clopper and Pearson's, and a sequential bound, which may stop early.

Both follow from binomial sums, because the incomplete beta function of integers is such a sum:
``integral of y^a (1-y)^(t-a) over share..1 / B(a + 1, t - a + 1) = P(Binomial(t + 1, share) <= a)``.
"""

from math import inf, log, log1p, sqrt

import numpy as np

# not scipy.stats, it takes four times as long to import
from scipy.special import bdtr, betaincinv, betaln

from asim_lightning.evaluation.interval import Interval


def clopper_pearson(good: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share, for a fixed number of trials.

    At its ends, counts as large or larger, and as small or smaller, have probability (1 - level) / 2.
    """

    def least(good: int) -> float:
        return float(betaincinv(good, total - good + 1, (1.0 - level) / 2.0)) if good else 0.0

    return least(good), 1.0 - least(total - good)


def dkw(total: int, level: float = 0.95) -> float:
    """Half width of the DKW band of a whole distribution function: ``sqrt(ln(2 / (1 - level)) / (2 total))``."""
    return sqrt(log(2.0 / (1.0 - level)) / (2.0 * total))


def evidence_above(good: int, total: int, share: float) -> float:
    """How much better shares above `share` explain the counts, as a natural logarithm.

    ``integral of y^a (1-y)^(t-a) dy over share..1 / ((1 - share) share^a (1 - share)^(t-a))`` with a good ones of t.
    If the true share is at most `share`, it exceeds 1/alpha with probability at most alpha, however often one looks
    (Ville's inequality): it is a nonnegative supermartingale of mean at most 1. It is -inf if the integral underflows,
    which only happens far on the other side of the share.
    """
    below, above = log(share), log1p(-share)
    part = float(bdtr(good, total + 1, share))  # as a part of the integral over 0..1
    if part == 0.0:
        return -inf
    whole = float(betaln(good + 1, total - good + 1))
    return whole + log(part) - above - good * below - (total - good) * above


def sequence_decides(good: int, total: int, share: float, alpha: float = 0.05) -> bool | None:
    """Whether the true share is at least `share`; None if the counts so far do not decide.

    You may ask after every trial: a decision is wrong with probability at most alpha.
    """
    if evidence_above(good, total, share) > -log(alpha):
        return True
    return False if evidence_above(total - good, total, 1.0 - share) > -log(alpha) else None


def sequence_interval(good: int, total: int, alpha: float = 0.05) -> tuple[float, float]:
    """Both ends of the sequence behind `sequence_decides`: each holds at all numbers of trials at once.

    An end is ever on the wrong side with probability at most alpha.
    """
    from scipy.optimize import brentq  # as slow to import as all other scipy here

    def least(good: int) -> float:
        if not good:
            return 0.0
        # the evidence falls with the share up to good / (total + 1), from where it is 1 at most
        most = good / (total + 1)
        return float(brentq(lambda share: evidence_above(good, total, share) + log(alpha), 1e-300, most, xtol=1e-15))

    return least(good), 1.0 - least(total - good)


def hypergeometric_interval(right: int, seen: int, total: int, alpha: float = 0.05) -> Interval:
    """Bounds of the accuracy on `total` images, from some of them in random order.

    The sequence of Waudby-Smith and Ramdas (arXiv 2006.04347) includes every total R of right answers with
    ``betabinomial(R; n, 1, 1) / betabinomial(R - a; n - t, 1 + a, 1 + t - a) < 1 / alpha``, for a right of t seen and n
    in all. It holds at all t at once with probability at least 1 - alpha, so outcomes may decide when to stop. The
    mean is the accuracy on the images seen.
    """
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 2)))])  # logarithms of factorials
    rest = total - seen
    more = np.arange(rest + 1)  # possible right answers among the other images
    choices = logs[rest] - logs[more] - logs[rest - more]
    beta = logs[more + right] + logs[total - more - right] - logs[total + 1]
    prior = logs[right] + logs[seen - right] - logs[seen + 1]
    kept = more[-log(total + 1) - (choices + beta - prior) < -log(alpha)]
    mean = right / seen if seen else 0.0
    low, high = (float(right + end) / total for end in (kept.min(), kept.max()))
    return Interval(mean, min(low, mean) if seen else low, max(high, mean))
