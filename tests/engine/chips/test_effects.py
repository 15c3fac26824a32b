"""Static effects have the spreads that their formulas say, and every engine computes those of the reference."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.engine import ENGINES, MatmulProduct, Product, converters_of, decision, refusals, sums_of
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.effects import stuck_weights
from asim_lightning.engine.engines import kernel_for
from asim_lightning.engine.native.library import library
from asim_lightning.engine.native.native_engine import NativeProgram
from asim_lightning.engine.native.structures import REAL_COUNTS, Counting
from asim_lightning.engine.stored_weights import Weights
from tests.engine.native.test_conversion import operands
from tests.engine.products import NOISY, PRODUCTS, noise_of

COLUMNS, ROWS, SPREAD = 20_000, 64, 0.03
CHIP = Chip(17, "layer")


def counts(macro: MacroConfig, x: Tensor, weight: float = 1.0) -> Tensor:
    """Counts of so many columns whose cells all hold a weight, as an ideal converter returns them."""
    w = torch.full((COLUMNS, len(x)), weight)
    return sums_of(ENGINES["reference"], MatmulProduct(), transfer(macro, False), x[None].float(), w, noise_of(1))[0]


@pytest.mark.parametrize(
    ("reference", "parasitics"), [("ratiometric", 0.0), ("absolute", 0.0), ("absolute", 0.3), ("summing", 0.0)]
)
@pytest.mark.parametrize(("active", "terms"), [(1, 64), (32, 64), (20, 40)])
@pytest.mark.parametrize("bits", [1, 3])
def test_counts_spread_as_the_formula_says(
    reference: str, parasitics: float, active: int, terms: int, bits: int
) -> None:
    effects = {"cell_mismatch": f"{100 * SPREAD} %", "reference": reference, "parasitics": parasitics}
    macro = MacroConfig(2, bits, ROWS, None, encoding_bits=bits, static=effects)
    x = torch.zeros(terms)
    x[:active] = 1.0 if bits == 1 else torch.randint(1, 8, (active,), generator=torch.Generator().manual_seed(1))
    found = counts(macro, x)
    total, squares, shared = float(x.sum()), float(x.square().sum()), ROWS * (1 + parasitics)
    variance = squares
    if reference != "summing":
        variance += total**2 / (ROWS * (1 + parasitics) ** 2) - 2 * total**2 / shared
    expected = SPREAD * math.sqrt(max(variance, 0.0))
    assert abs(float(found.mean()) - total) < 0.003 * total + 4 * expected / math.sqrt(COLUMNS)
    assert abs(float(found.std()) - expected) <= 0.03 * expected + 1e-3


@pytest.mark.parametrize("reference", ["ratiometric", "summing"])
def test_weight_parallel_cells_have_the_size_of_their_bit(reference: str) -> None:
    effects = {"cell_mismatch": f"{100 * SPREAD} %", "reference": reference}
    macro = MacroConfig(3, 1, ROWS, None, weight_parallel=True, static=effects)
    x = torch.zeros(ROWS)
    x[:20] = 1.0
    found = counts(macro, x, 3.0)  # cells of 1 and 2 units
    units = ROWS * 7
    variance = 20 * 3.0 if reference == "summing" else 60 - 2 * 60**2 / units + 60**2 / units
    assert abs(float(found.std()) / (SPREAD * math.sqrt(variance)) - 1) < 0.03


@pytest.mark.parametrize(("bits", "percent"), [(8, 0.66), (10, 0.66), (6, 5.0)])
def test_inl_and_dnl_at_mid_code_spread_as_the_formulas_say(bits: int, percent: float) -> None:
    macro = MacroConfig(weight_bits=2, adc_bits=bits, static={"inl": percent})
    found = converters_of(CHIP, MatmulProduct(), transfer(macro, False), torch.Size((COLUMNS // 2, 64)))
    middle = 2 ** (bits - 1)
    inl = torch.stack([inl_of(found.tables, code) for code in (middle - 1, middle)]).double()
    spread = percent / 100 * 2 ** (bits / 2)
    assert abs(float(inl[1].std()) / (0.5 * spread) - 1) < 0.03
    assert abs(float((inl[1] - inl[0]).std()) / (percent / 100 * math.sqrt(2**bits - 1)) - 1) < 0.03
    assert float(inl_of(found.tables, 0).abs().max()) == 0.0
    assert float(inl_of(found.tables, 2**bits - 1).abs().max()) < 1e-4  # the end points are gain and offset


def inl_of(tables: Tensor, code: int) -> Tensor:
    return sum((tables[:, n, code >> 4 * n & 15] for n in range(tables.shape[1])), torch.zeros(len(tables)))


@pytest.mark.parametrize("trim", ["none", "offset", "gain", "both"])
def test_offset_and_gain_spread_as_asked_and_trim_leaves_half_a_step(trim: str) -> None:
    effects = {"offset": "1.27 lsb", "gain": "2 %", "trim": trim, "trim_step": "0.2 lsb"}
    macro = MacroConfig(weight_bits=2, static=effects)
    found = converters_of(CHIP, MatmulProduct(), transfer(macro, False), torch.Size((COLUMNS // 2, 300)))
    for error, kind, spread, step in ((found.offset, "offset", 1.27, 0.2), (found.gain - 1, "gain", 0.02, 0.2 / 255)):
        expected = step / math.sqrt(12) if trim in (kind, "both") else spread
        assert abs(float(error.std()) / expected - 1) < 0.03
        assert abs(float(error.mean())) < 5 * expected / math.sqrt(len(error))
        assert trim not in (kind, "both") or float(error.abs().max()) <= step / 2 * 1.001


def test_a_perfect_calibration_leaves_nothing() -> None:
    macro = MacroConfig(static={"offset": "1 lsb", "gain": 1, "trim": "both"})
    assert not macro.converters_differ
    assert decision(transfer(macro, False))[0] == "exact"


@pytest.mark.parametrize("shared", [1, 3, 8, 1000])
def test_neighbouring_columns_share_a_converter(shared: int) -> None:
    macro = MacroConfig(4, 4, 100, static={"offset": 1, "columns_per_adc": shared})
    found = converters_of(CHIP, MatmulProduct(), transfer(macro, False), torch.Size((5, 250)))
    assert found.index.shape == (3, 1, 5, 4)  # tiles, groups, outputs, weight bits
    sizes = found.index.flatten().bincount().tolist()
    assert max(sizes) == min(shared, 20)
    assert len(sizes) == 3 * -(-20 // shared)
    assert torch.equal(found.index[1, 0, 0, :shared].unique(), found.index[1, 0, 0, :1])


@pytest.mark.parametrize(("zeros", "ones"), [(0.01, 0.0), (0.0, 0.01), (0.02, 0.05), (1.0, 0.0), (0.0, 1.0)])
def test_shares_of_stuck_cells(zeros: float, ones: float) -> None:
    circuit = transfer(MacroConfig(static={"stuck_at_0": zeros, "stuck_at_1": ones}), False)
    w = torch.randint(-127, 128, (200, 500), generator=torch.Generator().manual_seed(2)).float()
    held = stuck_weights(CHIP, MatmulProduct(), circuit, w)
    before, after = (each.int().numpy()[..., None] >> np.arange(8) & 1 for each in (w, held))
    for written, share in ((0, ones), (1, zeros)):
        cells = after[before == written] != written
        assert abs(cells.mean() - share) < 4 * math.sqrt(max(share * (1 - share), 1e-9) / cells.size)
    assert float(held.min()) >= -128
    assert float(held.max()) <= 127
    assert torch.equal(stuck_weights(CHIP, MatmulProduct(batched_weight=True), circuit, w.expand(3, -1, -1))[2], held)


EFFECTS: dict[str, dict[str, Any]] = {
    "offset": {"offset": "0.7 lsb"},
    "all of converters": {"offset": "0.7 lsb", "gain": "2 %", "inl": "6 %", "columns_per_adc": 2},
    "trimmed": {"offset": "0.7 lsb", "gain": "2 %", "trim": "both", "trim_step": "0.4 lsb"},
    "ratiometric": {"cell_mismatch": "4 %"},
    "absolute": {"cell_mismatch": "4 %", "reference": "absolute", "parasitics": 0.3},
    "summing, offset": {"cell_mismatch": "4 %", "reference": "summing", "offset": "0.5 lsb"},
    "stuck": {"stuck_at_0": 0.02, "stuck_at_1": 0.01},
    "stuck, gain": {"stuck_at_0": 0.02, "gain": "1 %"},
    "table of INL, offset": {"inl": "table", "offset": "0.4 lsb"},
    "table of INL, cells": {"inl": "table", "cell_mismatch": "2 %"},
}
REUSE: dict[str, Any] = {"placement": "reuse", "macros": 3, "columns": 10}
CIRCUITS: dict[str, dict[str, Any]] = {
    "quiet": {"rows": 63, "adc_bits": 6},
    "noisy": {"rows": 63, "adc_bits": 6, **NOISY},
    "encoded": {"rows": 63, "adc_bits": 7, "encoding_bits": 2, **NOISY},
    "hybrid, votes": {"rows": 63, "adc_bits": 6, "digital_levels": 2, "vote_levels": 4, "votes": 3, **NOISY},
    "droop": {"rows": 63, "adc_bits": 6, "column": "droop", "column_args": {"k": 0.1}, **NOISY},
    "weight-parallel": {"rows": 63, "adc_bits": 8, "weight_parallel": True, **NOISY},
}


def circuit_of(settings: dict[str, Any], effects: dict[str, Any], signed: bool) -> Transfer | None:
    if settings.get("weight_parallel") and effects.get("reference") == "absolute":
        return None
    if effects.get("inl") == "table":
        codes = 2 ** settings["adc_bits"] - settings.get("weight_parallel", False)
        effects = {**effects, "inl": [0.9 * (-1) ** code * (code % 7) / 7 for code in range(codes)]}
    return transfer(MacroConfig(4, 4, **settings, static=effects), signed)


@pytest.mark.parametrize("name_of_effects", EFFECTS)
@pytest.mark.parametrize("name_of_circuit", CIRCUITS)
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_every_engine_makes_the_conversions_of_the_reference(
    product: Product, name_of_circuit: str, name_of_effects: str
) -> None:
    # in turns, so that all effects and all circuits meet both placements
    turn = [*EFFECTS].index(name_of_effects) + [*CIRCUITS].index(name_of_circuit) + [*PRODUCTS.values()].index(product)
    settings, effects = CIRCUITS[name_of_circuit], EFFECTS[name_of_effects]
    circuit = circuit_of(settings, {**effects, **(REUSE if turn % 2 else {})}, signed=True)
    if circuit is None:
        return
    x, w = operands(product, circuit.macro, True, batch=2)
    noise = noise_of(2, trial=1, chip=17)
    expected = sums_of(ENGINES["reference"], product, circuit, x, w, noise)
    engine = ENGINES[kernel_for(circuit, torch.device("cpu"))]
    assert torch.equal(sums_of(engine, product, circuit, x, w, noise), expected)
    other = sums_of(engine, product, circuit, x, w, noise_of(2, trial=1, chip=18))
    spreads_are_large = any(circuit.noisy) or not {"trim", "cell_mismatch"} & effects.keys()
    assert not spreads_are_large or not torch.equal(other, expected)
    counts_cells = bool(library().asim_counts_by(REAL_COUNTS)) and not circuit.column.depends_on_driven
    counts_cells = counts_cells or "cell_mismatch" not in effects
    assert (ENGINES["native"].refuses(circuit) is None) is (counts_cells and not circuit.macro.weight_parallel)
    assert "exact" in refusals(circuit, "cpu") or not circuit.macro.converters_differ


def test_stuck_cells_keep_the_exact_engine() -> None:
    circuit = transfer(MacroConfig(static={"stuck_at_1": 0.01}), True)
    product = PRODUCTS["convolution"]
    x, w = operands(product, circuit.macro, True, batch=2)
    assert decision(circuit)[0] == "exact"
    sums = [sums_of(ENGINES[name], product, circuit, x, w, noise_of(2, chip=3)) for name in ("exact", "reference")]
    assert torch.equal(sums[0].double(), sums[1])


@pytest.mark.parametrize("digital_levels", [0, 1])
@pytest.mark.parametrize("reference", ["ratiometric", "absolute", "summing"])
def test_cells_in_plain_float64(reference: str, digital_levels: int) -> None:
    macro = MacroConfig(
        3, 4, 40, None, encoding_bits=2, digital_levels=digital_levels,
        static={"cell_mismatch": 5, "reference": reference, "parasitics": 0.2 * (reference == "absolute")},
    )  # fmt: skip
    generator = torch.Generator().manual_seed(6)
    x = torch.randint(0, 16, (3, 100), generator=generator)
    w = torch.randint(-3, 4, (7, 100), generator=generator)
    found = sums_of(
        ENGINES["reference"], MatmulProduct(), transfer(macro, False), x.float(), w.float(), noise_of(3, chip=5)
    )
    chip, rho = Chip(5, "layer"), macro.static.parasitics
    cells = 1 + np.float32(0.05) * chip.normals("cells", w.numel(), range(3)).numpy().reshape(3, 7, 100)
    cells = np.rint(cells.astype(np.float64) * 2**12) / 2**12
    total = np.zeros((3, 7))
    for tile, (low, high) in enumerate([(0, 40), (40, 80), (80, 100)]):
        for bit in range(3):
            plane = (w.numpy()[:, low:high] & 7) >> bit & 1
            held = cells[bit][:, low:high]
            idle = 40 - (high - low)
            rest = chip.normals("idle cells", 7, range(tile * 3 + bit, tile * 3 + bit + 1))[0].double().numpy()
            shared = held.sum(1) + idle + 0.05 * math.sqrt(idle) * rest
            gain = 1.0 if reference == "summing" else 40 * (1 + rho) / (shared + 40 * rho)
            for group in range(2):
                digit = x.numpy()[:, low:high] >> 2 * group & 3
                is_digital = bit + group > 3 - digital_levels
                count = digit @ plane.T if is_digital else digit @ (plane * held).T * gain
                total += count.clip(0, 120) * 2 ** (bit + 2 * group) * (-1 if bit == 2 else 1)
    np.testing.assert_allclose(found.numpy(), total, rtol=0, atol=1e-6 * np.abs(total).max())


@pytest.mark.parametrize("counting", [None, Counting.POPCOUNT])
@pytest.mark.parametrize("rows", [5, 64])
def test_operands_of_another_size_meet_their_own_converters(rows: int, counting: Counting | None) -> None:
    """17 and 18 outputs take as many vectors, but other converters."""
    product = MatmulProduct(batched_weight=True)
    circuit = transfer(MacroConfig(3, 6, 100, 6, static={"offset": "0.3 lsb"}), False)
    program = NativeProgram(product, None, circuit, Chip(3, "layer"), counting=counting)
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 8, (2, 2, rows, 90), generator=generator).float()  # planes 3 to 5 are empty
    for outputs in (17, 18, 19, 20, 21, 22, 17):
        w = torch.randint(-3, 4, (2, 2, outputs, 90), generator=generator).float()
        expected = sums_of(ENGINES["reference"], product, circuit, x, w, noise_of(2, chip=3), Chip(3, "layer"))
        assert torch.equal(program.of(Weights(w)).sums(x, noise_of(2, chip=3)), expected)


def test_an_offset_in_percent_is_of_the_full_swing_whatever_the_range_of_the_adc() -> None:
    static = {"offset": "1 %", "trim_step": "0.5 lsb"}
    assert MacroConfig(static=static).converter_spreads == pytest.approx((2.55, 0.5))
    assert MacroConfig(adc_bits=5, adc_step=1, static=static).converter_spreads == pytest.approx((2.55, 0.5))
    assert MacroConfig(adc_bits=5, adc_step=3, static=static).converter_spreads == pytest.approx((0.85, 0.5))
    in_lsb = {"offset": "0.85 lsb", "trim": "offset", "trim_step": "0.5 lsb"}
    several_bits = MacroConfig(adc_bits=5, adc_step=3, encoding_bits=4, static=in_lsb)
    assert several_bits.converter_spreads == pytest.approx((0.85, 0.5))


def test_products_of_stuck_sign_planes_stay_exact() -> None:
    """516 weights of -128 and inputs of 255 exceed 2^24, where the -127 of the quantiser does not."""
    product, circuit = PRODUCTS["attention"], transfer(MacroConfig(static={"stuck_at_1": 1.0}), False)
    x, w = torch.full((1, 1, 2, 517), 255.0), torch.zeros(1, 1, 3, 517)
    w[..., 0] = 1
    noise = noise_of(1)
    held = stuck_weights(Chip.at(noise.chip, noise.name), product, circuit, w)
    assert float(held.min()) == -1.0  # all bits are ones
    low = torch.full_like(w, -128.0)
    low[..., 0], x[..., 0] = 127.0, 1.0
    expected = (x.long() @ low.long().mT).double()
    program = ENGINES["exact"].prepare(product, circuit, Weights(low))
    assert torch.equal(program.sums(x, None).double(), expected)
