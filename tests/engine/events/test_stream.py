"""The stream of candidates: logarithm, uniforms, number of draws, rate."""

import math

import pytest
import torch

from asim_lightning.engine.events.stream import candidates, draws_of, gap_factor, logarithm, uniform


def test_logarithm_to_the_last_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(10000, generator=generator, dtype=torch.float64)
    u = torch.cat(
        [u, 1 - (u + 1) * 2.0**-30, u * 2.0**-40, torch.tensor([2.0**-53, 1 - 2.0**-53, 0.5], dtype=torch.float64)]
    )
    exact = torch.tensor([math.log(v) for v in u.tolist()], dtype=torch.float64)
    assert float(((logarithm(u) - exact) / exact).abs().max()) < 1e-15


def test_uniforms_stay_inside_and_resolve_52_bits() -> None:
    words = torch.tensor([0, 2**32 - 1])
    low, high = uniform(words, words).tolist()
    assert low == 2.0**-53
    assert high == 1 - 2.0**-53
    assert uniform(torch.tensor([0]), torch.tensor([64])).item() == 1.5 * 2.0**-52


@pytest.mark.parametrize(("conversions", "rate"), [(10**6, 2e-5), (10**12, 1e-13), (300, 0.1)])
def test_more_draws_than_allowed_for_are_rare(conversions: int, rate: float) -> None:
    draws = draws_of(conversions, rate)
    assert draws <= min(conversions - 1, conversions * rate + 110)
    # the tail of the binomial beyond, from its largest term
    log = sum(math.log((conversions - i) / (i + 1)) for i in range(draws)) + draws * math.log(rate)
    log += (conversions - draws) * math.log1p(-rate)
    assert log < math.log(1e-20)


@pytest.mark.parametrize(("conversions", "rate"), [(64, 0.9), (5, 1.0)])
def test_no_more_draws_than_conversions_are_allowed_for(conversions: int, rate: float) -> None:
    assert draws_of(conversions, rate) == conversions


@pytest.mark.parametrize("rate", [0.3, 1e-3, 1e-9])
def test_candidates_come_at_their_rate_everywhere(rate: float) -> None:
    length = 20 * math.ceil(1 / rate)
    blocks = torch.arange(4000)
    ends = torch.full((4000,), length)
    arguments = draws_of(length, rate), gap_factor(rate), ends
    block, place, chance = candidates((1, 2), blocks * 0 + 5, blocks, 3, 1, *arguments)
    expected = 4000 * length * rate
    assert abs(len(block) - expected) < 4 * math.sqrt(expected)
    # evenly over the block, and the second uniform with them
    for share in (place.double() / length, chance):
        bins = torch.histc(share, 20, 0.0, 1.0)
        assert float(((bins - expected / 20) ** 2 / (expected / 20)).sum()) < 46  # chi-square of 20, 1 in 1000
    counts = torch.bincount(block, minlength=4000).double()
    variance = length * rate * (1 - rate)
    assert float(counts.var()) == pytest.approx(variance, rel=0.1)
