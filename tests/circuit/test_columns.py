"""Gain and offset that all converters of a column share, and noise of a user's own."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import Charge, Column, Conversion, Cycle, MacroConfig, resolved, transfer

COUNTS = torch.arange(256.0)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"column_args": {"gain": 0.97, "offset": -0.4}}, COUNTS * 0.97 - 0.4),
        (
            {"column": "current", "column_args": {"alpha": 1e-3, "gain": 1.2, "offset": 1.0}},
            COUNTS / (1 + 1e-3 * COUNTS) * 1.2 + 1.0,  # compression comes before gain
        ),
        (
            {"adc_bits": 5, "adc_step": 4, "adc_low": 20, "column_args": {"gain": 1.1, "offset": 0.5}},
            (COUNTS - 20) / 4 * 1.1 + 0.5,
        ),
    ],
    ids=["charge", "current", "ADC range"],
)
def test_gain_and_offset_are_of_codes(fields: dict[str, Any], expected: Tensor) -> None:
    circuit = transfer(MacroConfig(**fields), False)
    assert torch.allclose(circuit.column.level(COUNTS, circuit.cycles[0]), expected)
    assert set(circuit.conversions) == {Conversion.LOSSY}


def test_without_gain_and_offset_levels_are_the_published_ones() -> None:
    bare, named = (transfer(MacroConfig(column_args=each), False) for each in ({}, {"gain": 1.0, "offset": 0}))
    levels = [each.column.level(COUNTS, each.cycles[0]) for each in (bare, named)]
    assert torch.equal(levels[0], COUNTS)
    assert torch.equal(levels[1], COUNTS)
    assert set(named.conversions) == {Conversion.EXACT}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no number": ({"column_args": {"gain": "1 %"}}, "`macro.column_args.gain` must be a finite number, got '1 %'"),
    "no gain": ({"column_args": {"gain": 0}}, "`macro.column_args.gain` must be more than 0 and at most 10, got 0"),
    "far off": ({"column_args": {"offset": 300}}, "`macro.column_args.offset` must be -255..255 LSB, got 300"),
    "nan": ({"column_args": {"offset": float("nan")}}, "`macro.column_args.offset` must be a finite number, got nan"),
    "ideal": (
        {"adc_bits": None, "column_args": {"offset": 1.0}},
        "`macro.column_args.offset` must be -0..0 LSB, got 1.0",
    ),
    "ideal gain": (
        {"adc_bits": None, "column_args": {"gain": 1.1}},
        "must be 1 for an ideal converter (adc_bits null), got 1.1",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_arguments_are_refused(wrong: str) -> None:
    fields, said = WRONG[wrong]
    with pytest.raises(ValueError, match=re.escape(said)):
        resolved(MacroConfig(**fields))


class Derived(Charge):
    """Charge, with noise of its own."""


def test_a_derived_column_has_no_gain_before_an_adc_range() -> None:
    kind, ranged = f"{__name__}.Derived", {"rows": 255, "adc_bits": 6, "adc_step": 4}
    transfer(MacroConfig(column=kind, **ranged), False)
    transfer(MacroConfig(column=kind, column_args={"gain": 1.1}), False)
    with pytest.raises(ValueError, match=r"`macro\.column_args\.gain` must be 1 and `offset` 0 with `macro\.adc_step`"):
        transfer(MacroConfig(column=kind, column_args={"gain": 1.1}, **ranged), False)


class OwnNoise(Column):
    """Noise of its own, which takes nothing from the macro."""

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return torch.full((), 0.3)


class HalfOwnNoise(Column):
    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return torch.full((), 0.3 + self.macro.random_noise_percent)


class Quadrature(Column):
    """Much noise of its own beside the macro's."""

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return (super().sigma(count, cycle) ** 2 + 4.0).sqrt()


@pytest.mark.parametrize(
    ("column", "fields", "refused"),
    [
        ("OwnNoise", {}, None),
        ("OwnNoise", {"random_noise": 0.2}, "random_noise"),
        ("OwnNoise", {"nonlinear_noise": 0.2}, "nonlinear_noise"),
        ("OwnNoise", {"random_noise": "0.1 lsb", "digital_levels": 15}, None),  # no cycle has noise
        ("Quadrature", {"random_noise": "0.001 lsb"}, None),
        ("HalfOwnNoise", {"random_noise": 0.2}, None),
        ("HalfOwnNoise", {"random_noise": 0.2, "nonlinear_noise": 0.2}, "nonlinear_noise"),
    ],
)
def test_noise_that_a_column_ignores_is_refused(column: str, fields: dict[str, Any], refused: str | None) -> None:
    macro = MacroConfig(column=f"{__name__}.{column}", **fields)
    if refused is None:
        assert any(transfer(macro, False).noisy) == ("digital_levels" not in fields)
        return
    said = f"`macro.{refused}` must be 0 with column {macro.column}, whose sigma does not depend on it, got 0.2"
    with pytest.raises(ValueError, match=re.escape(said)):
        transfer(macro, False)
