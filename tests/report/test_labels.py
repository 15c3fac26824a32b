"""Names and units of the axes of a sweep, and numbers in words."""

from dataclasses import asdict

import pytest

from asim_lightning.circuit import MacroConfig, StaticEffects
from asim_lightning.evaluation.axis_settings import SETTINGS
from asim_lightning.evaluation.results import Result
from asim_lightning.report.labels import (
    cost_text,
    duration,
    head_of,
    in_one_unit,
    label_of,
    legend_text,
    macro_words,
    rate,
)
from asim_lightning.table import short


@pytest.mark.parametrize(
    ("axes", "text"),
    [
        ({"full_scale_mv": 700.5, "votes": 3}, "full scale 700.5 mV, votes 3"),
        ({"adc_bits": None, "digital_adc": True}, "ADC bits null, digital cycles pass the ADC true"),
        ({"rules.re:fc|conv1.adc_bits": 6}, "ADC bits of re:fc|conv1 6"),
        ({"static": {"cell_mismatch": "3 %", "stuck_at_1": 1e-4}}, "static cell mismatch 3 %, stuck at 1 0.0001"),
        ({"static.offset": "0.3 lsb", "static.stuck_at_0": 0.01}, "offset 0.3 lsb, stuck at 0 0.01"),
        ({"rules.layer1.*.static.gain": 1}, "gain of layer1.* 1 %"),
        ({"technology.supply": 0.8, "checkpoint": "a"}, "supply 0.8 V, checkpoint a"),
        ({"my_axis": 3}, "my axis 3"),
    ],
)
def test_legend_text(axes: dict[str, object], text: str) -> None:
    assert legend_text(axes) == text  # type: ignore[arg-type]


def test_every_field_has_a_label_of_its_own_and_one_that_is_no_name() -> None:
    heads = {name: head_of(name) for name in SETTINGS}
    assert len(set(heads.values())) == len(heads)
    assert not [name for name, head in heads.items() if not head or "_" in head]
    assert (label_of("energy_uj"), label_of("tops_per_watt")) == ("energy (µJ)", "TOPS/W")


@pytest.mark.parametrize(
    ("values", "label", "found"),
    [
        ((0, 0.1), "random noise (% of full scale)", [0, 0.1]),
        ((0, "0.5 lsb"), "random noise (LSB)", [0, 0.5]),
        (("1 mV", "2 mV"), "random noise (mV)", [1, 2]),
        ((0.1, "0.5 lsb"), "random noise", ["0.1 %", "0.5 lsb"]),
    ],
)
def test_noise_of_one_unit_is_a_number(values: tuple[object, ...], label: str, found: list[object]) -> None:
    rows = [Result({"random_noise": value}, "simulated", 1, 9, 0.5, 0.4, 0.6, 1, "") for value in values]  # type: ignore[dict-item]
    given, said = in_one_unit(rows, "random_noise")
    assert ([row.axes["random_noise"] for row in given], said) == (found, label)


def test_a_macro_is_named_by_its_size_and_by_what_is_not_usual() -> None:
    assert macro_words(asdict(MacroConfig())) == "W8A8, 255 rows, 8-bit ADC"
    static = StaticEffects(offset="0.3 lsb", trim="offset")
    noisy = asdict(MacroConfig(random_noise="0.3 lsb", nonlinear_noise=0.05, column="current", static=static))
    said = "random noise 0.3 lsb, nonlinear noise 0.05 %, column model current, offset 0.3 lsb, trim offset"
    assert macro_words(noisy) == f"W8A8, 255 rows, 8-bit ADC, {said}"
    varied = ("random_noise", "column", "nonlinear_noise", "rows", "static.offset")
    assert macro_words(noisy, {"votes": 3}, varied) == "W8A8, 8-bit ADC, votes 3, trim offset"
    assert macro_words(noisy, {"adc_bits": None, "chip": 2}, (*varied, "static")) == "W8A8, ideal ADC, chip 2"
    assert macro_words(noisy, {"static": {"gain": 1}}, varied) == "W8A8, 8-bit ADC, gain 1 %"


def test_times_and_rates_have_a_few_digits() -> None:
    seconds = (0.0123, 42, 119.94, 300, 7199, 7560, 302_400)
    texts = ["12 ms", "42.0 s", "119.9 s", "5.0 min", "120.0 min", "2.1 h", "3.5 days"]
    assert [duration(each) for each in seconds] == texts
    assert duration(300, 0) == "5 min"
    assert [short(value) for value in (0.128, 12.34, 1234.5)] == ["0.13", "12.3", "1,234"]
    assert [rate(value) for value in (None, 8e6, 2.74e12)] == ["-", "8.00e6", "2.74e12"]


def test_a_number_of_adcs_has_all_its_digits() -> None:
    assert cost_text("adcs", {"adcs": 11696.0}) == "11,696"
    assert cost_text("area_mm2", {"area_mm2": 1.23456}) == "1.235 mm²"
