"""Gain, offset and INL of converters: the native engine makes the conversions of the reference."""

from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.engine import Chip, MatmulProduct, Noise, Product, Weights
from asim_lightning.engine.chips.converters import Converters
from asim_lightning.engine.native import native_engine
from asim_lightning.engine.reference import ReferenceProgram
from tests.engine.chips.random_converters import converters
from tests.engine.native.test_conversion import WAYS, operands
from tests.engine.products import NOISY, PRODUCTS, noise_of

MACROS: dict[str, dict[str, Any]] = {
    "exact": {"rows": 255},
    "200 rows": {"rows": 200},
    "encoding 3": {"rows": 200, "encoding_bits": 3},
    "noisy": {"rows": 255, **NOISY},
    "encoding 4, noisy": {"rows": 200, "encoding_bits": 4, **NOISY},
    "votes, hybrid": {"vote_levels": 2, "votes": 3, "digital_levels": 2, "random_noise": 0.3},
    "mean": {"vote_levels": 2, "votes": 2, "vote": "mean", "random_noise": 0.3},
    "10 bits": {"adc_bits": 10, "encoding_bits": 2},
    "current": {"column": "current", "column_args": {"alpha": 1e-3}, "random_noise": 0.2},
}


def check(
    product: Product, circuit: Transfer, x: Tensor, w: Tensor, errors: Converters, noise: Noise, differ: int
) -> None:
    chip = Chip(0, "layer")
    expected = ReferenceProgram(product, Weights(w), circuit, chip, converters=errors).sums(x, noise)
    for level, counting in WAYS:
        found = native_engine.NativeProgram(
            product, Weights(w), circuit, chip, converters=errors, level=level, counting=counting
        )
        assert int((found.sums(x, noise) != expected).sum()) <= differ, (level, counting)


@pytest.mark.parametrize("kinds", ["gain offset", "gain offset nibbles", "offset curves large"])
@pytest.mark.parametrize("settings", MACROS.values(), ids=MACROS)
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_codes_are_those_of_the_reference(product: Product, settings: dict[str, Any], kinds: str) -> None:
    circuit = transfer(MacroConfig(**{"weight_bits": 3, "input_bits": 4, **settings}), False)
    x, w = operands(product, circuit.macro, False, batch=2)
    errors = converters(product, circuit, w, kinds)
    check(product, circuit, x, w, errors, noise_of(2, trial=2), any(circuit.noisy))


@pytest.mark.parametrize("inputs", [5, 64])
def test_one_kind_alone_with_outputs_in_lanes_and_not(inputs: int) -> None:
    circuit = transfer(MacroConfig(weight_bits=3, input_bits=3, rows=100, adc_bits=6), False)
    x, w = torch.randint(0, 8, (inputs, 150)).float(), torch.randint(-3, 4, (37, 150)).float()
    for kinds in ("gain", "offset", "nibbles", "curves large"):
        errors = converters(MatmulProduct(), circuit, w, kinds, shared=4)
        check(MatmulProduct(), circuit, x, w, errors, noise_of(inputs), 0)


@pytest.mark.parametrize("column", ["charge", "tests.engine.native.test_conversion.Steps"])
@pytest.mark.parametrize("encoding_bits", [1, 3])
@pytest.mark.parametrize("lifted", [0, 18, 36])
def test_empty_planes_are_left_out_only_where_every_converter_gives_code_0(
    column: str, encoding_bits: int, lifted: int
) -> None:
    circuit = transfer(MacroConfig(3, 6, 100, 6, encoding_bits, column=column), False)
    for inputs in (5, 64):
        x, w = (
            torch.randint(0, 8, (inputs, 150)).float(),
            torch.randint(-3, 4, (37, 150)).float(),
        )  # planes 3 to 5 empty
        errors = converters(MatmulProduct(), circuit, w, "offset")
        errors.offset.fill_(0.0)
        errors.offset[errors.index[1, 0, lifted, 1]] = 0.7  # one output's converter gives code 1 for nothing
        check(MatmulProduct(), circuit, x, w, errors, noise_of(inputs), any(circuit.noisy))


def test_a_product_of_two_activations_places_its_converters_once() -> None:
    product, circuit = PRODUCTS["attention"], transfer(MacroConfig(3, 3, 100, 6), False)
    x, w = operands(product, circuit.macro, False, batch=2)
    errors = converters(product, circuit, w, "gain offset")
    own = native_engine.NativeProgram(product, None, circuit, Chip(), converters=errors)
    first = own.of(w).sums(x, noise_of(2))
    assert torch.equal(own.of(w).sums(x, noise_of(2)), first)
    assert len(own.kept) == 2
    reference = ReferenceProgram(product, Weights(w), circuit, Chip(), converters=errors)
    assert torch.equal(first, reference.sums(x, noise_of(2)))
