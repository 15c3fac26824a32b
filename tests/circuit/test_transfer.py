"""What conversions do to counts: exact, distinct or lossy, noisy, and how often wrong."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import (
    Charge,
    Column,
    Conversion,
    ConverterPlaces,
    Cycle,
    MacroConfig,
    build_column,
    schedule,
    to_codes,
    transfer,
)
from asim_lightning.circuit.transfer import error_probability
from asim_lightning.engine.explanation import explain


class Bent(Column):
    """A column as a user would write it: an INL bow and noise that grows with the count."""

    def __init__(self, macro: MacroConfig, bow: float = 0.0) -> None:
        self.bow = bow

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        m = to_codes(count, cycle)
        return m - self.bow * torch.sin(math.pi * m / cycle.top_code)

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return 0.01 * count


class Louder(Bent):
    """The same, with the macro's noise in it."""

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return super().sigma(count, cycle) + self.macro.random_noise_percent


class TwoKinds(Bent):
    """Half of its converters have no noise."""

    curves = 2

    def of_curves(self, curve: Tensor, count: Tensor, cycle: Cycle) -> tuple[Tensor, Tensor]:
        return self.level(count, cycle), 0.3 * curve


def kinds(signed: bool = False, rows_in_use: int | None = None, **fields: Any) -> list[str]:
    """Kinds of the cycles of one weight bit, input group by input group."""
    macro = MacroConfig(**fields)
    return [str(kind) for kind in transfer(macro, signed, rows_in_use).conversions[:: macro.weight_bits]]


BENT = {"adc_bits": 6, "adc_step": 1, "rows_in_use": 20, "column": f"{__name__}.Bent"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"rows": 85}, "exact"),
        ({"rows": 254}, "distinct"),
        ({"rows": 256}, "lossy"),
        ({"rows": 257, "adc_bits": 16}, "exact"),
        ({"rows": 10_000, "adc_bits": None}, "exact"),
        ({"column": "current", "column_args": {"alpha": 0.0}}, "exact"),
        ({"column": "current", "column_args": {"alpha": 1e-3}}, "lossy"),
        ({"column": "current", "column_args": {"cell_sigma": 1.0}}, "lossy"),
        # with a range, cycles are exact for the counts that tiles meet
        ({"adc_bits": 8, "adc_step": 1}, "exact"),
        ({"adc_bits": 6, "adc_step": 1}, "lossy"),
        ({"adc_bits": 6, "adc_step": 1, "rows_in_use": 63}, "exact"),
        ({"adc_bits": 6, "adc_step": 1, "rows_in_use": 64}, "lossy"),
        ({"adc_bits": 6, "adc_step": 1, "encoding_bits": 2, "rows_in_use": 21}, "exact"),
        ({"adc_bits": 6, "adc_step": 1, "encoding_bits": 2, "rows_in_use": 22}, "lossy"),
        ({"adc_bits": 8, "adc_step": 2, "rows_in_use": 20}, "lossy"),
        ({"adc_bits": 8, "adc_step": 1, "adc_low": 1, "rows_in_use": 20}, "lossy"),
        ({"adc_bits": 8, "adc_step": 1, "adc_low": 1, "rows_in_use": 20, "column_args": {"offset": 1.0}}, "distinct"),
        ({"adc_bits": 6, "rows_in_use": 20}, "lossy"),  # a layer's rows change nothing if the range is the full scale
        (BENT, "exact"),
        ({**BENT, "column_args": {"bow": 9.0}}, "lossy"),
    ],
)
def test_kinds_of_cycles(fields: dict[str, Any], expected: str) -> None:
    assert set(kinds(**fields)) == {expected}


def test_a_users_column_is_mapped_to_the_range() -> None:
    """Level and sigma of the user's are codes of the full range."""
    macro = MacroConfig(rows=100, adc_bits=6, adc_step=2, adc_low=10, encoding_bits=3, column=f"{__name__}.Bent")
    found = transfer(macro, False)
    cycle, own = found.cycles[0], Bent(macro)
    counts = torch.arange(0.0, 701.0)
    full = schedule(macro.with_fields(adc_step=None, adc_low=0), False)[0]
    expected = (own.level(counts, full).double() * 700 / 63 - 10) / 2
    torch.testing.assert_close(found.column.level(counts, cycle).double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(found.column.sigma(counts, cycle), own.sigma(counts, full) * 700 / (63 * 2))


class Same(Column):
    """The charge column again, with its noise."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return super().level(count, cycle)


@pytest.mark.parametrize("noise", ["0.3 lsb", 0.7, "2 mV"])
@pytest.mark.parametrize("encoding_bits", [1, 3])
def test_noise_does_not_shrink_with_the_range(noise: float | str, encoding_bits: int) -> None:
    fields: dict[str, Any] = {"rows": 100, "adc_bits": 6, "adc_step": 4, "adc_low": 2, "full_scale_mv": 500.0}
    macro = MacroConfig(encoding_bits=encoding_bits, random_noise=noise, **fields)
    own, users = (transfer(macro.with_fields(column=name), True) for name in ("charge", f"{__name__}.Same"))
    for cycle in own.cycles:
        percent = {"0.3 lsb": 0.3 * 4 / cycle.full_scale, 0.7: 0.007, "2 mV": 2 / 500}[noise]
        for column in (own.column, users.column):
            assert float(column.level(torch.tensor(12.0), cycle)) == pytest.approx(2.5, rel=1e-6)
            assert float(column.sigma(torch.tensor(12.0), cycle)) == pytest.approx(percent * cycle.full_scale / 4)


def test_noise_in_lsb_needs_a_sigma_that_knows_the_lsb() -> None:
    class_path = f"{__name__}.Louder"
    transfer(MacroConfig(adc_step=1, random_noise="0.3 lsb", column=class_path), False)
    with pytest.raises(ValueError, match=r"^`macro.random_noise` must be in % or mV with `macro.adc_step`, several"):
        transfer(MacroConfig(adc_step=1, random_noise="0.3 lsb", column=class_path, encoding_bits=2), False)


def test_the_sign_plane_and_the_rest_of_a_macro_may_differ() -> None:
    assert kinds(True, input_bits=9, encoding_bits=4) == ["lossy", "lossy", "exact"]
    assert kinds(input_bits=7, rows=85, encoding_bits=2) == ["exact"] * 4
    assert kinds(input_bits=7, rows=255, encoding_bits=2) == ["lossy"] * 3 + ["exact"]


def test_digital_cycles_are_exact_unless_they_pass_the_adc() -> None:
    for digital_adc, expected in ((False, Conversion.EXACT), (True, Conversion.LOSSY)):
        macro = MacroConfig(rows=256, digital_levels=3, digital_adc=digital_adc, random_noise=1.0)
        found = transfer(macro, False)
        digital = [not cycle.analog for cycle in found.cycles]
        assert {kind for kind, each in zip(found.conversions, digital, strict=True) if each} == {expected}
        assert [not noisy for noisy in found.noisy] == digital


def test_error_probability_of_a_cycle_is_the_average_over_the_middle_half_of_its_counts() -> None:
    macro = MacroConfig(random_noise="0.2 lsb", column="current", column_args={"alpha": 1e-3})

    def wrong(count: int) -> float:
        level = count / (1 + 1e-3 * count)
        above = math.floor(level + 0.5) + 0.5 - level
        return sum(math.erfc(each / (0.2 * math.sqrt(2))) for each in (above, 1 - above)) / 2

    found = error_probability(build_column(macro), schedule(macro, False)[0])
    assert found == pytest.approx(sum(map(wrong, range(64, 192))) / 128, rel=1e-4)
    with torch.device("meta"):  # as if made within a network on another device
        half = explain(MacroConfig(column=f"{__name__}.TwoKinds")).cycles[0]
    assert half.error_probability == pytest.approx(math.erfc(0.5 / (0.3 * math.sqrt(2))) / 2, rel=1e-4)
    assert half.sigma_lsb == pytest.approx(0.3 / math.sqrt(2))  # of all converters


def test_a_users_column_is_named_by_its_import_path() -> None:
    macro = MacroConfig(column=f"{__name__}.Bent", column_args={"bow": 0.3})
    found = transfer(macro, False)
    assert isinstance(found.column, Bent)
    assert found.column.macro is macro
    assert all(found.noisy)
    assert set(found.conversions) == {Conversion.EXACT}  # a bow of 0.3 LSB rounds away
    assert set(transfer(macro.with_fields(column_args={"bow": 3.0}), False).conversions) == {Conversion.LOSSY}


def test_an_ideal_converter_is_exact_beyond_what_float32_holds() -> None:
    assert transfer(MacroConfig(weight_parallel=True, adc_bits=None, rows=1024), False).exact


class Slope(Charge):
    """Converters whose gain rises a little along the outputs."""

    def converters(self, places: ConverterPlaces) -> tuple[Tensor | float, Tensor | float]:
        return 1.0 + 1e-6 * places.column, 0.0


def test_conversions_are_lossy_with_a_pattern_and_known_for_equal_converters() -> None:
    circuit = transfer(MacroConfig(column=f"{__name__}.Slope"), False)
    assert {*circuit.conversions} == {Conversion.LOSSY}
    assert circuit.equal_conversions == transfer(MacroConfig(), False).conversions


def test_bit_positions_are_diagonals_of_cycles() -> None:
    assert transfer(MacroConfig(4, 5, 16, 6), True).bit_positions == 8
    assert transfer(MacroConfig(4, 6, 16, 6, encoding_bits=2), False).bit_positions == 6
    assert transfer(MacroConfig(4, 6, 16, 6, weight_parallel=True), False).bit_positions == 1
