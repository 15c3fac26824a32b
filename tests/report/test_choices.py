"""What a designer is given, and what is chosen under it."""

from pathlib import Path
from typing import Any

import pytest

from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import Target
from asim_lightning.report.choices import choices


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
    results = [Result({axis: value}, "simulated", 1, 400, 0.9, 0.87, 0.93, 1.0, "") for value in values]
    settings = {"model": {"plan": {"macro": macro}}}
    found = choices(Run(Path("sweep"), tuple(results), settings).decided(Target.read("88 %", "`--target`")))
    assert [each.conditions[axis] for each in found] == values[::-1]


def test_a_technology_is_chosen_also_if_a_static_effect_has_the_same_name() -> None:
    results = [
        Result({"technology.parasitics": value}, "simulated", 1, 400, 0.9, 0.87, 0.93, 1.0, "") for value in (1, 2)
    ]
    assert len(choices(Run(Path("search"), tuple(results)).decided(Target.read("88 %", "`--target`")))) == 1
