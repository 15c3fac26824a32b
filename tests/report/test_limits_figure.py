"""Limits of properties as a table, in words, and as bars."""

from dataclasses import replace

import pytest

from asim_lightning.evaluation.target import Limit
from asim_lightning.report.spec_doctor import limits_picture, limits_table, limits_words
from tests.report.runs import LIMITS


def test_a_limit_is_read_back_from_json() -> None:
    assert tuple(Limit.of_json(each.to_json()) for each in LIMITS) == LIMITS


def test_numbers_of_limits_with_a_noise_in_other_units() -> None:
    head, *rows = limits_table(LIMITS, 255.0, 510.0).numbers
    assert head == ["property", "unit", "kept", "missed", "kept_percent", "kept_mv", "images_to_decide"]
    assert rows[0] == ["random_noise", "lsb", 0.2, 0.8, pytest.approx(20 / 255), pytest.approx(0.4), 1500]
    assert rows[1:3] == [["adc_bits", "bits", 7, 6, None, None, None], ["gain", "%", None, 0.4, None, None, 2000]]
    shown = limits_table(LIMITS, 255.0, 510.0).shown
    assert [row[3] for row in shown[1:]] == ["kept: 0.0784 %, 0.4 mV", "", "", ""]
    assert [row[3] for row in limits_table(LIMITS, 255.0, None).shown[1:]] == ["kept: 0.0784 %", "", "", ""]
    assert shown[2][-1] == "nothing"  # 7 bits are kept and 6 missed


def test_limits_in_words() -> None:
    said = limits_words(LIMITS)
    assert "random noise 0.2 lsb, adc bits 7, all together 0.8 times; " in said
    assert said.endswith(" gain")
    assert " no " not in limits_words(LIMITS[:2])
    assert limits_words([replace(LIMITS[0], kept=None)]).endswith(" random noise")


def test_bars_are_kept_undecided_and_missed_values() -> None:
    picture = limits_picture(LIMITS, "t")
    widths = {each.name: [round(x, 3) for x in each.x] for each in picture.series}
    assert widths == {
        "kept": [0.6, 0.667, 0.0, 1.0], "undecided": [0.2, 0.0, 0.6, 0.0], "missed": [0.2, 0.333, 0.4, 0.0]
    }  # fmt: skip
    assert picture.y.names == [
        "random noise: 0.2 / 0.8 lsb", "adc bits: 7 / 6 bits", "gain: none / 0.4 %", "all together: 0.8 / none times"
    ]  # fmt: skip
