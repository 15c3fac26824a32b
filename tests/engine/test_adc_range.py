"""CSNR and clipping of histograms of counts, against the field's figures and draws, and the range that is fitted."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.circuit.voltage import with_adc_range
from asim_lightning.engine.adc_range import Histogram, Quality, fit_range, overall, qualities, together

NOISE = 100 * 0.3 / 255
"""0.3 counts of 255 rows, in percent."""


def binomial(p: float, rows: int = 255) -> Histogram:
    k = torch.arange(rows + 1, dtype=torch.float64)
    chance = [
        math.exp(
            math.lgamma(rows + 1) - math.lgamma(n + 1) - math.lgamma(rows - n + 1)
            + n * math.log(p) + (rows - n) * math.log(1 - p)
        )
        for n in range(rows + 1)
    ]  # fmt: skip
    return Histogram(k, torch.tensor(chance, dtype=torch.float64))


def found(histogram: Histogram, signed: bool = False, **fields: Any) -> tuple[Quality, Quality]:
    """Quality of the first cycle, and of all cycles together."""
    circuit = transfer(MacroConfig(**{"weight_bits": 2, "input_bits": 1} | fields), signed)
    every = qualities(circuit, [histogram] * len(circuit.cycles))
    return every[0], overall(circuit, every)


@pytest.mark.parametrize(
    ("p", "fields", "csnr"),
    [
        (0.25, {"adc_bits": 6}, 15.2),
        (0.25, {"adc_bits": 6, "adc_step": 1, "adc_low": 34}, 27.0),
        (0.25, {"adc_bits": 8}, 27.0),
        (0.25, {"adc_bits": 7, "adc_step": 1}, 27.0),
        (0.1, {"adc_bits": 6, "adc_step": 1}, 23.8),
        (0.1, {"adc_bits": 8}, 23.8),
        (0.05, {"adc_bits": 5, "adc_step": 1}, 21.0),
        (0.05, {"adc_bits": 8}, 21.0),
    ],
)
def test_csnr_of_binomial_counts_as_the_field_has_it(p: float, fields: dict[str, Any], csnr: float) -> None:
    one, every = found(binomial(p), random_noise=NOISE, **fields)
    assert one.csnr == pytest.approx(csnr, abs=0.05)
    assert every.csnr == pytest.approx(csnr, abs=0.05)


@pytest.mark.parametrize(
    "fields",
    [
        {"adc_bits": 6, "random_noise": 0.3},
        {"adc_bits": 5, "adc_step": 2, "adc_low": 30, "random_noise": "0.3 lsb"},
        {"adc_bits": 4, "adc_step": 3, "adc_low": 40, "random_noise": 0.5, "nonlinear_noise": 1.0},
        {"adc_bits": 4, "adc_step": 3, "votes": 3, "vote_levels": 9, "vote": "median", "random_noise": 1.0},
    ],
)
def test_quality_is_that_of_drawn_conversions(fields: dict[str, Any]) -> None:
    histogram = binomial(0.2)
    quality, _ = found(histogram, **fields)
    macro = MacroConfig(weight_bits=2, input_bits=1, **fields)
    circuit = transfer(macro, False)
    cycle, top = circuit.cycles[0], macro.top_code or 0
    generator = torch.Generator().manual_seed(1)
    count = histogram.counts[torch.multinomial(histogram.shares, 200_000, True, generator=generator)].float()
    level = circuit.column.level(count, cycle)
    z = torch.randn(cycle.votes, len(count), generator=generator)
    codes = (level + circuit.column.sigma(count, cycle) * z).round().clamp(0, top)
    value = codes.median(0).values * cycle.counts_a_code + cycle.adc_low
    assert quality.mse == pytest.approx(float((value - count).square().mean()), rel=0.03)
    assert quality.variance == pytest.approx(float(count.var()), rel=0.02)
    outside = (level.round() < 0) | (level.round() > top)
    assert quality.clipped == pytest.approx(float(outside.float().mean()), abs=0.005)
    assert quality.wrong == pytest.approx(float((codes[0] != level.round().clamp(0, top)).float().mean()), abs=0.01)


def test_digital_cycles_and_exact_ones_lose_nothing() -> None:
    one, every = found(binomial(0.2), digital_levels=9)
    assert (one.mse, one.clipped, one.wrong, every.csnr) == (0.0, 0.0, 0.0, math.inf)
    one, every = found(binomial(0.2, 60), adc_bits=6, adc_step=1)
    assert (one.clipped, one.wrong, every.csnr) == (0.0, 0.0, math.inf)
    assert Quality(0.0, 1.0, 0.0, 0.0).csnr == -math.inf


@settings(max_examples=10)
@given(
    st.sampled_from([0.03, 0.2, 0.5, 0.8]), st.integers(2, 4), st.integers(5, 16),
    st.sampled_from([0.0, 2.0, "0.3 lsb"]), st.integers(0, 2**30),
)  # fmt: skip
def test_the_fit_is_the_best_of_all_ranges(p: float, bits: int, rows: int, noise: float | str, seed: int) -> None:
    if isinstance(noise, str) and rows < 2**bits:
        noise = 1.0
    macro = MacroConfig(2, 2, rows, bits, random_noise=noise)
    generator = torch.Generator().manual_seed(seed)
    circuit = transfer(macro, True)
    counts = [torch.binomial(torch.full((50,), float(rows)), torch.tensor(p), generator) for _ in circuit.cycles]
    histograms = [Histogram(*(x.double() for x in each.unique(return_counts=True))) for each in counts]
    largest = int(max(each.max() for each in counts))
    errors = {}
    for step in range(1, largest + 2):
        for low in range(largest + 1):
            if not isinstance(noise, str) or step <= rows:
                ranged = transfer(with_adc_range(macro, True, step, low), True)
                errors[step, low] = overall(ranged, qualities(ranged, histograms)).mse
    least, of_zero = min(errors.values()), min(error for (_, low), error in errors.items() if low == 0)
    assert errors[fit_range(circuit, histograms)] == pytest.approx(of_zero if of_zero <= 1.01 * least else least)


def test_the_fit_weighs_cycles_by_their_place() -> None:
    circuit = transfer(MacroConfig(8, 1, adc_bits=4), False)
    sparse, dense = binomial(0.02), binomial(0.5)
    # the sign plane has most of the weight
    assert fit_range(circuit, [dense, *[sparse] * 7]) == (1, 0)
    assert fit_range(circuit, [*[sparse] * 7, dense])[0] > 5


def test_of_wide_counts_some_ranges_are_tried() -> None:
    circuit = transfer(MacroConfig(8, 8, adc_bits=8, weight_parallel=True), False)
    counts = torch.linspace(-2e6, 2e6, 4001, dtype=torch.float64).round()
    step, low = fit_range(circuit, [Histogram(counts, torch.ones_like(counts))])
    assert low == 0
    assert step == pytest.approx(2e6 / 127.5, rel=0.02)


def test_macros_without_a_range_are_refused() -> None:
    histogram = [binomial(0.1)] * 64
    with pytest.raises(ValueError, match=r"^`macro.adc_step` must be null for an ideal converter"):
        fit_range(transfer(MacroConfig(adc_bits=None), False), histogram)
    with pytest.raises(ValueError, match=r"^all cycles are digital, so there is no ADC range to fit"):
        fit_range(transfer(MacroConfig(digital_levels=99), False), histogram)


def test_histograms_are_added() -> None:
    one = Histogram(torch.tensor([1.0, 4.0]).double(), torch.tensor([2.0, 1.0]).double())
    found = together(one, Histogram(torch.tensor([0.0, 4.0]).double(), torch.tensor([5.0, 1.0]).double()))
    assert (found.counts.tolist(), found.numbers.tolist()) == ([0.0, 1.0, 4.0], [5.0, 2.0, 2.0])
    assert one.variance == pytest.approx(2.0)
