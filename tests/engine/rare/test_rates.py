"""Tables of wrong codes: against math.erfc, and votes against enumeration."""

import itertools
import math
from collections import defaultdict
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import Column, Cycle, MacroConfig, transfer
from asim_lightning.circuit.columns import vote
from asim_lightning.circuit.wrong_codes import largest_error_probability
from asim_lightning.engine import rare
from asim_lightning.engine.rare.rates import LARGEST_ERROR_PROBABILITY, code_distribution, rates, why_no_events
from asim_lightning.engine.rare.votes import voted

LSB = MacroConfig(weight_bits=2, input_bits=1, random_noise="0.191 lsb")


class Drooping(Column):
    """A user's column: exact, with noise that falls as the count rises and is absent at count 7."""

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return torch.where(count == 7, 0.0, 0.4 - 0.001 * count)


def tail(distance: float, sigma: float) -> float:
    return math.erfc(distance / (sigma * math.sqrt(2.0))) / 2


@pytest.mark.parametrize("sigma", [0.07, 0.128, 0.3, 3.0])
def test_code_distribution_is_gaussian_between_thresholds(sigma: float) -> None:
    macro = LSB.with_fields(random_noise=f"{sigma} lsb")
    circuit = transfer(macro, False)
    table = code_distribution(circuit.column, circuit.cycles[0])
    reach = table.shape[1] // 2
    noise = macro.random_noise_percent * 2.55
    for count in (0, 1, 2, 130, 254, 255):
        level = float(circuit.column.level(torch.tensor(float(count)), circuit.cycles[0]))
        for d in range(-reach, reach + 1):
            code, expected = count + d, 0.0
            if d and 0 <= code <= 255:
                near = (code - level) * (1 if d > 0 else -1) - 0.5
                end = code in (0, 255)
                expected = tail(near, noise) - (0.0 if end else tail(near + 1, noise))
            elif d == 0:
                expected = 1 - (count > 0) * tail(0.5, noise) - (count < 255) * tail(0.5, noise)
            assert float(table[count, d + reach]) == pytest.approx(expected, rel=1e-4, abs=1e-30)
    assert torch.allclose(table.sum(1), torch.ones(256, dtype=torch.float64), atol=1e-14)


def test_rates_of_1e_12_are_exact() -> None:
    macro = LSB.with_fields(rows=1, adc_bits=1, random_noise=7.0)  # levels 0 and 1 are exact, sigma 0.07
    (kind,) = rates(transfer(macro, False), False).kinds
    sigma = float(torch.tensor(0.07))
    assert kind.rate == pytest.approx(tail(0.5, sigma), rel=1e-9)
    assert kind.rate < 1e-12
    assert kind.errors.tolist() == [1, -1, 0]
    assert kind.shares.tolist() == [[1.0, 1.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("rule", "votes"), [("mode", 2), ("mode", 3), ("mode", 4), ("mode", 5), ("median", 3), ("median", 5), ("mean", 3)]
)
def test_votes_by_enumeration(rule: str, votes: int) -> None:
    rows = [[0.1, 0.2, 0.4, 0.25, 0.05], [0.0, 0.0, 0.9, 0.1, 0.0], [1e-9, 1e-5, 1 - 1.2001e-5, 2e-6, 0.0]]
    single = torch.tensor(rows, dtype=torch.float64)
    found = voted(single, votes, rule)
    reach = found.shape[1] // 2
    for row, line in zip(single.tolist(), found.tolist(), strict=True):
        expected: dict[int, float] = defaultdict(float)
        draws = list(itertools.product(range(5), repeat=votes))
        for codes, winner in zip(draws, vote(torch.tensor(draws).float().T, rule).tolist(), strict=True):
            expected[int(winner) - 2 * (votes if rule == "mean" else 1)] += math.prod(row[c] for c in codes)
        for d in range(-reach, reach + 1):
            assert line[d + reach] == pytest.approx(expected[d], rel=1e-10, abs=1e-16 if d == 0 else 0)


def test_many_votes_still_sum_to_one() -> None:
    single = torch.tensor([[0.15, 0.7, 0.15]], dtype=torch.float64)
    for rule in ("mode", "median", "mean"):
        assert float(voted(single, 31, rule).sum()) == pytest.approx(1.0, abs=1e-12)
        assert float(voted(single, 31, rule).min()) >= 0.0


def test_sigma_of_a_users_column_thins_by_count() -> None:
    macro = LSB.with_fields(column=f"{__name__}.Drooping", random_noise=0.0)
    (kind,) = rates(transfer(macro, False), False).kinds
    own = kind.shares[:, -1] * kind.rate
    assert kind.rate == pytest.approx(2 * tail(0.5, 0.399), rel=1e-4)  # at count 1: at 0 half of the errors clamp
    assert float(own[0]) == pytest.approx(tail(0.5, 0.4), rel=1e-4)
    assert float(own[7]) == 0.0
    assert float(own[255]) == pytest.approx(tail(0.5, 0.4 - 0.255), rel=1e-4)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"rows": 85}, True),
        ({"rows": 256}, False),  # lossy
        ({"rows": 100}, False),  # distinct
        ({"random_noise": 0.0}, False),  # nothing is noisy
        ({"adc_bits": None, "random_noise": 0.1}, False),
        ({"column": "current", "column_args": {"cell_sigma": 1.0}}, False),
        ({"weight_parallel": True}, False),
        ({"encoding_bits": 4, "input_bits": 8}, False),  # lossy
        ({"rows": 273, "encoding_bits": 4, "input_bits": 8, "adc_bits": 12}, True),
        ({"votes": 31, "vote_levels": 1}, True),
        ({"votes": 33, "vote_levels": 1}, False),
        ({"digital_levels": 1}, True),
        ({"digital_levels": 1, "digital_adc": True}, True),
        ({"adc_step": 1}, True),
        ({"rows": 256, "adc_bits": 9, "adc_step": 1}, True),
        ({"adc_step": 2}, False),  # lossy
        ({"adc_bits": 9, "adc_step": 1, "adc_low": 1}, False),  # count 0 is clipped
        ({"adc_bits": 7, "adc_step": 1}, False),  # counts are clipped
    ],
)
def test_applies(fields: dict[str, Any], expected: bool) -> None:
    assert (rare.refuses(transfer(LSB.with_fields(**fields), False)) is None) is expected


def test_errors_of_a_third_of_a_count_have_their_weight() -> None:
    circuit = transfer(LSB.with_fields(rows=341, adc_bits=10, encoding_bits=2, input_bits=3), False)
    found = rates(circuit, False)
    assert [len(kind.cycles) for kind in found.kinds] == [2, 2]  # groups of two bits and of one
    assert found.weights == (3, -6, 4, -8)
    assert circuit.divisor == 1023


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"weight_parallel": True, "adc_bits": 9}, "several weight bits are converted at once"),
        ({"static": {"offset": "0.05 lsb", "cell_mismatch": 1}}, "cells differ, so that counts are real numbers"),
        ({"votes": 3, "vote_levels": 1, "random_noise": 0.01}, "noisy conversions are voted"),
        ({"rows": 200}, "2 of 2 cycles do not return their count even without noise"),
        ({"random_noise": "0.3 lsb"}, "0.1 of the codes are wrong by the spreads, more than 0.03"),
    ],
    ids=str,
)
def test_why_events_do_not_serve_where_converters_differ(fields: dict[str, Any], why: str) -> None:
    found = why_no_events(
        transfer(LSB.with_fields(**{"random_noise": 0.0, "static": {"offset": "0.05 lsb"}, **fields}), False)
    )
    assert str(found).startswith(why)


@pytest.mark.parametrize(
    ("votes", "rows", "expected"), [(31, 255, True), (32, 255, False), (2, 65535, True), (3, 65535, False)]
)
def test_errors_are_tabulated_up_to_the_stated_votes_and_counts(votes: int, rows: int, expected: bool) -> None:
    adc_bits = rows.bit_length()
    macro = LSB.with_fields(rows=rows, adc_bits=adc_bits, votes=votes, vote_levels=1, random_noise="0.2 lsb")
    assert (why_no_events(transfer(macro, False)) is None) is expected


@pytest.mark.parametrize("above", [False, True])
def test_events_serve_up_to_the_stated_probability(above: bool) -> None:
    low, high = 0.1, 0.5
    while high - low > 1e-6:  # the sigma at which a code is wrong with that probability
        middle = (low + high) / 2
        low, high = (middle, high) if 2 * tail(0.5, middle) < LARGEST_ERROR_PROBABILITY else (low, middle)
    circuit = transfer(LSB.with_fields(random_noise=f"{low * (1.001 if above else 0.999)} lsb"), False)
    assert (largest_error_probability(circuit) > 0.015) is above
    assert (rare.prefers(circuit) is None) is above
