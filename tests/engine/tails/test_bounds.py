"""What bounds a converter's errors, and the key of its draws."""

import math

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Chip, MatmulProduct, converters_of, sums_of, tails
from asim_lightning.engine.chips.converters import INL_PARTS, inl_bounds
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.tails.any_processor import errors_of
from asim_lightning.engine.tails.kinds import tail_cycles
from asim_lightning.engine.tails.tail_layout import tail_layout
from tests.engine.products import noise_of


@pytest.mark.parametrize("largest", [0.3, 0.6])
def test_inl_of_each_part_covers_the_thresholds_around_its_codes(largest: float) -> None:
    top, generator = 63, torch.Generator().manual_seed(1)
    tables = (torch.rand(40, top + 1, generator=generator) - 0.5) * 2 * largest * torch.rand(40, 1, generator=generator)
    low, high = inl_bounds(tables, top)
    for part in range(INL_PARTS):
        last = 16 * (part + 1) - 1  # the largest code of the part, which two thresholds more may decide
        around = tables[:, : last + 4]
        in_order = (around.amin(1) >= -0.45) & (around.amax(1) <= 0.45)
        assert torch.equal(low[part], around.amin(1).where(in_order, -math.inf))
        assert torch.equal(high[part], around.amax(1).where(in_order, math.inf))


def test_nibbles_are_bounded_as_the_sum_that_they_are() -> None:
    nibbles = torch.rand(5, 2, 16, generator=torch.Generator().manual_seed(2)) * 0.2 - 0.1
    whole = (nibbles[:, 1, :, None] + nibbles[:, 0, None, :]).flatten(1)  # (tables, codes)
    assert torch.allclose(inl_bounds(nibbles, 255), inl_bounds(whole, 255), atol=1e-7)


def test_draws_have_a_key_of_their_own() -> None:
    macro = MacroConfig(3, 2, random_noise="0.2 lsb", static={"offset": "0.1 lsb"})
    circuit, product, noise = transfer(macro, False), MatmulProduct(), noise_of(3, chip=5)
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(0, 4, (3, 20, 90), generator=generator).float()
    w = torch.randint(-3, 4, (30, 90), generator=generator).float()
    found = converters_of(Chip(5, "layer"), product, circuit, w.shape)
    assert found is not None
    layout = tail_layout(product, macro.rows, x.shape[1:], w.shape)
    errors = errors_of(tail_cycles(circuit), layout, x, w, found, None, layer_key("layer/tails"), noise)
    expected = x.double() @ w.double().T + errors.view(3, 20, 30)
    assert int((errors != 0).sum()) > 20
    assert torch.equal(sums_of(tails, product, circuit, x, w, noise), expected)


def test_digital_cycles_that_pass_the_adc_are_a_kind_of_their_own() -> None:
    macro = MacroConfig(4, 4, 63, 6, digital_levels=3, digital_adc=True, static={"offset": "0.1 lsb"})
    found = tail_cycles(transfer(macro, False))
    kinds = [{found.transfer.cycles[n].analog for n in group.cycles} for group in found.groups]
    assert all(len(each) == 1 for each in kinds)
    assert len(found.kinds) == 2
