"""Points that compute the same are one, whatever they are called; those that do not are several."""

from typing import Any

import pytest

from asim_lightning import MacroConfig, Plan, Rule
from asim_lightning.sweep.contents import Contents
from asim_lightning.sweep.point import macro_content, network_content
from tests.classifier.conftest import make_model

BASE = MacroConfig(random_noise=0.3)


def content(macro: MacroConfig) -> dict[str, object]:
    return macro_content(macro, False, Contents())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"votes": 1}, {"votes": 5, "vote": "median"}),
        ({"vote_levels": 3, "votes": 1}, {"vote": "mean"}),
        ({"random_noise": "0.51 lsb"}, {"random_noise": 0.2}),
        ({"random_noise": "3 mV", "full_scale_mv": 1000}, {"random_noise": 0.3}),
        ({"digital_adc": True}, {}),
        ({"vote_levels": 40, "votes": 3}, {"vote_levels": 50, "votes": 3}),
    ],
    ids=str,
)
def test_macros_that_compute_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert content(BASE.with_fields(**one)) == content(BASE.with_fields(**other))


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 254},
        {"adc_bits": None},
        {"weight_bits": 7},
        {"encoding_bits": 2},
        {"nonlinear_noise": 0.1},
        {"vote_levels": 3, "votes": 3},
        {"digital_levels": 2},
        {"weight_parallel": True},
        {"column": "current"},
        {"column": "current", "column_args": {"alpha": 0.1}},
    ],
    ids=str,
)
def test_macros_that_do_not(changes: dict[str, Any]) -> None:
    others = [content(BASE.with_fields(**changes)), content(BASE.with_fields(column="current"))]
    assert content(BASE) not in others
    voted = BASE.with_fields(vote_levels=3, votes=3)
    assert content(voted) != content(voted.with_fields(vote="mean"))


def test_a_network_is_the_macros_that_its_layers_get() -> None:
    def of(kind: Any, **macro: Any) -> object:
        plan = Plan(MacroConfig(4, 4).with_fields(**macro), [Rule("fc", {"adc_bits": 8})])
        return network_content(make_model(plan=plan).backbone, kind, Contents())

    assert of("float", rows=64) == of("float")
    assert of("quantized", rows=64) == of("quantized") != of("quantized", weight_bits=5)
    assert of("simulated") != of("simulated", rows=64)
    assert of("simulated", votes=3) == of("simulated")
