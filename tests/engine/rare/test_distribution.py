"""The distribution of the outputs' errors: events against the reference engine, which makes every conversion."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.engine import Conv2dProduct, MatmulProduct, Product, rare, reference, sums_of
from asim_lightning.engine.rare.rates import code_distribution
from tests.engine.products import exact_sums, noise_of

ONE_BIT = MacroConfig(weight_bits=2, input_bits=1)


def both(product: Product, circuit: Transfer, x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Errors of all outputs in units of ``rows / divisor`` counts, by events and by the reference."""
    clean = exact_sums(
        product, x, w, circuit.macro.input_bits, circuit.macro.weight_bits, circuit.signed_input
    ).double()
    votes = max(c.votes for c in circuit.cycles) if circuit.macro.vote == "mean" else 1
    unit = (circuit.macro.top_code or 1) * votes / circuit.macro.rows
    engines = rare, reference
    a, b = ((sums_of(each, product, circuit, x, w, noise_of(len(x))) - clean) * unit for each in engines)
    return a.round().long(), b.round().long()


def difference(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Chi-square of two histograms at all counts, as a normal number. # (counts, codes) each"""
    statistic, freedom = 0.0, 0
    for a, b in zip(first, second, strict=True):
        often = a + b >= 10
        a, b = (np.append(h[often], h[~often].sum()) for h in (a, b))
        there = a + b > 0
        statistic += float(((a - b)[there] ** 2 / (a + b)[there]).sum())
        freedom += int(there.sum()) - 1
    if freedom == 0:
        return 0.0 if statistic == 0 else math.inf
    # Wilson and Hilferty: the cube root is nearly normal
    return ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))


def check_same_distribution(a: torch.Tensor, b: torch.Tensor) -> None:
    """Errors are no more likely than 1 in 1000 to be so far apart."""
    assert min(int((a != 0).sum()), int((b != 0).sum())) >= 1000
    values, place = torch.cat([a.flatten(), b.flatten()]).unique(return_inverse=True)
    assert len(values) > 2
    assert difference(*(torch.bincount(p, minlength=len(values))[None].numpy() for p in place.split(a.numel()))) < 3.1


def columns(counts: torch.Tensor, rows: int, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs whose first `count` of so many rows are on, and weights -1: every cycle meets the count."""
    x = (torch.arange(rows) < counts[:, None]).float()
    return x, torch.full((outputs, rows), -1.0)


@pytest.mark.parametrize(
    ("sigma", "rows", "batch", "outputs"),
    [
        (0.128, 255, 512, 14000),
        (0.191, 255, 256, 8000),
        (0.3, 255, 256, 2000),
        (0.2, 85, 172, 4000),
        (0.3, 85, 172, 2000),
    ],
)
def test_errors_of_single_codes(sigma: float, rows: int, batch: int, outputs: int) -> None:
    circuit = transfer(ONE_BIT.with_fields(rows=rows, random_noise=f"{sigma} lsb"), False)
    x, w = columns(torch.arange(batch) % (rows + 1), rows, outputs)
    a, b = both(MatmulProduct(), circuit, x, w)
    check_same_distribution(a, b)
    # the bare rate, too: an output is right where both of its conversions are (or err by 2 and 1)
    table = code_distribution(circuit.column, circuit.cycles[0])
    reach = table.shape[1] // 2
    right = table[:, reach] ** 2 + 2 * table[:, reach + 1] * table[:, reach + 2]
    expected = float((1 - right[torch.arange(batch) % (rows + 1)]).sum()) * outputs
    assert abs(int((a != 0).sum()) - expected) < 4 * math.sqrt(expected)


@pytest.mark.parametrize("count", [0, 1, 128, 254, 255])
def test_signed_mean_of_the_error_at_a_count(count: int) -> None:
    circuit = transfer(ONE_BIT.with_fields(random_noise="0.3 lsb"), False)
    x, w = columns(torch.tensor([count] * 100), 255, 1000)
    a, b = both(MatmulProduct(), circuit, x, w)
    table = code_distribution(circuit.column, circuit.cycles[0])[count]
    error = torch.arange(len(table)).double() - len(table) // 2
    mean = float((table * error).sum())
    # an output is e - 2 e' of two conversions with the same count
    deviation = math.sqrt(5 * float((table * error**2).sum()) / a.numel())
    assert abs(float(a.double().mean()) + mean) < 4 * deviation
    assert abs(float(b.double().mean()) + mean) < 4 * deviation
    assert (mean > 0.04) == (count == 0)  # noise is rectified at both ends
    assert (mean < -0.04) == (count == 255)


@pytest.mark.parametrize(
    ("rule", "votes", "levels"), [("mode", 3, 1), ("mode", 2, 2), ("median", 3, 2), ("mean", 3, 1)]
)
def test_errors_of_votes(rule: str, votes: int, levels: int) -> None:
    macro = ONE_BIT.with_fields(random_noise="0.32 lsb", vote=rule, votes=votes, vote_levels=levels)
    x, w = columns(torch.arange(256), 255, 1500)
    check_same_distribution(*both(MatmulProduct(), transfer(macro, False), x, w))


@pytest.mark.parametrize(
    ("fields", "signed"),
    [
        ({"rows": 341, "encoding_bits": 2, "adc_bits": 10, "input_bits": 4}, False),
        ({"rows": 273, "encoding_bits": 4, "adc_bits": 12, "input_bits": 8}, False),
        ({"rows": 341, "encoding_bits": 2, "adc_bits": 10, "input_bits": 4, "nonlinear_noise": 0.02}, True),
        ({"digital_levels": 2, "input_bits": 4}, False),
        ({"digital_levels": 1, "digital_adc": True, "nonlinear_noise": 0.1}, True),
    ],
)
def test_errors_of_encoded_and_hybrid_cycles(fields: dict[str, Any], signed: bool) -> None:
    base = MacroConfig(weight_bits=3, input_bits=3, random_noise="0.21 lsb")
    circuit = transfer(base.with_fields(**fields), signed)
    generator = torch.Generator().manual_seed(4)
    top = 2 ** (circuit.macro.input_bits - signed)
    x = torch.randint(1 - top if signed else 0, top, (60, 400), generator=generator).float()
    w = torch.randint(-3, 4, (300, 400), generator=generator).float()
    a, b = both(MatmulProduct(), circuit, x, w)
    check_same_distribution(a, b)
    assert abs(float((a - b).double().mean())) < 5 * float(a.double().std()) / math.sqrt(a.numel() / 2)


def test_errors_of_a_convolution_and_of_attention() -> None:
    circuit = transfer(MacroConfig(weight_bits=3, input_bits=3, random_noise="0.2 lsb"), True)
    generator = torch.Generator().manual_seed(4)

    def integers(*shape: int) -> torch.Tensor:
        return torch.randint(-3, 4, shape, generator=generator).float()

    convolution = Conv2dProduct((2, 1), (1, 1), (1, 1), 2)
    check_same_distribution(*both(convolution, circuit, integers(8, 80, 16, 16), integers(32, 40, 3, 3)))
    check_same_distribution(*both(MatmulProduct(True), circuit, integers(8, 2, 40, 64), integers(8, 2, 40, 64)))
