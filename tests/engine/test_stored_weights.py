"""The bits that cells hold: complements of columns with more ones than zeros, decoded to the same product."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import ENGINES, Chip, Weights, refusals, sums_of
from asim_lightning.engine.exact import ExactProgram
from asim_lightning.nn import CimLinear
from asim_lightning.quant import levels
from tests.engine.conversion_cases import operands
from tests.engine.products import PRODUCTS, noise_of, silent

FLIP: dict[str, Any] = {"weight_coding": "flip"}


@settings(max_examples=60)
@given(
    kind=st.sampled_from(sorted(PRODUCTS)),
    bits=st.tuples(st.integers(2, 16), st.integers(1, 16)),
    rows=st.integers(1, 80),
    seed=st.integers(0, 10**6),
)
def test_no_column_holds_more_ones_than_zeros_and_no_weight_changes(
    kind: str, bits: tuple[int, int], rows: int, seed: int
) -> None:
    product, macro = PRODUCTS[kind], MacroConfig(*bits, rows, **FLIP)
    _, w = operands(product, macro, False, batch=2)
    w = w[..., torch.randperm(w.shape[-1], generator=torch.Generator().manual_seed(seed))]
    stored = Weights(w).stored(product, macro)
    assert stored.flips is not None
    assert stored.complements is not None
    held, complements = stored.weights.integers.int(), stored.complements.int()
    assert torch.equal((held ^ complements).float(), w)
    found = product.geometry(None, w)
    for sample in range(2) if product.batched_weight else [0]:
        each = held[sample] if product.batched_weight else held
        flips = stored.flips[sample] if product.batched_weight else stored.flips
        for number, tile in enumerate(found.tiles(rows)):
            for bit in range(macro.weight_bits):
                ones = (found.held(each, tile) >> bit & 1).sum(-1)
                assert int(ones.max()) <= found.rows_of(tile) // 2
                signs = stored.signs(bit)[sample] if product.batched_weight else stored.signs(bit)
                assert torch.equal(signs[..., number] < 0, (flips[..., number] >> bit & 1).bool())


@pytest.mark.parametrize("kind", PRODUCTS)
@pytest.mark.parametrize("signed", [False, True])
def test_seven_bits_with_flip_are_eight_plain_ones_without_noise(kind: str, signed: bool) -> None:
    product, macro = PRODUCTS[kind], MacroConfig(adc_bits=7, adc_step=1, **FLIP)
    circuit = transfer(macro, signed)
    x, w = operands(product, macro, signed)
    expected = sums_of(ENGINES["reference"], product, transfer(MacroConfig(), signed), x, w, silent(3))
    assert circuit.exact
    assert not transfer(macro.with_fields(weight_coding="plain"), signed).exact
    made = {name for name in ENGINES if name not in refusals(circuit, x.device)} | {"events"}
    assert made == {"reference", "native", "exact", "events"}
    for name in made:
        assert torch.equal(sums_of(ENGINES[name], product, circuit, x, w, silent(3)).double(), expected), name


def test_a_stuck_cell_changes_what_the_column_holds() -> None:
    """Every cell is stuck at 1: in a column of complements, all bits then count as 0."""
    macro = MacroConfig(4, 4, 9, 8, adc_step=1, static={"stuck_at_1": 1.0}, **FLIP)
    layer = CimLinear(9, 3, bias=False, macro=macro, name="a").eval()
    w = torch.tensor([[-1.0] * 9, [1.0] * 9, [7.0] * 4 + [0.0] * 5])
    product, circuit = PRODUCTS["linear"], layer.transfer
    held = Weights(w).on_chip(Chip(layer="a"), product, circuit)
    # all bits complements; bit 0; none
    assert torch.equal(held.integers, torch.tensor([0.0, -2.0, -1.0])[:, None].expand(3, 9))
    x = torch.arange(9.0)[None] + 1
    expected = ExactProgram(product, held, 4, 4, False).sums(x).double()
    for name in ("reference", "native"):
        assert torch.equal(ENGINES[name].prepare(product, circuit, held, Chip(layer="a")).sums(x, silent(1)), expected)


def test_noise_in_counts_is_that_of_plain_weights() -> None:
    """The full scale is that of the rows, whatever the columns hold."""
    product, fields = PRODUCTS["linear"], {"adc_bits": 10, "adc_step": 1, "random_noise": 0.4}
    x, w = operands(product, MacroConfig(), False, batch=40)
    spreads = []
    for coding in ("plain", "flip"):
        circuit = transfer(MacroConfig(weight_coding=coding, **fields), False)
        sums = sums_of(ENGINES["native"], product, circuit, x, w, noise_of(40))
        error = sums - product.integer(x, w, levels(8, False) * 128).double()
        assert abs(float(error.mean())) < 0.05 * float(error.std())
        spreads.append(float(error.std()))
    assert spreads[0] == pytest.approx(spreads[1], rel=0.02)
