"""The schedule of conversions: groups, signs, binary weights, hybrid and voting boundaries."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asim_lightning.circuit import MacroConfig, input_groups, schedule

# (input bits, encoding, signed): digital cycles at 1, 2, 3 and 4 levels, and cycles in all (SEMANTICS.md, 2.6)
PUBLISHED_BOUNDARIES = {
    (8, 1, False): ([1, 3, 6, 10], 64),
    (8, 2, False): ([1, 3, 6, 10], 32),
    (8, 4, False): ([1, 3, 5, 7], 16),
    (9, 2, True): ([1, 3, 6, 10], 40),
    (9, 4, True): ([1, 3, 6, 9], 24),
}


@pytest.mark.parametrize("case", PUBLISHED_BOUNDARIES)
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_published_numbers_of_digital_and_voted_cycles(case: tuple[int, int, bool], levels: int) -> None:
    input_bits, encoding, signed = case
    counts, total = PUBLISHED_BOUNDARIES[case]
    hybrid = schedule(MacroConfig(8, input_bits, encoding_bits=encoding, digital_levels=levels), signed)
    assert len(hybrid) == total
    assert sum(not cycle.analog for cycle in hybrid) == counts[levels - 1]
    voting = schedule(MacroConfig(8, input_bits, encoding_bits=encoding, vote_levels=levels, votes=3), signed)
    assert sum(cycle.votes == 3 for cycle in voting) == counts[levels - 1]


def test_digital_cycles_pass_the_adc_only_as_published_and_are_never_voted() -> None:
    for digital_adc in (False, True):
        macro = MacroConfig(digital_levels=2, digital_adc=digital_adc, vote_levels=3, votes=5)
        cycles = schedule(macro, False)
        assert all(c.converted == (c.analog or digital_adc) for c in cycles)
        assert sum(c.votes == 5 for c in cycles) == 6 - 3
        assert all(c.analog for c in cycles if c.votes > 1)


@pytest.mark.parametrize(
    ("bits", "encoding", "signed", "groups"),
    [
        (8, 3, False, [(0, 1, 2), (3, 4, 5), (6, 7)]),
        (8, 3, True, [(0, 1, 2), (3, 4, 5), (6,), (7,)]),
        (9, 4, True, [(0, 1, 2, 3), (4, 5, 6, 7), (8,)]),
        (2, 1, True, [(0,), (1,)]),
    ],
)
def test_groups_of_input_bits(bits: int, encoding: int, signed: bool, groups: list[tuple[int, ...]]) -> None:
    assert input_groups(bits, encoding, signed) == groups


@settings(max_examples=60)
@given(weight_bits=st.integers(2, 10), input_bits=st.integers(2, 10), signed=st.booleans(), data=st.data())
def test_cycles_rebuild_the_product(weight_bits: int, input_bits: int, signed: bool, data: st.DataObject) -> None:
    encoding = data.draw(st.integers(1, input_bits - signed))
    w = data.draw(st.integers(-(2 ** (weight_bits - 1)), 2 ** (weight_bits - 1) - 1))
    x = data.draw(st.integers(-(2 ** (input_bits - 1)) if signed else 0, 2 ** (input_bits - signed) - 1))
    total = 0
    for cycle in schedule(MacroConfig(weight_bits, input_bits, 3, encoding_bits=encoding), signed):
        x_digit = sum((x >> p & 1) << (p - cycle.input_bits[0]) for p in cycle.input_bits)
        assert x_digit * 3 <= cycle.full_scale
        total += cycle.sign * 2**cycle.shift * (w >> cycle.weight_bits[0] & 1) * x_digit
    assert total == w * x


@pytest.mark.parametrize("signed", [False, True])
def test_weight_parallel_is_one_signed_cycle(signed: bool) -> None:
    (cycle,) = schedule(MacroConfig(4, 5, 10, 6, weight_parallel=True, vote_levels=1, votes=3), signed)
    assert cycle.signed
    assert (cycle.full_scale, cycle.top_code, cycle.votes) == ((15 if signed else 31) * 7 * 10, 31, 3)
    (unvoted,) = schedule(MacroConfig(4, 5, 10, 6, weight_parallel=True, votes=3), signed)
    assert unvoted.votes == 1
