"""Noise and offsets in LSB that keep their voltage: the same counts of noise in every cycle that a voltage has."""

import pytest

from asim_lightning.circuit import MacroConfig, schedule
from asim_lightning.circuit.voltage import at_voltage_of, with_adc_range

BASE = MacroConfig(rows=60, adc_bits=6, random_noise="0.4 lsb", nonlinear_noise="0.1 lsb")


def counts_of_noise(macro: MacroConfig, signed: bool) -> list[float]:
    """Random noise of each cycle, in counts."""
    scales = [cycle.full_scale for cycle in schedule(macro, signed)]
    return [macro.noise_percents(scale)[0] / 100 * scale for scale in scales]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("encoding", [1, 2])
@pytest.mark.parametrize("step", [None, 3])
def test_noise_in_counts_is_the_same_for_every_range(step: int | None, encoding: int, signed: bool) -> None:
    before = BASE.with_fields(adc_step=step, encoding_bits=encoding, input_bits=4)
    wanted = pytest.approx(counts_of_noise(before, signed))
    ranged = with_adc_range(before, signed, 1, 2)
    assert (ranged.adc_step, ranged.adc_low) == (1, 2)
    assert counts_of_noise(ranged, signed) == wanted
    finer = before.with_fields(adc_bits=9)
    assert counts_of_noise(finer.with_fields(**at_voltage_of(finer, before, signed)), signed) == wanted


def test_offset_and_trim_step_keep_their_counts() -> None:
    before = BASE.with_fields(rows=63, static={"offset": "2 lsb", "trim_step": "0.5 lsb", "trim": "offset"})
    after = with_adc_range(before, False, 1, 0)  # 63 codes, of one count each, as before
    assert after.converter_spreads == pytest.approx(before.converter_spreads)
    coarse = with_adc_range(before.with_fields(encoding_bits=2), False, 1, 0)
    assert coarse.converter_spreads == pytest.approx((6.0, 1.5))  # a code was three counts
    bits = before.with_fields(adc_bits=8)
    wider = bits.with_fields(**at_voltage_of(bits, before, False))
    assert wider.converter_spreads == pytest.approx((2 * 255 / 63, 0.5 * 255 / 63))


def test_other_units_and_an_equal_adc_change_nothing() -> None:
    percents = BASE.with_fields(random_noise=0.3, nonlinear_noise="0.1 mV", full_scale_mv=500)
    assert at_voltage_of(percents.with_fields(adc_bits=8), percents, False) == {}
    assert at_voltage_of(BASE.with_fields(votes=3, vote_levels=1), BASE, False) == {}
    with pytest.raises(ValueError, match=r"`macro\.random_noise` must be in % or mV"):
        at_voltage_of(BASE, MacroConfig(adc_bits=None), False)
