"""The grid of a sweep has each combination once, and is checked against the rules before anything is computed."""

from dataclasses import fields

import pytest

from asim_lightning import MacroConfig, Rule
from asim_lightning.sweep.axes import SweepAxes
from tests.sweep.conftest import Make


def test_every_field_of_the_macro_is_an_axis() -> None:
    assert {field.name for field in fields(SweepAxes)} == {field.name for field in fields(MacroConfig)}
    assert all(field.default is None for field in fields(SweepAxes))


def test_a_value_given_twice_counts_once() -> None:
    assert list(SweepAxes(adc_bits=[8, 8], votes=[1]).points()) == [{"adc_bits": 8, "votes": 1}]


def test_one_noise_written_in_several_ways_is_one_point() -> None:
    axes = SweepAxes(random_noise=["0.3 lsb", "0.3lsb", "0.30 LSB", 0.1, "0.1 %"])
    assert list(axes.points()) == [{"random_noise": "0.3 lsb"}, {"random_noise": 0.1}]


def test_axes_that_do_not_fit_a_rule_are_refused_before_anything_is_computed(make: Make) -> None:
    with pytest.raises(
        ValueError, match=r"^`adc_bits` changes nothing, as `plan\.rules` decide .*, at the point adc_bi"
    ):
        make(SweepAxes(adc_bits=[3]), rules=[Rule("*", {"adc_bits": 8})])
    with pytest.raises(
        ValueError, match=r"^Layer `fc`: `macro\.encoding_bits` must be 1\.\.2 .* encoding_bits 3 of `axes`"
    ):
        make(SweepAxes(encoding_bits=[1, 3]), rules=[Rule("fc", {"input_bits": 2})])
