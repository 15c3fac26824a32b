"""The plan of a conversion: its values, presets, and the patterns that name layers."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from asim_lightning import MacroConfig, Plan
from asim_lightning.circuit.presets import preset
from asim_lightning.surgery.plan import matching

KINDS = {
    "conv1": "stem",
    "layer1.0.conv1": "conv",
    "layer1.0.conv10": "conv",
    "layer2.0.conv1": "depthwise",
    "fc": "head",
}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("conv1", {"conv1"}),
        ("*conv1", {"conv1", "layer1.0.conv1", "layer2.0.conv1"}),
        ("layer1.*", {"layer1.0.conv1", "layer1.0.conv10"}),
        ("layer[12].?.conv1", {"layer1.0.conv1", "layer2.0.conv1"}),
        ("conv", {"layer1.0.conv1", "layer1.0.conv10"}),  # a kind
        ("head", {"fc"}),
        ("re:layer1.*conv1", {"layer1.0.conv1"}),  # of the whole name
        (r"re:.*\.conv\d+", {"layer1.0.conv1", "layer1.0.conv10", "layer2.0.conv1"}),
    ],
)
def test_names_that_a_pattern_matches(pattern: str, names: set[str]) -> None:
    assert matching(pattern, KINDS, "plan.rules") == names


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("layer9.*", r"`plan\.rules` matches no layer with 'layer9\.\*'; nearest: layer"),
        ("re:conv", r"matches no layer with 're:conv'; nearest: conv"),
        ("re:layer(", r"`plan\.rules` has an invalid regular expression 're:layer\(': "),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        matching(pattern, KINDS, "plan.rules")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stem": "analog"}, "`plan.stem` must be one of published, quantized, float, macro, got 'analog'"),
        ({"keep": "head"}, "`plan.keep` must be a list"),
        ({"rules": [{"match": "fc"}]}, "`plan.rules.macro` must be a mapping of one or more macro fields.*'fc'"),
        ({"rules": [{"match": "fc", "macro": {"adc_bit": 3}}]}, "`macro.adc_bit` is no field.*adc_bits"),
        ({"rules": [{"mach": "fc", "macro": {}}]}, "`plan.rules` must be a list of rules with match, macro"),
        ({"macro": {"adc_bits": 0}}, r"`macro.adc_bits` must be 1..16 or null, got 0"),
        ({"input_range": "max"}, "`plan.input_range` must be one of batch, calibrated, pact, token, got 'max'"),
        ({"per_channel": 1}, "`plan.per_channel` must be true or false, got 1"),
        ({"rules": [{"match": "fc", "signed_input": 1}]}, "`plan.rules.signed_input` must be true or false, got 1"),
        ({"macro": MacroConfig(4, 4), "preset": "cr_cim_2024"}, "next to `plan.preset` must be a mapping"),
        ({"preset": "cr_cim_2025"}, "nearest: cr_cim_2024"),
    ],
)
def test_wrong_values(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(**values)


def test_fields_of_a_preset_are_the_defaults_of_a_macro() -> None:
    plan = Plan(preset="cr_cim_2024")
    assert (plan.macro, plan.preset) == (preset("cr_cim_2024").config(), None)
    assert replace(plan, stem="float").macro == plan.macro
    assert Plan(**asdict(plan)).macro == plan.macro
    plan = Plan(preset="cr_cim_2024", macro={"adc_bits": 8, "random_noise": 0})  # type: ignore[arg-type]
    assert (plan.macro.rows, plan.macro.adc_bits, plan.macro.random_noise) == (1088, 8, 0)
    plan = Plan(preset="lee_2021", rules=[{"match": "head", "macro": {"encoding_bits": 1}}])  # type: ignore[list-item]
    assert plan.macro.encoding_bits == 5
