"""Wrong conversions by the native library: those of plain torch, to the bit."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Product, Weights, rare, sums_of
from asim_lightning.engine.native import passes
from asim_lightning.engine.native import rare as native
from asim_lightning.engine.native.library import library
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.rare import any_device
from asim_lightning.engine.rare.layout import Layout, layout
from asim_lightning.engine.rare.rates import Rates, rates
from tests.engine.products import exact_sums
from tests.engine.rare.test_converters_apart import cases
from tests.engine.rare.test_equal_converters import macros, noise_of, operands
from tests.engine.rare.test_rare_engine import FORMATS

pytestmark = pytest.mark.usefixtures("level")


def placed(found: Rates, product: Product, x: Tensor, w: Tensor) -> Layout:
    return layout(found, product, x.shape[1:], w.shape[1:] if product.batched_weight else w.shape)


@settings(max_examples=40)
@given(macros(), st.sampled_from(["conv2d", "linear", "matmul"]), st.integers(0, 10**6), st.integers(0, 65535))
def test_every_event_is_that_of_plain_torch(case: tuple[MacroConfig, bool], kind: str, seed: int, trial: int) -> None:
    macro, signed = case
    circuit = transfer(macro, signed)
    assume(rare.refuses(circuit) is None)
    product, x, w = operands(kind, macro, signed, seed)
    rows: dict[str, Any] = {"sample_ids": torch.tensor([2**32 - 1, seed % 7]), "offsets": torch.tensor([0, 5])}
    found, noise = rates(circuit, False), replace(noise_of(2, seed), trial=trial, chip=seed, **rows)
    total = exact_sums(product, x, w, macro.input_bits, macro.weight_bits, signed).double()
    places, key = placed(found, product, x, w), layer_key("layer/events", noise.call)
    stored = Weights(w).stored(product, macro)
    expected = any_device.with_errors(total.clone(), found, places, x, stored, key, noise)
    words = native.weight_words(found, places, stored)
    assert torch.equal(native.with_errors(total.clone(), found, places, x, words, key, noise), expected)
    form = FORMATS[seed % 2 if x.dim() == 4 else 0]
    single, operand = (each.contiguous(memory_format=form) for each in (total.float(), x))
    given_x = (operand + 128 * signed).to(torch.uint8) if macro.input_bits <= 8 else operand
    assert torch.equal(native.with_errors(single, found, places, given_x, words, key, noise), expected.float())


@pytest.mark.parametrize("nonlinear", [0.0, 0.05])
@pytest.mark.parametrize("random", [0.0, 0.07])
def test_converters_apart_are_those_of_the_best_level(
    random: float, nonlinear: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    static = {"offset": "0.15 lsb", "gain": 0.3, "inl": 0.66}
    circuit = transfer(MacroConfig(9, 9, random_noise=random, nonlinear_noise=nonlinear, static=static), True)
    for name, (product, x, w) in cases(circuit.macro, True).items():
        noise = replace(noise_of(len(x)), chip=3)
        found = sums_of(rare, product, circuit, x, w, noise)
        with monkeypatch.context() as patched:
            patched.setattr(passes, "best_library", library)
            assert torch.equal(sums_of(rare, product, circuit, x, w, noise), found), name
