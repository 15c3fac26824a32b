"""Gain, offset and INL of converters: the native engine makes the conversions of a slow oracle, one by one."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from asim_lightning.circuit import Column, Cycle, MacroConfig, Transfer, transfer
from asim_lightning.circuit.columns import vote
from asim_lightning.engine import Chip, Conv2dProduct, MatmulProduct, Noise, Product, Weights
from asim_lightning.engine.chips.cells import weight_digits
from asim_lightning.engine.chips.converters import Converters
from asim_lightning.engine.chips.places import Places
from asim_lightning.engine.integer import digits
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
    "cells": {"column": "current", "column_args": {"cell_sigma": 3.0}, "random_noise": 0.2},
    "weight-parallel": {"weight_parallel": True, "random_noise": 0.2},
}


class Oracle:
    """Every conversion in plain NumPy, code by code."""

    def __init__(self, product: Product, circuit: Transfer, errors: Converters, chip: Chip) -> None:
        self.product, self.circuit, self.errors, self.chip = product, circuit, errors, chip

    def sums(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        """Outputs in counts. # (batch, *outputs)"""
        product, circuit = self.product, self.circuit
        tiles = product.geometry(None, w).tiles(circuit.macro.rows)
        codes, counts, fours = 0, 0, len(circuit.cycles)
        for number, tile in enumerate(tiles):
            for n, cycle in enumerate(circuit.cycles):
                x_digit = digits(x.int(), cycle.input_bits, cycle.input_signed)
                count = product.counts(tile, x_digit, self._weights(cycle, w)[None])[:, 0]
                if not cycle.converted:
                    counts = counts + count.double() * cycle.sign * 2**cycle.shift
                    continue
                reads = []
                for v in range(cycle.votes):
                    positions = count[0].numel()
                    normal = noise.conversions(positions, range(n, n + 1), number * fours, v)[0].view(count.shape)
                    reads.append(self._code(cycle, count, normal, number))
                code = reads[0] if len(reads) == 1 else vote(torch.stack(reads), circuit.macro.vote)
                codes = codes + code.double() * circuit.code_weight(cycle)
        return codes * circuit.macro.rows / (circuit.macro.top_code * circuit.most_votes) + counts

    def _weights(self, cycle: Cycle, w: Tensor) -> Tensor:
        shape = w.shape[1:] if self.product.batched_weight else w.shape
        return weight_digits(w.int(), cycle, Places(self.chip, self.product, self.circuit, shape))

    def _code(self, cycle: Cycle, count: Tensor, normal: Tensor, tile: int) -> Tensor:
        column, errors, top = self.circuit.column, self.errors, cycle.top_code
        assert top is not None
        converter = self._converter(count, tile, 0 if len(cycle.weight_bits) > 1 else cycle.weight_bits[0])
        value = column.level(count, cycle).float()
        if errors.gain is not None:
            value = value * errors.gain[converter]
        if errors.offset is not None:
            value = value + errors.offset[converter]
        if bool((column.sigma(count, cycle) > 0).any()):
            value = value + column.sigma(count, cycle) * normal
        low = -top if cycle.signed else 0
        code = value.round().clamp(low, top)
        if errors.tables is None:
            return code
        flat = zip(value.flatten().numpy(), code.flatten().tolist(), converter.flatten().tolist(), strict=True)
        moved = [self._moved(v, int(c), low, top, self._inl(number)) for v, c, number in flat]
        return torch.tensor(moved).view(code.shape).float()

    @staticmethod
    def _moved(value: np.float32, code: int, low: int, top: int, inl: NDArray[np.float32]) -> int:
        """A code after comparisons with the thresholds beside it, until none moves it."""
        half = np.float32(0.5)
        while True:
            if code > low and value < np.float32(code) - half + inl[code - low]:
                code -= 1
            elif code < top and value >= np.float32(code) + half + inl[code + 1 - low]:
                code += 1
            else:
                return code

    def _inl(self, converter: int) -> NDArray[np.float32]:
        assert self.errors.curve is not None
        assert self.errors.tables is not None
        table = self.errors.tables[int(self.errors.curve[converter])].numpy()
        if table.ndim == 1:
            return table
        codes = np.arange(16 ** len(table))
        total = np.zeros(len(codes), np.float32)
        for number, nibble in enumerate(table):
            total = total + nibble[codes >> 4 * number & 15]
        return total

    def _converter(self, count: Tensor, tile: int, bit: int) -> Tensor:
        """Number of each output's converter. # shape of the count"""
        own = self.errors.index[tile, :, :, bit]  # (groups or heads, output columns)
        if isinstance(self.product, Conv2dProduct):
            return own.flatten()[:, None, None].expand(count.shape)
        if self.product.batched_weight:
            return own[:, None].expand(count.shape)
        return own[0].expand(count.shape)


def check(
    product: Product, circuit: Transfer, x: Tensor, w: Tensor, errors: Converters, noise: Noise, differ: int
) -> None:
    chip = Chip(0, "layer")
    expected = Oracle(product, circuit, errors, chip).sums(x, w, noise)
    reference = ReferenceProgram(product, Weights(w), circuit, chip, converters=errors)
    assert torch.equal(reference.sums(x, noise), expected)
    if native_engine.refuses(circuit) is not None:
        return
    for level, counting in WAYS:
        found = native_engine.NativeProgram(
            product, Weights(w), circuit, chip, converters=errors, level=level, counting=counting
        )
        assert int((found.sums(x, noise) != expected).sum()) <= differ, (level, counting)


@pytest.mark.parametrize("kinds", ["gain offset", "gain offset nibbles", "offset curves large"])
@pytest.mark.parametrize("settings", MACROS.values(), ids=MACROS)
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_codes_are_those_of_the_oracle(product: Product, settings: dict[str, Any], kinds: str) -> None:
    if "nibbles" in kinds and settings.get("weight_parallel"):
        kinds = kinds.replace("nibbles", "curves")
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


class QuietNothing(Column):
    """A column whose sigma is 0 at count 0."""

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """0 at count 0."""
        return (count > 0).float() * 0.4


@pytest.mark.parametrize("column", ["charge", f"{__name__}.QuietNothing"])
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
        assert errors.offset is not None
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
    assert torch.equal(first, Oracle(product, circuit, errors, Chip()).sums(x, w, noise_of(2)))
