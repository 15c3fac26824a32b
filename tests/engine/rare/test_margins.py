"""What bounds a converter's errors, and how often its conversions are candidates."""

import math

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Conv2dProduct
from asim_lightning.engine.chips.converters import INL_PARTS, Converters, inl_bounds
from asim_lightning.engine.rare.layout import layout, most_ones
from asim_lightning.engine.rare.margins import ALWAYS, Margins, converter_rates, margins
from asim_lightning.engine.rare.rates import rates


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


def test_digital_cycles_that_pass_the_adc_are_a_kind_of_their_own() -> None:
    macro = MacroConfig(4, 4, 63, 6, digital_levels=3, digital_adc=True, static={"offset": "0.1 lsb"})
    circuit = transfer(macro, False)
    found = margins(circuit)
    assert [{circuit.cycles[n].analog for n in numbers} for numbers, _ in found] == [{True}, {False}]
    for numbers, kind in found:
        bits = [circuit.cycles[n].weight_bits[0] for n in numbers]
        assert bits == sorted(bits)
        assert kind.of_bits == tuple(bits.count(bit) for bit in range(4))


def test_ones_of_each_column_and_weight_bit() -> None:
    product, w = Conv2dProduct((1, 1), (1, 1), (1, 1), 2), torch.randint(-8, 8, (6, 5, 3, 2)).float()
    rates_of = rates(transfer(MacroConfig(4, 4, 13, static={"offset": "0.1 lsb"}), False), True)
    found = layout(rates_of, product, torch.Size([10, 7, 7]), w.shape)
    ones = most_ones(found, w, 4)
    assert ones.shape == (3, 2, 3, 4)  # 13 rows hold two kernels of a channel
    for tile, channels in enumerate((slice(0, 2), slice(2, 4), slice(4, 5))):
        planes = torch.stack([w.int() >> bit & 1 for bit in range(4)], -1)[:, channels]
        assert torch.equal(ones[tile].flatten(0, 1), planes.sum((1, 2, 3)).double())
    assert most_ones(found, None, 4).flatten().tolist() == [12, 12, 6]


@pytest.mark.parametrize("inl", [False, True])
@pytest.mark.parametrize("sigma", [0.0, 0.15])
def test_no_count_is_wrong_more_often_than_its_converter_is_a_candidate(sigma: float, inl: bool) -> None:
    generator, number = torch.Generator().manual_seed(5), 400
    gain = 1 + 0.004 * torch.randn(number, generator=generator, dtype=torch.float64)
    offset = 0.15 * torch.randn(number, generator=generator, dtype=torch.float64)
    tables = 0.1 * torch.randn(number, 64, generator=generator) if inl else None
    curve = torch.arange(number) if inl else None
    index, ones = torch.arange(number).view(1, 1, -1, 1), torch.randint(1, 63, (1, 1, number, 1), generator=generator)
    own = Converters(index, gain, offset, curve, tables)
    kind = Margins(sigma, 0.0, 0.0, 1.0, 1, 63, (3,))
    found = converter_rates([kind], 63, own, ones.double())
    rate = found.rate.view(number).double()
    counts = torch.arange(63, dtype=torch.float64)
    value = counts * gain[:, None] + offset[:, None]  # (converters, counts)
    threshold = counts - 0.5 if tables is None else counts - 0.5 + tables[:, :63]
    following = counts + 0.5 if tables is None else counts + 0.5 + tables[:, 1:]
    if sigma:
        tail = [torch.erfc(d / (sigma * math.sqrt(2))) / 2 for d in (following - value, value - threshold)]
        wrong = tail[0] + tail[1] * (counts > 0)
    else:
        wrong = ((value >= following) | ((value < threshold) & (counts > 0))).double()
    largest = wrong.where(counts <= ones.view(-1, 1), 0.0).amax(1)
    assert bool((largest <= rate).all())
    assert float(largest.sum()) > 0.2 * float(rate.sum())  # and not much less often
    expected = torch.where(rate < ALWAYS, -torch.log1p(-rate.clamp_max(ALWAYS)), 40.0)
    assert torch.allclose(found.hazards.view(number), 3 * expected)
    for bound, tails in zip(found.bounds[0], found.rates[..., 2:].view(number, -1, 2).unbind(1), strict=True):
        largest = wrong.where(counts <= ones.view(-1, 1).clamp_max(bound), 0.0).amax(1)
        assert bool((largest <= tails.double().sum(1)).all())
        assert bool(((tails.double().sum(1) <= rate * (1 + 1e-6)) | (rate >= ALWAYS)).all())
