"""Gain, offset and INL of converters: the native engine makes the conversions of the reference."""

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
from tests.engine.products import PRODUCTS, noise_of


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
