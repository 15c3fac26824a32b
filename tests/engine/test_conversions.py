"""Conversions are outputs times tiles times converted cycles, votes counted."""

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Conv2dProduct, MatmulProduct
from asim_lightning.engine.product import conversion_count
from tests.oracle import conv_tiles, linear_tiles

MACROS = {
    "bit-serial": (MacroConfig(weight_bits=3, input_bits=4), 12),
    "encoded": (MacroConfig(weight_bits=3, input_bits=4, encoding_bits=3), 6),
    "ideal converter": (MacroConfig(weight_bits=3, input_bits=4, adc_bits=None), 12),
    "digital": (MacroConfig(weight_bits=3, input_bits=4, digital_levels=2), 9),
    "digital, converted": (MacroConfig(weight_bits=3, input_bits=4, digital_levels=2, digital_adc=True), 12),
    "voted": (MacroConfig(weight_bits=3, input_bits=4, vote_levels=2, votes=5), 9 + 3 * 5),
    "weight-parallel": (MacroConfig(weight_bits=3, input_bits=4, weight_parallel=True), 1),
}


@pytest.mark.parametrize("case", MACROS.values(), ids=MACROS)
@pytest.mark.parametrize("rows", [4, 20, 255])
def test_convolution(case: tuple[MacroConfig, int], rows: int) -> None:
    macro, cycles = case
    product = Conv2dProduct((2, 1), (1, 0), (1, 1), groups=2)
    x, w = torch.zeros(3, 10, 7, 6), torch.zeros(8, 5, 3, 2)
    outputs = 3 * 8 * 4 * 5
    found = conversion_count(product, transfer(macro.with_fields(rows=rows), False), x, w)
    assert found == outputs * len(conv_tiles(5, 6, rows)) * cycles


@pytest.mark.parametrize("case", MACROS.values(), ids=MACROS)
@pytest.mark.parametrize("batched", [False, True])
def test_matrix_product(case: tuple[MacroConfig, int], batched: bool) -> None:
    macro, cycles = case
    x, w = torch.zeros(3, 2, 5, 70), torch.zeros(*((3, 2) if batched else ()), 9, 70)
    found = conversion_count(MatmulProduct(batched), transfer(macro.with_fields(rows=32), False), x, w)
    assert found == 3 * 2 * 5 * 9 * len(linear_tiles(70, 32)) * cycles
