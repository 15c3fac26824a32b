# ruff: noqa: N803 - constants of a kernel in capitals, as is usual in Triton
"""Votes: several reads of the same counts become one code by mode, median or mean."""

import triton
import triton.language as tl

from asim_lightning.engine.fused.codes import Draw, read


@triton.jit
def _agree(agreement, other, code, counted, MEDIAN: tl.constexpr):  # type: ignore[no-untyped-def]
    """Count a read: equal codes for the mode; for the median, codes below, plus 2^16 times codes not above."""
    if MEDIAN:
        agreement += tl.where(counted & (other < code), 1, 0) + tl.where(counted & (other <= code), 65536, 0)
    else:
        agreement += tl.where(counted & (other == code), 1, 0)
    return agreement


@triton.jit
def _elect(best, most, code, agreement, votes, vote, MEDIAN: tl.constexpr):  # type: ignore[no-untyped-def]
    """The code elected so far and its agreement, with one more candidate."""
    if MEDIAN:
        middle = (votes - 1) // 2
        better = ((agreement & 65535) <= middle) & (((agreement >> 16) & 65535) > middle)
    else:
        better = (agreement > most) | ((agreement == most) & (code < best))
    better = (better & (vote < votes)) | (vote == 0)
    return tl.where(better, code, best), tl.where(better, agreement, most)


@triton.jit
def _vote(counts, conversions, draw, vote, MACRO: tl.constexpr):  # type: ignore[no-untyped-def]
    word = (draw.trial_and_vote | vote).to(tl.uint32)
    own = Draw(draw.key, draw.sample, draw.position, draw.tile_and_cycle, word)
    return read(counts, conversions, own, MACRO)


@triton.jit
def most_of(votes):  # type: ignore[no-untyped-def]
    """Reads of the cycle with the most reads of four, int32."""
    v0, v1, v2, v3 = votes
    return tl.maximum(tl.maximum(v0, v1), tl.maximum(v2, v3)).to(tl.int32)


@triton.jit
def sum_of_votes(codes, counts, votes, weights, conversions, draw, MACRO: tl.constexpr):  # type: ignore[no-untyped-def]
    """The sum of codes, plus every read of four consecutive cycles times its weight: the mean without its division."""
    v0, v1, v2, v3 = votes
    f0, f1, f2, f3 = weights
    for vote in range(most_of(votes)):
        e0, e1, e2, e3 = _vote(counts, conversions, draw, vote, MACRO)
        codes += e0 * tl.where(vote < v0, f0, 0) + e1 * tl.where(vote < v1, f1, 0)
        codes += e2 * tl.where(vote < v2, f2, 0) + e3 * tl.where(vote < v3, f3, 0)
    return codes


@triton.jit
def elected(counts, votes, conversions, draw, MACRO: tl.constexpr):  # type: ignore[no-untyped-def]
    """The mode or median of the reads of four consecutive cycles.

    Reads are functions of their number. They are computed again for each comparison instead of stored.
    """
    median: tl.constexpr = MACRO.VOTE == "median"
    v0, v1, v2, v3 = votes
    b0, b1, b2, b3 = counts
    zero = tl.zeros(b0.shape, tl.int32)
    m0, m1, m2, m3 = zero, zero, zero, zero
    most = most_of(votes)
    others = tl.where(most > 1, most, 0)
    for vote in range(most):
        e0, e1, e2, e3 = _vote(counts, conversions, draw, vote, MACRO)
        g0, g1, g2, g3 = zero, zero, zero, zero
        for other in range(others):
            o0, o1, o2, o3 = _vote(counts, conversions, draw, other, MACRO)
            g0 = _agree(g0, o0, e0, other < v0, median)
            g1 = _agree(g1, o1, e1, other < v1, median)
            g2 = _agree(g2, o2, e2, other < v2, median)
            g3 = _agree(g3, o3, e3, other < v3, median)
        b0, m0 = _elect(b0, m0, e0, g0, v0, vote, median)
        b1, m1 = _elect(b1, m1, e1, g1, v1, vote, median)
        b2, m2 = _elect(b2, m2, e2, g2, v2, vote, median)
        b3, m3 = _elect(b3, m3, e3, g3, v3, vote, median)
    return b0, b1, b2, b3
