"""Which algorithm a macro takes: its noise and its conversions decide, at the bounds that are stated."""

import math
from typing import Any

import pytest

from asim_lightning.circuit import Algorithm, MacroConfig, algorithm, transfer
from asim_lightning.circuit.algorithm import (
    LARGEST_ERROR_PROBABILITY,
    expected_error,
    largest_error_probability,
    why_no_events,
)

LSB = MacroConfig(weight_bits=2, input_bits=1)


def wrong(sigma: float) -> float:
    """Probability that noise of so many LSB makes another code of one in the middle."""
    return math.erfc(0.5 / (sigma * math.sqrt(2.0)))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Algorithm.EXACT),
        ({"adc_bits": None}, Algorithm.EXACT),
        ({"random_noise": "0.2 lsb"}, Algorithm.EVENTS),
        ({"random_noise": "0.3 lsb"}, Algorithm.CONVERSIONS),  # often wrong
        ({"random_noise": 0.1, "adc_bits": None}, Algorithm.CONVERSIONS),  # there are no codes
        ({"rows": 256}, Algorithm.CONVERSIONS),  # lossy
        ({"rows": 256, "random_noise": "0.2 lsb"}, Algorithm.CONVERSIONS),
        ({"random_noise": "0.2 lsb", "weight_parallel": True}, Algorithm.CONVERSIONS),
        ({"static": {"offset": "0.1 lsb"}}, Algorithm.EVENTS),
        ({"static": {"offset": "0.3 lsb"}}, Algorithm.CONVERSIONS),  # often wrong
        ({"static": {"offset": "0.1 lsb"}, "random_noise": "0.1 lsb"}, Algorithm.EVENTS),
        ({"static": {"offset": "3 lsb", "trim": "offset", "trim_step": "0.4 lsb"}}, Algorithm.EVENTS),
        ({"static": {"stuck_at_0": 0.1}}, Algorithm.EXACT),
        ({"static": {"inl": 0.66}, "random_noise": "0.15 lsb", "digital_levels": 1}, Algorithm.EVENTS),
    ],
    ids=str,
)
def test_the_algorithm_of_a_macro(fields: dict[str, Any], expected: Algorithm) -> None:
    assert algorithm(transfer(LSB.with_fields(**fields), False)) is expected


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
    found = why_no_events(transfer(LSB.with_fields(**{"static": {"offset": "0.05 lsb"}, **fields}), False))
    assert str(found).startswith(why)


@pytest.mark.parametrize(
    ("static", "sigma"),
    [
        ({"offset": "0.3 lsb"}, 0.3),
        ({"gain": "1 %"}, 255 / 4 / 100),
        ({"inl": "1 %"}, 0.01 * math.sqrt(255 / 4 * (1 - 255 / 4 / 256))),
        (
            {"offset": "3 lsb", "gain": "9 %", "trim": "both", "trim_step": "0.6 lsb"},
            math.hypot(1, 0.25) * 0.6 / 12**0.5,
        ),
        (
            {"offset": "0.1 lsb", "gain": "9 %", "trim": "offset", "trim_step": "0.6 lsb"},
            math.hypot(0.1, 9 * 255 / 400),
        ),
    ],
    ids=str,
)
def test_the_expected_share_of_wrong_codes(static: dict[str, Any], sigma: float) -> None:
    assert expected_error(transfer(LSB.with_fields(static=static), False)) == pytest.approx(wrong(sigma))
    noisy = LSB.with_fields(static=static, random_noise="0.2 lsb")
    assert expected_error(transfer(noisy, False)) == pytest.approx(wrong(math.hypot(sigma, 0.2)))


@pytest.mark.parametrize("above", [False, True])
def test_events_serve_up_to_the_stated_probability(above: bool) -> None:
    low, high = 0.1, 0.5
    while high - low > 1e-6:  # the sigma at which a code is wrong with that probability
        middle = (low + high) / 2
        low, high = (middle, high) if wrong(middle) < LARGEST_ERROR_PROBABILITY else (low, middle)
    circuit = transfer(LSB.with_fields(random_noise=f"{low * (1.001 if above else 0.999)} lsb"), False)
    assert (largest_error_probability(circuit) > 0.015) is above
    assert algorithm(circuit) is (Algorithm.CONVERSIONS if above else Algorithm.EVENTS)


@pytest.mark.parametrize(
    ("votes", "rows", "expected"), [(31, 255, True), (32, 255, False), (2, 65535, True), (3, 65535, False)]
)
def test_errors_are_tabulated_up_to_the_stated_votes_and_counts(votes: int, rows: int, expected: bool) -> None:
    adc_bits = rows.bit_length()
    macro = LSB.with_fields(rows=rows, adc_bits=adc_bits, votes=votes, vote_levels=1, random_noise="0.2 lsb")
    assert (why_no_events(transfer(macro, False)) is None) is expected


def test_levels_beside_their_code_are_wrong_more_often() -> None:
    circuit = transfer(LSB.with_fields(column_args={"offset": 0.4}, random_noise="0.1 lsb"), False)
    assert expected_error(circuit) == pytest.approx(
        wrong(0.1) / 2 + math.erfc(0.1 / (0.1 * math.sqrt(2))) / 2, rel=0.01
    )
    spread = transfer(LSB.with_fields(column_args={"offset": 0.4}, static={"offset": "0.1 lsb"}), False)
    assert "of the codes are wrong by the spreads" in str(why_no_events(spread))
