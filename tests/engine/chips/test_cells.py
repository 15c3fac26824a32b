"""What a chip's cells carry: a 1-cell its own current, a 0-cell nothing."""

import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import MatmulProduct, Noise, reference, sums_of

SIGMA = 8.0
MACRO = MacroConfig(2, 1, 64, None, column="current", column_args={"cell_sigma": SIGMA})


def currents(macro: MacroConfig, weight: int, chip: int = 0) -> Tensor:
    """Each of 64 by 100 cells' weights as read alone, row by row."""
    x, w = torch.eye(64), torch.full((100, 64), float(weight))
    noise = Noise(0, "layer", 0, 0, chip, torch.arange(64), torch.zeros(64).long())
    return sums_of(reference, MatmulProduct(), transfer(macro, False), x, w, noise)


def test_cells_that_are_on_vary_by_sigma_around_nominal() -> None:
    cells = currents(MACRO, 1)
    assert abs(float(cells.mean()) - 1) < 4 * SIGMA / 100 / 80
    assert abs(float(cells.std()) / (SIGMA / 100) - 1) < 0.04
    assert torch.equal(cells * 2**12, (cells * 2**12).round())  # so that sums stay exact in float32


def test_cells_that_are_off_carry_nothing() -> None:
    assert not currents(MACRO, 0).any()


def test_the_two_bits_of_a_weight_are_two_cells() -> None:
    ones, minus_ones = currents(MACRO, 1), currents(MACRO, -1)  # 01 and 11
    sign_cells = (ones - minus_ones) / 2
    assert abs(float(torch.corrcoef(torch.stack([ones.flatten(), sign_cells.flatten()]))[0, 1])) < 0.05
    assert abs(float(sign_cells.std()) / (SIGMA / 100) - 1) < 0.04


def test_cells_of_chips_are_uncorrelated() -> None:
    pair = torch.stack([currents(MACRO, 1, chip).flatten() for chip in (0, 1)])
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.05


def test_digital_cycles_have_nominal_cells() -> None:
    assert torch.equal(currents(MACRO.with_fields(digital_levels=9), -1), torch.full((64, 100), -1.0).double())


def test_a_weight_parallel_cycle_sums_the_cells_of_its_bits() -> None:
    parallel = MACRO.with_fields(weight_parallel=True)
    for weight in (1, -1):
        assert torch.equal(currents(parallel, weight), currents(MACRO, weight))
