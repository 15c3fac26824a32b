"""Errors of conversions over a macro's converters and cells, against draws."""

import math
from typing import Any

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine.error_tables import blocks
from asim_lightning.engine.static_moments import ErrorsOfKind, errors_of_kinds

NORMAL = torch.randn(200_000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def errors(**fields: Any) -> list[ErrorsOfKind]:
    circuit = transfer(MacroConfig(**fields), False)
    return errors_of_kinds(circuit, [block.cycle for block in blocks(circuit)], 64)


@pytest.mark.parametrize("sigma", [3.0, 10.0])
@pytest.mark.parametrize("count", [20, 100])
def test_cells_that_differ_change_counts_before_they_are_rounded(sigma: float, count: int) -> None:
    (found,) = errors(static={"cell_mismatch": f"{sigma} %"})
    error = (count + sigma / 100 * math.sqrt(count * (1 - count / 255)) * NORMAL).round() - count
    assert float(found.square[count]) == pytest.approx(float(error.square().mean()), rel=0.05, abs=5e-5)
    variance, proportional = found.cells[:, count].tolist()
    assert variance == pytest.approx((sigma / 100) ** 2 * count * (1 - count / 255))
    assert 0 <= proportional <= found.square[count]


def test_cells_of_an_ideal_converter_pass_all_they_change() -> None:
    (found,) = errors(adc_bits=None, static={"cell_mismatch": "3 %"})
    torch.testing.assert_close(found.cells[0, 5:250], found.cells[1, 5:250], rtol=1e-3, atol=0)


def test_offsets_are_alike_at_all_counts() -> None:
    (found,) = errors(static={"offset": "1 lsb"})
    offsets = NORMAL.round()
    for count in (50, 200):
        assert float(found.alike[:, count].square().sum()) == pytest.approx(float(offsets.var()), rel=0.1)
    together = (found.alike[:, 50] * found.alike[:, 200]).sum()
    assert float(together) == pytest.approx(float(offsets.var()), rel=0.1)
    assert not found.cells.any()


def test_noise_lets_small_offsets_through_which_rounding_stops() -> None:
    (still,) = errors(static={"offset": "0.1 lsb"})
    (noisy,) = errors(random_noise="0.5 lsb", static={"offset": "0.1 lsb"})
    assert not still.square[5:250].any()
    assert float(noisy.alike[:, 100].square().sum()) == pytest.approx(0.01, rel=0.15)


def test_a_converter_is_the_same_in_cycles_of_every_full_scale() -> None:
    """The gain of a converter is its gain for the three bits of a cycle, and for the two bits of the last one."""
    wide, narrow = errors(encoding_bits=3, adc_bits=12, static={"gain": "2 %"})
    at_wide, at_narrow = wide.alike[:, len(wide.counts) // 2], narrow.alike[:, len(narrow.counts) // 2]
    cosine = float((at_wide * at_narrow).sum() / (at_wide.norm() * at_narrow.norm()))
    assert cosine == pytest.approx(1.0, abs=0.01)
    assert float(at_wide.norm()) == pytest.approx(0.02 * float(wide.counts[len(wide.counts) // 2]), rel=0.1)
