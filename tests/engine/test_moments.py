"""Mean and variance of a conversion's error, against conversions drawn at random."""

import pytest
import torch

from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.transfer import transfer
from asim_lightning.engine.moments import error_moments
from tests import oracle

DRAWS = 50_000
MACROS = {
    "lossless": MacroConfig(random_noise=0.2, nonlinear_noise=0.5),
    "lossy": MacroConfig(adc_bits=6, random_noise=0.5),
    "encoded": MacroConfig(encoding_bits=4, random_noise=0.5),
    "one bit": MacroConfig(adc_bits=1, rows=4, random_noise=20.0),
    "much noise": MacroConfig(rows=15, adc_bits=4, random_noise=60.0),
    "ideal": MacroConfig(adc_bits=None, rows=40, random_noise=2.0),
    "median": MacroConfig(random_noise=0.3, votes=3, vote_levels=20, vote="median"),
    "mean": MacroConfig(random_noise=0.3, votes=4, vote_levels=20, vote="mean"),
    "mode": MacroConfig(rows=31, adc_bits=5, random_noise=2.0, votes=3, vote_levels=20, vote="mode"),
    "mode of five": MacroConfig(rows=7, adc_bits=3, random_noise=8.0, votes=5, vote_levels=20, vote="mode"),
    "compressed": MacroConfig(column="current", column_args={"alpha": 1e-3}, random_noise=0.3),
    "weight-parallel": MacroConfig(4, 4, rows=16, adc_bits=5, weight_parallel=True, random_noise=2.0),
    "noise-free": MacroConfig(adc_bits=5),
    "step 1": MacroConfig(adc_bits=6, adc_step=1, random_noise=0.3, nonlinear_noise=1.0),
    "step 2, low 34": MacroConfig(adc_bits=6, adc_step=2, adc_low=34, random_noise="0.4 lsb"),
    "step 3, low 20, mode": MacroConfig(
        rows=63, adc_bits=4, adc_step=3, adc_low=5, random_noise=1.0, votes=3, vote_levels=20, vote="mode"
    ),
    "step 40, weight-parallel": MacroConfig(
        4, 4, rows=16, adc_bits=5, adc_step=40, weight_parallel=True, random_noise=2.0
    ),
}


def drawn(macro: MacroConfig, count: float) -> tuple[float, float]:
    """Mean and deviation of errors drawn by the column model itself, without the engine."""
    found = transfer(macro, False)
    cycle = found.cycles[0]
    counts = torch.full((cycle.votes, DRAWS), count)
    normal = torch.randn(counts.shape, generator=torch.Generator().manual_seed(3))
    level = found.column.level(counts, cycle) + found.column.sigma(counts, cycle) * normal
    top = cycle.full_scale if cycle.top_code is None else cycle.top_code
    code = level.clamp(-top if cycle.signed else 0, top)
    code = code if cycle.top_code is None else code.round()
    if cycle.votes > 1:
        code = torch.from_numpy(oracle.vote(code.double().numpy(), macro.vote)) if macro.vote == "mode" else code
        code = code.median(0).values if macro.vote == "median" else code.mean(0) if macro.vote == "mean" else code
    span = cycle.full_scale / top if macro.adc_step is None else macro.adc_step
    error = code.double().flatten() * span + macro.adc_low - count
    return float(error.mean()), float(error.std())


@pytest.mark.parametrize("name", MACROS)
def test_moments_are_those_of_drawn_conversions(name: str) -> None:
    macro = MACROS[name]
    counts, means, variances = error_moments(transfer(macro, False), transfer(macro, False).cycles[0])
    scale = float(variances.max()) ** 0.5
    for place in (0, 1, len(counts) // 3, len(counts) // 2, len(counts) - 2, len(counts) - 1):
        mean, deviation = drawn(macro, float(counts[place]))
        # a mode's moments are drawn themselves
        error = (8 if macro.vote == "mode" and macro.votes > 1 else 4) * scale / DRAWS**0.5 + 1e-4
        assert float(means[place]) == pytest.approx(mean, abs=error), f"count {counts[place]}"
        assert float(variances[place]) ** 0.5 == pytest.approx(deviation, abs=2 * error), f"count {counts[place]}"


def test_digital_cycles_have_no_error() -> None:
    found = transfer(MacroConfig(random_noise=5.0, digital_levels=20), False)
    _, mean, variance = error_moments(found, found.cycles[0])
    assert not mean.any()
    assert not variance.any()


def test_a_tie_without_noise_is_rounded_to_the_even_code() -> None:
    found = transfer(MacroConfig(adc_bits=6, adc_step=2), False)
    _, mean, variance = error_moments(found, found.cycles[0])
    assert mean[:8].tolist() == [0, -1, 0, 1, 0, -1, 0, 1]
    assert not variance.any()
