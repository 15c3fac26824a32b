"""What a designer is given, and what is chosen under it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import Target
from asim_lightning.report.choices import choices, front_of
from tests.report.runs import of_adc, of_chips, point, run


@pytest.mark.parametrize(
    ("macro", "axis", "values"),
    [
        ({}, "random_noise", ["0.5 lsb", "0.1 lsb"]),
        ({}, "static.offset", ["0.5 lsb", "0.1 lsb"]),
        ({"random_noise": "1 mV"}, "full_scale_mv", [100, 1000]),
        ({"static": {"offset": "1 mV"}}, "full_scale_mv", [100, 1000]),
    ],
)
def test_the_hardest_condition_is_last(macro: dict[str, Any], axis: str, values: list[Any]) -> None:
    # by chance the easier one keeps less
    results = [
        Result({axis: value}, "simulated", 1, 400, share, share - 0.03, share + 0.03, 1.0, "")
        for value, share in zip(values, (0.95, 0.9), strict=True)
    ]
    settings = {"model": {"plan": {"macro": macro}}}
    found = choices(Run(Path("sweep"), tuple(results), settings).decided(Target.read("88 %", "`--target`")))
    assert [each.conditions[axis] for each in found] == values[::-1]


def test_a_technology_is_chosen_also_if_a_static_effect_has_the_same_name() -> None:
    results = [
        Result({"technology.parasitics": value}, "simulated", 1, 400, 0.9, 0.87, 0.93, 1.0, "") for value in (1, 2)
    ]
    assert len(choices(Run(Path("search"), tuple(results)).decided(Target.read("88 %", "`--target`")))) == 1


def test_the_front_is_of_points_under_the_same_conditions() -> None:
    for objectives in (("accuracy", "energy"), ("latency", "accuracy")):
        front = front_of(replace(of_adc(), objectives=objectives))
        assert sorted((each.axes["random_noise"], each.axes["adc_bits"]) for each in front) == [
            (0, 6), (0, 7), (0.1, 6), (0.1, 7), (0.1, 8),
        ]  # fmt: skip
    assert front_of(of_adc(False)) == []
    assert front_of(run([point(300 + rows, {"rows": rows}, {"energy_uj": 1.0}) for rows in (1, 2)])) == []
    assert front_of(replace(of_adc(), yields=of_chips().yields)) == []
