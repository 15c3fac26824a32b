"""Where every cycle is exact, the simulation is the integer product; elsewhere a code is off by half an LSB at most."""

from dataclasses import replace
from math import lcm
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import (
    Chip,
    Conv2dProduct,
    MatmulProduct,
    Noise,
    Product,
    choose,
    noise_context,
    reference,
    sums_of,
)
from asim_lightning.engine.stored_weights import Weights
from asim_lightning.nn import CimLinear
from tests import oracle
from tests.engine.products import exact_sums, silent

properties = settings(max_examples=35)


@st.composite
def exact_macros(draw: st.DrawFn) -> tuple[MacroConfig, bool]:
    """A macro whose top code is a multiple of the full scale of every cycle."""
    signed, adc = draw(st.booleans()), draw(st.sampled_from([4, 6, 8, 8, 9, 10, 12, 12, 16]))
    input_bits = draw(st.integers(1 + signed, 8))
    top = 2**adc - 1
    fitting = [e for e in range(1, input_bits + 1 - signed) if top % _spans(input_bits, e, signed) == 0]
    encoding = draw(st.sampled_from(fitting))
    most = top // _spans(input_bits, encoding, signed)
    rows = draw(st.sampled_from([r for r in range(1, min(most, 400) + 1) if most % r == 0]))
    return MacroConfig(draw(st.integers(2, 8)), input_bits, rows, adc, encoding), signed


def _spans(input_bits: int, encoding: int, signed: bool) -> int:
    return lcm(*(2 ** len(bits) - 1 for bits in oracle.groups(input_bits, encoding, signed)))


def integers(macro: MacroConfig, signed: bool, seed: int) -> tuple[Product, Tensor, Tensor]:
    """A random small product that fills several tiles."""
    generator = torch.Generator().manual_seed(seed)
    x_top, w_top = 2 ** (macro.input_bits - signed) - 1, 2 ** (macro.weight_bits - 1) - 1

    def values(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=generator).float()

    if seed % 2:
        x, w = values(-x_top * signed, x_top, 2, 4, 5, 5), values(-w_top, w_top, 4, 2, 3, 3)
        return Conv2dProduct((1, 1), (1, 1), (1, 1), 2), x, w
    terms = min(3 * macro.rows, 300) + seed % 5
    return MatmulProduct(), values(-x_top * signed, x_top, 2, terms), values(-w_top, w_top, 3, terms)


@properties
@given(case=exact_macros(), seed=st.integers(0, 10**6))
@example(case=(MacroConfig(8, 8, 255, 8), False), seed=1)
@example(case=(MacroConfig(8, 9, 341, 10, 2), True), seed=2)
@example(case=(MacroConfig(8, 8, 257, 16, 8), False), seed=3)
def test_exact_macro_returns_the_integer_product(case: tuple[MacroConfig, bool], seed: int) -> None:
    macro, signed = case
    product, x, w = integers(macro, signed, seed)
    assert choose(transfer(macro, signed)) == "exact"
    simulated = sums_of(reference, product, transfer(macro, signed), x, w, silent(2))
    assert torch.equal(simulated, exact_sums(product, x, w, macro.input_bits, macro.weight_bits, signed).double())


@properties
@given(rows=st.integers(1, 300), adc_bits=st.integers(1, 16), encoding=st.integers(1, 5), parallel=st.booleans())
@example(rows=256, adc_bits=8, encoding=1, parallel=False)
@example(rows=255, adc_bits=8, encoding=4, parallel=False)
def test_no_conversion_is_off_by_more_than_half_an_lsb(rows: int, adc_bits: int, encoding: int, parallel: bool) -> None:
    adc_bits = max(adc_bits, 1 + parallel)
    macro = MacroConfig(2, encoding, rows, adc_bits, 1 if parallel else encoding, weight_parallel=parallel)
    top, full = 2 ** (adc_bits - parallel) - 1, (2**encoding - 1) * rows
    counts = torch.linspace(0, full, min(full, 500) + 1).round().long()
    # the weight is 1 everywhere, so that one cycle sees the whole count: each row in turn takes what it can
    x = (counts[:, None] - torch.arange(rows) * (2**encoding - 1)).clamp(0, 2**encoding - 1)
    result = sums_of(reference, MatmulProduct(), transfer(macro, False), x, torch.ones(1, rows), silent(len(x)))[:, 0]
    levels = result * top / full
    assert float((levels - counts * top / full).abs().max()) <= 0.5 + top * 2**-23  # the level is a float32
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-6)


LOSSY = MacroConfig(4, 5, 13, 4, 2, digital_levels=2)
NOISY = LOSSY.with_fields(random_noise=3.0, nonlinear_noise=5.0, vote_levels=4, votes=3)


@pytest.mark.parametrize("macro", [LOSSY, NOISY, NOISY.with_fields(column="current", column_args={"cell_sigma": 9.0})])
@pytest.mark.parametrize("seed", [0, 1])
def test_result_does_not_depend_on_chunks(macro: MacroConfig, seed: int) -> None:
    product, x, w = integers(macro, True, seed)
    x = torch.cat([x, x.flip(0), x[:1]])
    noise = Noise(5, "layer", 0, 2, 1, torch.tensor([9, 4, 4, 0, 2**32 - 1]), torch.tensor([0, 0, 1, 0, 0]))
    program = reference.prepare(product, transfer(macro, True), Weights(w), Chip.at(noise.chip, noise.name))
    runs = [replace(program, max_elements=limit).sums(x, noise) for limit in (None, 1, 700, 2**30)]
    assert all(torch.equal(run, runs[0]) for run in runs)


@pytest.mark.parametrize(
    ("fields", "is_exact"),
    [
        ({"rows": 15, "weight_bits": 2, "input_bits": 1, "adc_bits": 5}, False),
        ({"rows": 15, "weight_bits": 2, "input_bits": 1, "adc_bits": None}, False),
        ({"rows": 9, "weight_bits": 4, "input_bits": 4, "adc_bits": 11, "adc_step": 1}, False),
        ({"rows": 9, "weight_bits": 4, "input_bits": 4, "adc_bits": 12, "adc_step": 1}, True),
    ],
)
def test_a_stuck_cell_may_take_a_weight_parallel_count_past_the_full_scale(
    fields: dict[str, Any], is_exact: bool
) -> None:
    """A weight of which the sign bit alone is left is -2^(bits - 1)."""
    assert transfer(MacroConfig(weight_parallel=True, **fields), False).exact
    macro = MacroConfig(weight_parallel=True, static={"stuck_at_0": 0.5}, **fields)
    assert transfer(macro, False).exact is is_exact
    layer = CimLinear(macro.rows, 64, bias=False, macro=macro, name="a").eval()
    layer.weight.data.fill_(-1.0)
    answers = []
    for layer.engine in (None, "reference"):
        with torch.no_grad(), noise_context(seed=1, chip=2):
            answers.append(layer(torch.ones(2, macro.rows)))
    torch.testing.assert_close(*answers, rtol=1e-6, atol=1e-6)
