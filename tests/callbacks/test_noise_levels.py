"""Noise levels on the macros of a network."""

import math
from typing import Any

import pytest

from asim_lightning import MacroConfig
from asim_lightning.callbacks.noise_levels import checked_levels, level_name, levels_on
from asim_lightning.nn import Assignment
from asim_lightning.report.tensorboard_curves import scalar_steps


def on(**fields: Any) -> Assignment:
    return Assignment(MacroConfig(**fields))


def test_names() -> None:
    names = {0: "0", 0.1: "0.1", "0.5 lsb": "0.5lsb", "1.20 MV": "1.2mV", "0.2 %": "0.2", 1e-5: "1e-05"}
    assert {level: level_name(level) for level in names} == names


def test_levels_rise_and_know_percent_and_lsb() -> None:
    levels = levels_on([on(adc_bits=8)], "random_noise", ["1 lsb", 0.1, 0])
    assert [level.value for level in levels] == [0, 0.1, "1 lsb"]
    assert [level.percent for level in levels] == pytest.approx([0, 0.1, 100 / 255])
    assert [level.lsb for level in levels] == pytest.approx([0, 0.255, 1])
    assert [level.place for level in levels] == [0.0, 0.1, 0.3922]


def test_levels_in_one_unit_keep_it_on_a_chart() -> None:
    for unit, steps in (("lsb", "millilsb"), ("mV", "millimV")):
        macro = on(adc_bits=8, full_scale_mv=600.0)
        places = [level.place for level in levels_on([macro], "random_noise", [f"0.3 {unit}", 0, f"1 {unit}"])]
        assert places == [0, f"0.3 {unit}", f"1 {unit}"]
        tag, at = scalar_steps("random_noise", places)
        assert tag.endswith(f"_in_{steps}")
        assert list(at.values()) == [0, 300, 1000]


def test_what_differs_between_macros_is_unknown() -> None:
    percent, lsb = levels_on([on(adc_bits=8), on(adc_bits=6)], "random_noise", [0.1, "1 lsb"])
    assert (percent.percent, percent.lsb) == (0.1, None)
    assert (lsb.percent, lsb.lsb, lsb.place) == (None, 1.0, "1 lsb")


def test_layers_whose_rule_decides_the_noise_have_no_part_in_a_level() -> None:
    quiet = Assignment(MacroConfig(), rule={"random_noise": 0})
    lsb_of_10_bits = Assignment(MacroConfig(), rule={"adc_bits": 10})
    (level,) = levels_on([on(), quiet], "random_noise", ["1 lsb"])
    assert level.percent == pytest.approx(100 / 255)
    (level,) = levels_on([on(), lsb_of_10_bits], "random_noise", ["1 lsb"])
    assert (level.percent, level.lsb) == (None, 1.0)
    with pytest.raises(
        ValueError, match=r"NoiseSweep changes nothing, because `plan\.rules`, or learnt .* decide `random_noise`"
    ):
        levels_on([quiet], "random_noise", [0.1])


def test_an_ideal_converter_has_no_lsb() -> None:
    (level,) = levels_on([on(adc_bits=None)], "nonlinear_noise", [0.5])
    assert (level.percent, level.lsb) == (0.5, None)
    with pytest.raises(ValueError, match="ideal converter"):
        levels_on([on(adc_bits=None)], "random_noise", ["1 lsb"])


def test_each_level_once() -> None:
    assert checked_levels([0.1, 0.10, 0, "1.0 LSB", "1lsb"], "random_noise") == (0.1, 0, "1lsb")


@pytest.mark.parametrize("levels", [[], "0.1", [-0.1], [101], [math.nan], ["0.5 volt"], [None]])
def test_levels_that_no_macro_takes(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="levels"):
        checked_levels(levels, "random_noise")
