"""What a macro derives from its fields: noise units, the top code, equality."""

from dataclasses import fields
from typing import Any

import pytest

from asim_lightning.circuit import MacroConfig


@pytest.mark.parametrize(
    ("given", "percent"),
    [
        ({"random_noise": 0.2}, 0.2),
        ({"random_noise": "0.2 %"}, 0.2),
        ({"random_noise": "0.51 lsb"}, 0.2),
        ({"random_noise": " 5.1E-1LSB "}, 0.2),
        ({"random_noise": "0.3 lsb", "adc_bits": 4}, 2.0),
        ({"random_noise": "0.3 lsb", "adc_bits": 5, "weight_parallel": True}, 2.0),
        ({"random_noise": "1.2 mV", "full_scale_mv": 600}, 0.2),
        ({"random_noise": "1.2 mv", "full_scale_mv": 600.0, "adc_bits": None}, 0.2),
    ],
)
def test_noise_in_any_unit_is_percent_of_full_scale(given: dict[str, Any], percent: float) -> None:
    assert MacroConfig(**given).random_noise_percent == pytest.approx(percent, rel=1e-12)
    swapped = {"nonlinear_noise" if k == "random_noise" else k: v for k, v in given.items()}
    assert MacroConfig(**swapped).nonlinear_noise_percent == pytest.approx(percent, rel=1e-12)


@pytest.mark.parametrize(
    ("adc_bits", "parallel", "top"), [(8, False, 255), (8, True, 127), (1, False, 1), (None, True, None)]
)
def test_top_code(adc_bits: int | None, parallel: bool, top: int | None) -> None:
    assert MacroConfig(adc_bits=adc_bits, weight_parallel=parallel).top_code == top


def test_changed_fields_leave_the_original() -> None:
    macro = MacroConfig()
    assert macro.with_fields(rows=64, adc_bits=None) == MacroConfig(rows=64, adc_bits=None)
    assert macro == MacroConfig()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"random_noise": 1}, {"random_noise": 1.0}),
        ({"column_args": {"alpha": 0.1, "cell_sigma": 1.0}}, {"column_args": {"cell_sigma": 1.0, "alpha": 0.1}}),
        ({"rows": 64}, {"rows": 64}),
    ],
)
def test_equal_macros_have_equal_hashes(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = MacroConfig(column="current", **one), MacroConfig(column="current", **other)
    assert first == second
    assert hash(first) == hash(second)


def test_a_macro_holds_its_fields_alone() -> None:
    """jsonargparse takes whatever a default holds for a field."""
    macro = MacroConfig()
    hash(macro), macro.top_code, macro.random_noise_percent
    assert list(vars(macro)) == [f.name for f in fields(macro)]
