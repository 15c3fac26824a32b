"""Candidates of converters: how many there are, and how their normals are distributed."""

import math
from itertools import pairwise

import pytest
import torch

from asim_lightning.engine.tails.kinds import LARGEST_MARGIN, TAIL_STEPS, tails
from asim_lightning.engine.tails.tail_stream import candidates, normal_above


def test_normals_of_tails() -> None:
    p = torch.logspace(-10.83, math.log10(0.5), 20001, dtype=torch.float64)
    assert float((normal_above(p) + torch.special.ndtri(p)).abs().max()) < 1e-13
    assert float(normal_above(torch.tensor([0.0, 2.0**-36, 0.5], dtype=torch.float64))[0]) == pytest.approx(
        6.66, abs=0.01
    )


def test_tails_are_those_of_the_normal_at_steps_of_a_margin() -> None:
    table = tails()
    assert len(table) == LARGEST_MARGIN * TAIL_STEPS + 1
    for margin in (0, 1, 3.5, 6):
        assert float(table[int(margin * TAIL_STEPS)]) == pytest.approx(math.erfc(margin / math.sqrt(2)) / 2, rel=1e-12)


@pytest.mark.parametrize(("up", "down"), [(2.0, 2.5), (3.0, 1.0), (1.5, 6.0), (0.5, 0.1), (0.0, 3.0)])
def test_candidates_are_the_normals_past_two_margins(up: float, down: float) -> None:
    number, end = 2000, 100 if up < 1 else 1000
    above, below = (torch.full((number,), math.erfc(m / math.sqrt(2)) / 2, dtype=torch.float64) for m in (up, down))
    which, place, normal = candidates((3, 5), 7, 1, 2, torch.arange(number), (above + below, above), end)
    always = (up < 1 and down < 1) or up == 0
    cuts = [-4, -3.5, -3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    for low, high in pairwise(cuts):
        passes = always or low >= up - 1e-6 or high <= -down + 1e-6
        inside = not always and (high <= up + 1e-6 and low >= -down - 1e-6)
        if not (passes or inside):
            continue
        share = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2 if passes else 0.0
        wanted = number * end * share
        assert abs(int(((normal > low) & (normal <= high)).sum()) - wanted) <= 4.5 * math.sqrt(wanted), (low, high)
    assert len(torch.stack([which, place]).unique(dim=1)[0]) == len(which)  # each conversion at most once
    spread = (place.double().mean() + 0.5) / end - 0.5
    assert abs(float(spread)) < 5 / math.sqrt(12 * len(place))
    assert int(place.max()) < end


def test_a_rate_of_0_has_no_candidates() -> None:
    none = torch.zeros(3, dtype=torch.float64)
    assert all(len(found) == 0 for found in candidates((1, 2), 3, 4, 5, torch.arange(3), (none, none), 10))
