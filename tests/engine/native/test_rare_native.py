"""Wrong conversions by the native library: those of plain torch, to the bit."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Conv2dProduct, Noise, Product, rare, sums_of
from asim_lightning.engine.native import passes
from asim_lightning.engine.native import rare as native
from asim_lightning.engine.native.library import library
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.rare import any_device
from asim_lightning.engine.rare.layout import Layout, layout
from asim_lightning.engine.rare.rates import Rates, rates
from tests.engine.levels import level as level
from tests.engine.products import exact_sums
from tests.engine.rare.test_converters_apart import cases
from tests.engine.rare.test_equal_converters import FORMATS, macros, noise_of, operands

pytestmark = pytest.mark.usefixtures("level")


def placed(found: Rates, product: Product, x: Tensor, w: Tensor) -> Layout:
    return layout(found, product, x.shape[1:], w.shape[1:] if product.batched_weight else w.shape)


def both(total: Tensor, found: Rates, product: Product, x: Tensor, w: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Outputs by the library and by plain torch."""
    places, key = placed(found, product, x, w), layer_key("layer/events", noise.call)
    expected = any_device.with_errors(total.clone(), found, places, x, w, key, noise)
    words = native.weight_words(found, places, w)
    return native.with_errors(total.clone(), found, places, x, words, key, noise), expected


@settings(max_examples=40, deadline=None, derandomize=True)
@given(macros(), st.sampled_from(["conv2d", "linear", "matmul"]), st.integers(0, 10**6), st.integers(0, 65535))
def test_every_event_is_that_of_plain_torch(case: tuple[MacroConfig, bool], kind: str, seed: int, trial: int) -> None:
    macro, signed = case
    circuit = transfer(macro, signed)
    assume(rare.refuses(circuit) is None)
    product, x, w = operands(kind, macro, signed, seed)
    found, noise = rates(circuit, False), replace(noise_of(2, seed), trial=trial, chip=seed)
    total = exact_sums(product, x, w, macro.input_bits, macro.weight_bits, signed).double()
    alike = both(total, found, product, x, w, noise)
    assert torch.equal(*alike)
    for form in FORMATS if x.dim() == 4 else FORMATS[:1]:
        places, single = placed(found, product, x, w), total.float().contiguous(memory_format=form)
        operand = x.contiguous(memory_format=form)
        given_x = (operand + 128 * signed).to(torch.uint8) if macro.input_bits <= 8 else operand
        key, words = layer_key("layer/events", noise.call), native.weight_words(found, places, w)
        assert torch.equal(native.with_errors(single, found, places, given_x, words, key, noise), alike[0].float())


def layer(batch: int = 3) -> tuple[Product, Rates, Tensor, Tensor, Tensor]:
    """A convolution of three tiles and two groups at a fifteenth of wrong codes, and its exact sums."""
    circuit = transfer(MacroConfig(weight_bits=4, input_bits=4, random_noise="0.27 lsb"), False)
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 16, (batch, 120, 8, 8), generator=generator).float()
    w = torch.randint(-7, 8, (24, 60, 3, 3), generator=generator).float()
    product = Conv2dProduct((1, 1), (1, 1), (1, 1), 2)
    return product, rates(circuit, False), x, w, exact_sums(product, x, w, 4, 4, False).double()


def test_threads_ids_and_repeated_samples(set_threads: Callable[[int], None]) -> None:
    product, found, x, w, total = layer(4)
    ids, offsets = torch.tensor([2**32 - 1, 7, 7, 0]), torch.tensor([0, 0, 1, 5])
    noise = replace(noise_of(4), sample_ids=ids, offsets=offsets)
    for threads in (1, 2):
        set_threads(threads)
        assert torch.equal(*both(total, found, product, x, w, noise))


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
