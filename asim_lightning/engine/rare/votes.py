"""The exact distribution of a voted code, from the distribution of one code.

A distribution is a float64 tensor (counts, 2 reach + 1): for each count the probability that a code is its noise-free
value + d, for d = -reach..reach. Every sum adds terms of one sign, so that small probabilities keep their precision.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def voted(single: Tensor, votes: int, rule: str) -> Tensor:
    """Distribution of the vote of independent codes, each with the distribution `single`.

    "mode" takes the smallest code of a tie, and "median" needs an odd number of votes. "mean" gives the distribution of
    the sum of the codes, around `votes` times the noise-free code, with 2 votes reach + 1 entries for each count.
    """
    if votes == 1:
        return single
    return {"mode": _mode, "median": _median, "mean": _sum}[rule](single, votes)


def _sum(single: Tensor, votes: int) -> Tensor:
    """The distribution convolved with itself, once for each further vote."""
    total = single
    for _ in range(votes - 1):
        wider = total.new_zeros(len(total), total.shape[1] + single.shape[1] - 1)
        for d in range(single.shape[1]):
            wider[:, d : d + total.shape[1]] += total * single[:, d : d + 1]
        total = wider
    return total


def _median(single: Tensor, votes: int) -> Tensor:
    """Differences of the two tails: the median is at most c if more than half of the codes are."""
    reach = single.shape[1] // 2
    below = _at_least_half(single[:, :reach].cumsum(1), votes)  # P(median <= d), d = -reach..-1
    above = _at_least_half(single[:, reach + 1 :].flip(1).cumsum(1), votes)  # P(median >= d), d = reach..1
    low, high = (tail.diff(dim=1, prepend=tail.new_zeros(len(tail), 1)) for tail in (below, above))
    middle = 1.0 - low.sum(1, keepdim=True) - high.sum(1, keepdim=True)
    return torch.cat([low, middle, high.flip(1)], 1)


def _at_least_half(p: Tensor, votes: int) -> Tensor:
    """Probability that more than half of the votes satisfy a condition that each satisfies with probability p."""
    half = range(votes // 2 + 1, votes + 1)
    terms = [float(math.comb(votes, k)) * p**k * (1.0 - p) ** (votes - k) for k in half]
    return torch.stack(terms).sum(0)


def _mode(single: Tensor, votes: int) -> Tensor:
    """Multinomial sums by generating functions.

    Code c wins with k of n votes if each lower code has at most k - 1 votes and each higher code at most k:
    ``n! * q_c^k / k! * [t^(n - k)] prod over d of sum over j of (q_d t)^j / j!``.
    """
    codes = single.shape[1]
    result = torch.zeros_like(single)
    # (counts, codes, votes + 1): q^j / j!
    powers = torch.stack([single**j / float(math.factorial(j)) for j in range(votes + 1)], -1)
    for k in range(1, votes + 1):
        lower = _running_products(powers[:, :, :k], votes)
        higher = _running_products(powers[:, :, : k + 1].flip(1), votes)
        for c in range(codes):
            # coefficient n - k of the product of all others
            left, right = lower[c][:, : votes - k + 1], higher[codes - 1 - c][:, : votes - k + 1]
            result[:, c] += powers[:, c, k] * (left * right.flip(1)).sum(1)
    return result * float(math.factorial(votes))


def _running_products(series: Tensor, degree: int) -> list[Tensor]:
    """Products of the first 0, 1, 2, ... of some power series, up to a degree.

    # (counts, series, terms) to (counts, degree + 1) each
    """
    product = F.pad(series.new_ones(len(series), 1), (0, degree))
    products = [product]
    for code in range(series.shape[1] - 1):
        product = sum(
            (F.pad(product[:, : degree + 1 - j], (j, 0)) * series[:, code, j : j + 1] for j in range(series.shape[2])),
            torch.zeros_like(product),
        )
        products.append(product)
    return products
