"""What a designer is given, and what is chosen under it."""

from dataclasses import replace
from typing import Any

import pytest

from asim_lightning.evaluation.target import Target
from asim_lightning.report.verdict import choices, front_of
from tests.report.runs import of_adc, of_chips, point, run

QUANTIZED = Target("share", 0.99, "quantized")


@pytest.mark.parametrize(
    ("macro", "axis", "easy", "hard", "is_ordered"),
    [
        ({}, "random_noise", 0, 0.1, True),
        ({}, "random_noise", "0.1 lsb", "0.5 lsb", True),
        ({}, "random_noise", "0 mV", "10 mV", True),
        ({}, "static.offset", "0.1 lsb", "0.5 lsb", True),
        ({"random_noise": "1 mV"}, "full_scale_mv", 1000, 100, True),
        ({"static": {"offset": "1 mV"}}, "full_scale_mv", 1000, 100, True),
        ({}, "random_noise", "2 lsb", 1, False),
        ({}, "random_noise", 1, "2 lsb", False),
        ({}, "chip", 9, 0, False),
        ({}, "full_scale_mv", 100, 900, False),
    ],
)
def test_the_hardest_condition_is_last(
    macro: dict[str, Any], axis: str, easy: Any, hard: Any, is_ordered: bool
) -> None:
    """Without an order of the values, fewer points keep the target under the hardest; with one, more do by chance."""
    few = easy if is_ordered else hard
    right = {(8, easy): 368, (7, easy): 368, (8, hard): 368, (7, hard): 368, (7, few): 100}
    points = [
        point(found, {"adc_bits": bits, axis: value}, {"energy_uj": 0.5 * bits}, ((found - 368) / 400,) * 3)
        for (bits, value), found in right.items()
    ]
    for order in (points, points[::-1]):
        found = choices(run(order, settings={"model": {"plan": {"macro": macro}}}).decided(QUANTIZED))
        assert [each.conditions for each in found] == [{axis: easy}, {axis: hard}]
        assert [each.best and each.best.axes["adc_bits"] for each in found] == ([8, 7] if is_ordered else [7, 8])


def test_a_technology_is_chosen_also_if_a_static_effect_has_the_same_name() -> None:
    found = run([point(360, {"technology.parasitics": value}) for value in (1, 2)])
    assert len(choices(found.decided(Target("accuracy", 0.88)))) == 1


def test_the_front_is_of_points_under_the_same_conditions() -> None:
    for objectives in (("accuracy", "energy"), ("latency", "accuracy")):
        front = front_of(replace(of_adc(), objectives=objectives))
        assert sorted((each.axes["random_noise"], each.axes["adc_bits"]) for each in front) == [
            (0, 6), (0, 7), (0.1, 6), (0.1, 7), (0.1, 8),
        ]  # fmt: skip
    assert front_of(of_adc(False)) == []
    assert front_of(run([point(300 + rows, {"rows": rows}, {"energy_uj": 1.0}) for rows in (1, 2)])) == []
    assert front_of(replace(of_adc(), yields=of_chips().yields)) == []
