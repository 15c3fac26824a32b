"""Which algorithm a macro takes: its noise and its conversions decide, at the bounds that are stated."""

import math
from typing import Any

import pytest

from asim_lightning.circuit import Algorithm, MacroConfig, algorithm, split, transfer
from asim_lightning.circuit.algorithm import LARGEST_ERROR_PROBABILITY, has_rare_errors, largest_error_probability

LSB = MacroConfig(weight_bits=2, input_bits=1)
SIGNED: dict[str, Any] = {"input_bits": 9, "encoding_bits": 4, "random_noise": 0.05}


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
    ],
    ids=str,
)
def test_the_algorithm_of_a_macro(fields: dict[str, Any], expected: Algorithm) -> None:
    assert algorithm(transfer(LSB.with_fields(**fields), False)) is expected


def test_a_sign_plane_alone_is_split_from_digits_of_several_bits() -> None:
    circuit = transfer(MacroConfig(**SIGNED), True)
    assert algorithm(circuit) is Algorithm.SPLIT
    found = split(circuit)
    assert found is not None
    assert [len(part.cycles) for part in found] == [8, 16]
    assert split(transfer(MacroConfig(**SIGNED, vote="mean", votes=2, vote_levels=1), True)) is None


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
    assert has_rare_errors(transfer(macro, False)) is expected
