"""`Plan(preset=...)`: the published macro's fields are the defaults, and the plan holds the macro that came of it."""

from dataclasses import asdict, replace

import pytest

from asim_lightning import MacroConfig, Plan
from asim_lightning.circuit.presets import preset


def test_the_macro_is_that_of_the_preset_and_is_held_resolved() -> None:
    plan = Plan(preset="cr_cim_2024")
    assert (plan.macro, plan.preset) == (preset("cr_cim_2024").config(), None)
    assert replace(plan, stem="float").macro == plan.macro
    assert Plan(**asdict(plan)).macro == plan.macro


def test_fields_given_beside_it_win() -> None:
    plan = Plan(preset="cr_cim_2024", macro={"adc_bits": 8, "random_noise": 0})  # type: ignore[arg-type]
    assert (plan.macro.rows, plan.macro.adc_bits, plan.macro.random_noise) == (1088, 8, 0)


def test_rules_change_it() -> None:
    plan = Plan(preset="lee_2021", rules=[{"match": "head", "macro": {"encoding_bits": 1}}])  # type: ignore[list-item]
    assert plan.macro.encoding_bits == 5


def test_what_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"`plan.macro` next to `plan.preset` must be a mapping of the fields that differ"
    ):
        Plan(MacroConfig(4, 4), preset="cr_cim_2024")
    with pytest.raises(ValueError, match="nearest: cr_cim_2024"):
        Plan(preset="cr_cim_2025")
