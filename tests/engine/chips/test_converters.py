"""Thresholds of converters: whether they are in order, and which code is taken where they are not."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import ENGINES, MatmulProduct, converters_of, sums_of
from asim_lightning.engine.chips import effects
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.converters import in_order, inl_bounds
from asim_lightning.engine.reference import ReferenceProgram
from asim_lightning.engine.stored_weights import Weights
from tests.engine.chips.random_converters import converters as random_converters
from tests.engine.products import noise_of

BITS = {"4 bits": 4, "6 bits": 6, "9 bits": 9}


def by_code(tables: Tensor, codes: int) -> Tensor:
    """INL at each code, float32 as engines add it. # (tables, codes)"""
    code, total = torch.arange(codes), torch.zeros(len(tables), codes)
    for nibble in range(tables.shape[1]):
        total = total + tables[:, nibble, code >> 4 * nibble & 15]
    return total


@pytest.mark.parametrize("bits", BITS.values(), ids=BITS)
@pytest.mark.parametrize("parallel", [False, True])
def test_thresholds_are_in_order_where_all_of_them_rise(bits: int, parallel: bool) -> None:
    settings: dict[str, Any] = {"weight_bits": 2, "adc_bits": bits, "weight_parallel": parallel}
    macro = MacroConfig(**settings, static={"inl": 60 / 2 ** (bits / 2)} if bits > 6 else {"inl": 12})
    codes = 2**bits - parallel
    found = converters_of(Chip(1, "layer"), MatmulProduct(), transfer(macro, False), torch.Size((200, 64)))
    inl = by_code(found.tables, codes)
    rise = ((torch.arange(codes) + inl)[:, 1:].diff(dim=1) >= 0).all(1)
    assert 0 < int(rise.sum()) < len(rise)
    assert [in_order(table[None], codes) for table in found.tables] == rise.tolist()
    assert [in_order(table[None], codes) for table in inl] == rise.tolist()


@pytest.mark.parametrize(("nibbles", "top"), [(1, 7), (1, 15), (2, 63), (2, 255), (3, 1023), (3, 4095)])
@pytest.mark.parametrize("spread", [0.02, 0.15])
def test_bounds_of_inl_are_those_of_all_codes_of_a_part(nibbles: int, top: int, spread: float) -> None:
    tables = torch.randn(40, nibbles, 16, generator=torch.Generator().manual_seed(nibbles)) * spread
    inl = by_code(tables, top + 1)
    for given in (tables, inl):
        low, high = inl_bounds(given, top)
        for part in range(4):
            own = inl[:, : min(top, -(-(top + 1) * (part + 1) // 4) + 2) + 1]
            far = (own.abs() > 0.45).any(1)
            for found, expected in ((low, own.amin(1)), (high, own.amax(1))):
                assert torch.equal(found[part][~far], expected[~far])
            assert bool(((low[part] == -np.inf) & (high[part] == np.inf))[far].all())


@pytest.mark.parametrize(
    ("engine", "noise"),  # the tails of noise are drawn in another way, so that codes agree only without it
    [("reference", 0.0), ("reference", 0.4), ("native", 0.0), ("native", 0.4), ("events", 0.0)],
)
def test_out_of_order_the_code_is_the_first_on_the_way_from_the_nearest(engine: str, noise: float) -> None:
    macro = MacroConfig(2, 1, 255, random_noise=noise, static={"inl": 15})
    circuit = transfer(macro, False)
    x, w = (torch.arange(255) < torch.arange(256)[:, None]).float(), -torch.ones(20, 255)
    errors = converters_of(Chip(3, "layer"), MatmulProduct(), circuit, w.shape)
    assert not in_order(errors.tables, 256)
    drawn = noise_of(256, chip=3)
    sums = sums_of(ENGINES[engine], MatmulProduct(), circuit, x, w, drawn)
    inl = by_code(errors.tables, 256).numpy()[errors.index[0, 0].numpy()]  # (outputs, weight bits, codes)
    codes = np.zeros((2, 256, 20))
    for bit in range(2):
        normal = drawn.conversions(20, range(bit, bit + 1), 0, 0)[0].view(256, 20).numpy()
        value = (np.arange(256, dtype=np.float32)[:, None] + np.float32(noise * 2.55) * normal).astype(np.float32)
        for count, output in np.ndindex(256, 20):
            codes[bit, count, output] = walked(value[count, output], inl[output, bit])
    assert torch.equal(sums, torch.from_numpy(codes[0] - 2 * codes[1]))


def walked(value: np.float32, inl: Any, low: int = 0, top: int = 255) -> int:
    """The formula: from the nearest code, down while the value is below its threshold, or else up."""
    code = start = int(np.clip(np.round(value), low, top))
    while code > low and value < np.float32(code) - np.float32(0.5) + inl[code - low]:
        code -= 1
    while code >= start and code < top and value >= np.float32(code) + np.float32(0.5) + inl[code + 1 - low]:
        code += 1
    return code


def test_one_converter_of_each_output_makes_the_signed_codes_of_weight_parallel_conversions() -> None:
    circuit, generator = (
        transfer(MacroConfig(3, 2, 20, 6, weight_parallel=True), False),
        torch.Generator().manual_seed(2),
    )
    x, w = torch.randint(0, 4, (30, 20), generator=generator), torch.randint(-3, 4, (9, 20), generator=generator)
    errors = random_converters(MatmulProduct(), circuit, w, "gain offset curves large")
    program = ReferenceProgram(MatmulProduct(), Weights(w.float()), circuit, converters=errors)
    (cycle,), number = circuit.cycles, errors.index[0, 0, :, 0]
    level = circuit.column.level((x @ w.T).float(), cycle)
    value = (level * errors.gain[number] + errors.offset[number]).numpy()
    inl = errors.tables[errors.curve[number]].numpy()
    codes = [[walked(each, inl[output], -31, 31) for output, each in enumerate(line)] for line in value]
    expected = torch.tensor(codes).double() * circuit.code_weight(cycle) * circuit.scale / circuit.divisor
    assert torch.equal(program.sums(x, noise_of(30)), expected)


@pytest.mark.parametrize(("inl", "warned"), [("0.66 %", 0), ("6 %", 1)])
def test_a_warning_says_once_which_code_is_taken(inl: str, warned: int) -> None:
    circuit = transfer(MacroConfig(static={"inl": inl}), False)
    effects._warn_of_order.cache_clear()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for chip in range(3):
            converters_of(Chip(chip, "layer"), MatmulProduct(), circuit, torch.Size((20, 255)))
    assert len(found) == warned
    assert all("until the value lies between the thresholds of the code" in str(each.message) for each in found)
