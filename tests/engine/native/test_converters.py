"""Gain, offset and INL of converters: the native engine makes the conversions of the reference."""

from typing import Any
from weakref import WeakSet

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.engine import Chip, MatmulProduct, Noise, Product, SavedChip, Weights
from asim_lightning.engine import program as program_file
from asim_lightning.engine.chips import cells
from asim_lightning.engine.chips.converters import Converters
from asim_lightning.engine.native import native_engine
from asim_lightning.engine.reference import ReferenceProgram
from tests.engine.chips.random_converters import converters
from tests.engine.native.test_conversion import WAYS, operands
from tests.engine.products import PRODUCTS, noise_of

SUMMING = {"cell_mismatch": "3 %", "reference": "summing"}


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
    first = own.of(Weights(w)).sums(x, noise_of(2))
    assert torch.equal(own.of(Weights(w)).sums(x, noise_of(2)), first)
    assert len(own.kept) == 2
    reference = ReferenceProgram(product, Weights(w), circuit, Chip(), converters=errors)
    assert torch.equal(first, reference.sums(x, noise_of(2)))


def cells_of_a_file(largest: float, shape: tuple[int, int], bits: int) -> SavedChip:
    generator = torch.Generator().manual_seed(5)
    cells = 1 + 0.1 * torch.randn(bits, *shape, generator=generator)
    cells[-1, 3, 7] = largest
    return SavedChip("digest", "chip.safetensors", {"layer": {"cells": cells}})


@pytest.mark.parametrize(("largest", "fits"), [(1.0, True), (7.9, True), (-7.9, True), (9.0, False)])
def test_cells_of_any_size_are_summed_as_the_reference_sums_them(largest: float, fits: bool) -> None:
    product, circuit = MatmulProduct(), transfer(MacroConfig(3, 4, 100, 6, static=SUMMING), False)
    x, w = torch.randint(0, 16, (20, 150)).float(), torch.randint(-3, 4, (21, 150)).float()
    w[3, 7] = -1
    chip = Chip(0, "layer", saved=cells_of_a_file(largest, (21, 150), 3))
    expected = ReferenceProgram(product, Weights(w), circuit, chip).sums(x, noise_of(20))
    program = native_engine.NativeProgram(product, Weights(w), circuit, chip)
    assert torch.equal(program.sums(x, noise_of(20)), expected)
    assert program.of_cells(w.shape, "laid out", native_engine.laid_out).fits is fits


def test_counts_beyond_31_bits_are_left_to_the_reference() -> None:
    product, circuit = MatmulProduct(), transfer(MacroConfig(2, 8, 4096, 8, 8, static=SUMMING), False)
    x, w = torch.full((3, 4096), 255.0), torch.ones(5, 4096)
    for rows, fits in ((1000, True), (4096, False)):
        program = native_engine.NativeProgram(product, Weights(w[:, :rows]), circuit, Chip(0, "layer"))
        reference = ReferenceProgram(product, Weights(w[:, :rows]), circuit, Chip(0, "layer"))
        expected = reference.sums(x[:, :rows], noise_of(3))
        assert torch.equal(program.sums(x[:, :rows], noise_of(3)), expected)
        assert float(expected.min()) > 200 * rows
        assert program.of_cells(torch.Size((5, rows)), "laid out", native_engine.laid_out).fits is fits


def test_cells_are_drawn_once_a_program_unless_they_take_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    product, circuit, drawn = MatmulProduct(), transfer(MacroConfig(3, 4, 100, 6, static=SUMMING), False), []
    x, w = torch.randint(0, 16, (2, 150)).float(), torch.randint(-3, 4, (21, 150)).float()
    draw = cells.contents
    monkeypatch.setattr(cells, "contents", lambda *given: drawn.append(given) or draw(*given))
    forms: WeakSet[Any] = WeakSet()
    monkeypatch.setattr(program_file, "_forms_of_cells", forms)

    def sums(free: int, times: int) -> tuple[Tensor, int]:
        monkeypatch.setattr(program_file, "free_bytes", lambda device: free)
        drawn.clear()
        program = native_engine.NativeProgram(product, Weights(w), circuit, Chip(4, "layer"))
        outputs = [program.sums(x, noise_of(2)) for _ in range(2)]
        assert torch.equal(*outputs)
        assert len(drawn) == times  # one for each bit
        return outputs[0], sum(each.units.nbytes for each in forms)

    expected, size = sums(2**40, 3)
    assert size >= 3 * 21 * 150 * 2  # the kernel's form is padded, another level of instructions may have none
    for free, times in ((size, 3), (size - 1, 6), (0, 6)):
        assert torch.equal(sums(free, times)[0], expected)  # free memory decides no result
