"""The stream of candidates: logarithm, uniforms, number of draws, rate."""

import math

import pytest
import torch

from asim_lightning.engine.rare.stream import (
    Blocks,
    Runs,
    all_of,
    candidates,
    candidates_apart,
    draws_of,
    gap_factor,
    logarithm,
    normal_above,
    uniform,
)


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
    drawn = Blocks((1, 2), 3, blocks * 0 + 5, blocks)
    block, place, chance = candidates(drawn, 1, draws_of(length, rate), gap_factor(rate), ends)
    expected = 4000 * length * rate
    assert abs(len(block) - expected) < 4 * math.sqrt(expected)
    # evenly over the block, and the second uniform with them
    for share in (place.double() / length, chance):
        bins = torch.histc(share, 20, 0.0, 1.0)
        assert float(((bins - expected / 20) ** 2 / (expected / 20)).sum()) < 46  # chi-square of 20, 1 in 1000
    counts = torch.bincount(block, minlength=4000).double()
    variance = length * rate * (1 - rate)
    assert float(counts.var()) == pytest.approx(variance, rel=0.1)


def test_normals_of_tails() -> None:
    p = torch.logspace(-10.83, math.log10(0.5), 20001, dtype=torch.float64)
    assert float((normal_above(p) + torch.special.ndtri(p)).abs().max()) < 1e-13
    smallest = normal_above(torch.tensor([0.0, 2.0**-36, 0.5], dtype=torch.float64))[0]
    assert float(smallest) == pytest.approx(6.66, abs=0.01)


def runs(rates: list[list[float]], number: list[int], columns: list[int], lengths: list[int], blocks: int) -> Runs:
    """The same runs in each of some blocks, from rates by column and converter; 1 stands for always."""
    rate, each = torch.tensor(rates, dtype=torch.float64), torch.tensor(number)
    hazards = torch.where(rate == 1, 40.0, -torch.log1p(-rate)) * each
    every = [torch.tensor(values).expand(blocks, -1) for values in (columns, lengths)]
    return Runs(hazards.cumsum(1), each, *every)


def test_equal_converters_are_the_case_of_one_rate() -> None:
    rate, numbers = 0.03, torch.arange(500)
    drawn = Blocks((3, 5), 2, numbers + 7, numbers)
    found = runs([[rate] * 4] * 3, [5] * 4, [2, 0, 1, 2], [1, 1, 1, 1], 500)
    block, run, which, turn, chance = candidates_apart(drawn, 1, found)
    place = run * 20 + which * 5 + turn
    expected = candidates(drawn, 1, draws_of(80, rate), gap_factor(rate), torch.full((500,), 80))
    order = (block * 80 + place).argsort()
    for ours, theirs in zip((block[order], place[order], chance[order]), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_each_converter_has_candidates_at_its_rate() -> None:
    rates, number, blocks = [[0.2, 0.0, 1e-3, 0.03], [1e-9, 1.0, 0.4, 0.0]], [3, 2, 6, 1], 4000
    found = runs(rates, number, [0, 1, 0], [7, 4, 2], blocks)
    block, run, which, turn, chance = candidates_apart(
        Blocks((1, 2), 0, torch.arange(blocks), torch.arange(blocks)), 0, found
    )
    assert len(torch.stack([block, run, which, turn]).unique(dim=1)[0]) == len(block)  # each conversion at most once
    for place, (column, length) in enumerate(((0, 7), (1, 4), (0, 2))):
        for converter, each in enumerate(number):
            own = (run == place) & (which == converter)
            rate, most = rates[column][converter], each * length
            expected = blocks * most * rate
            assert abs(int(own.sum()) - expected) <= 4.5 * math.sqrt(expected * (1 - rate)) + 1e-3
            if expected > 100:  # evenly over the run, and the second uniform with them
                assert abs(float((turn[own].double() + 0.5).mean()) / most - 0.5) < 5 / math.sqrt(12 * expected)
                assert abs(float(chance[own].mean()) - 0.5) < 5 / math.sqrt(12 * expected)
                assert int(turn[own].max()) < most


def test_without_noise_all_conversions_of_a_converter_are_made_or_none() -> None:
    found = runs([[0.0, 1.0], [1.0, 0.0]], [2, 3], [0, 1, 1], [2, 1, 0], 2)
    block, run, which, turn, _ = all_of(found)
    expected = [(b, r, w, n) for b in (0, 1) for r, w, number in ((0, 1, 6), (1, 0, 2)) for n in range(number)]
    assert list(zip(block.tolist(), run.tolist(), which.tolist(), turn.tolist(), strict=True)) == expected
