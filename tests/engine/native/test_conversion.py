"""The native engine makes the reference engine's conversions, one by one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import Column, Cycle, MacroConfig, Transfer, transfer
from asim_lightning.engine import (
    Chip,
    Conv2dProduct,
    MatmulProduct,
    Noise,
    Product,
    Weights,
    choose,
    reference,
    refusals,
    sums_of,
)
from asim_lightning.engine.native import conversion, library, native_engine
from asim_lightning.engine.native.cycles import schedule_of
from asim_lightning.engine.native.structures import Counting, Level, Sigma
from tests.engine.conversion_cases import DROOP, DROOPING, MACROS, most_different, operands, whole
from tests.engine.products import NOISY, PRODUCTS, noise_of

WAYS = [
    (level, counting)
    for level in library.processor_levels()
    for counting in Counting
    if library.library(level).asim_counts_by(counting)
]
"""Every way of counting at each level that this machine has."""


def program(
    product: Product, circuit: Transfer, w: Tensor, level: str | None = None, counting: Counting | None = None
) -> native_engine.NativeProgram:
    return native_engine.NativeProgram(product, Weights(w), circuit, Chip(1, "layer"), level=level, counting=counting)


def check(product: Product, circuit: Transfer, x: Tensor, w: Tensor, noise: Noise, differ: float = 0) -> Tensor:
    """Sums of the native engine, which are the same by all ways, and those of the reference but for so many."""
    expected, found = sums_of(reference, product, circuit, x, w, replace(noise, chip=1)), None
    for way in WAYS:
        sums = program(product, circuit, w, *way).sums(x, noise)
        assert (sums.shape, sums.dtype) == (expected.shape, expected.dtype)
        assert found is None or torch.equal(sums, found), way
        found = sums
        assert int((sums != expected).sum()) <= differ, way
    return found


@pytest.mark.parametrize("settings", (MACROS | DROOPING).values(), ids=MACROS | DROOPING)
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("signed", [False, True])
def test_codes_are_those_of_the_reference(product: Product, settings: dict[str, Any], signed: bool) -> None:
    macro = MacroConfig(**settings)
    if signed and macro.input_bits == 1:
        pytest.skip("a signed input has 2 bits or more")
    circuit = transfer(macro, signed)
    x, w = operands(product, macro, signed)
    assert native_engine.refuses(circuit) is None
    found = check(product, circuit, x, w, noise_of(3, trial=2), most_different(product, circuit, x, w))
    other = sums_of(native_engine, product, circuit, x, w, noise_of(3, trial=3))
    assert torch.equal(found, other) == (not {"random_noise", "nonlinear_noise"} & settings.keys())


@pytest.mark.parametrize("fixed", [{"adc_bits": 12}, {"encoding_bits": 4}, {"adc_bits": 16, "rows": 77}], ids=str)
def test_no_noisy_code_depends_on_rounding(fixed: dict[str, Any]) -> None:
    circuit = transfer(MacroConfig(random_noise=5.0, **fixed), False)
    x, w = whole(0, 255, 200, 255), whole(-127, 127, 40, 255, seed=1)
    check(MatmulProduct(), circuit, x, w, noise_of(200))


@pytest.mark.parametrize("channels", [1, 31, 32, 33, 1100, 3000])
@pytest.mark.parametrize("input_bits", [1, 7, 8, 9, 16])
def test_all_bits_of_all_channels_are_counted(channels: int, input_bits: int) -> None:
    circuit = transfer(MacroConfig(2, input_bits, 4095, 12), False)
    x, w = whole(0, 2**input_bits - 1, 17, channels), torch.ones(3, channels)
    x[:2] = 2.0**input_bits - 1  # as many ones as there are rows
    sums = check(MatmulProduct(), circuit, x, w, noise_of(17))
    assert torch.equal(sums, x.double() @ w.double().T)


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_a_sample_is_alone_in_any_batch_and_with_any_number_of_threads(
    product: Product, set_threads: Callable[[int], None]
) -> None:
    circuit = transfer(MacroConfig(**NOISY), False)
    x, w = operands(product, circuit.macro, False, batch=4)
    whole_batch = sums_of(native_engine, product, circuit, x, w, noise_of(4))
    set_threads(2)
    for row in range(4):
        weight = w[row : row + 1] if product.batched_weight else w
        alone = sums_of(native_engine, product, circuit, x[row : row + 1], weight, noise_of(1, range(5 + row, 6 + row)))
        assert torch.equal(alone[0], whole_batch[row])


def test_a_large_batch_is_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    product, circuit = PRODUCTS["convolution"], transfer(MacroConfig(**NOISY), False)
    x, w = operands(product, circuit.macro, False, batch=7)
    expected = sums_of(native_engine, product, circuit, x, w, noise_of(7))
    own = program(product, circuit, w)
    for own.max_elements in (1, 3 * expected[0].numel(), None):
        assert torch.equal(own.sums(x, noise_of(7)), expected)
    monkeypatch.setattr(conversion, "_BYTES", 1)
    conversion.conversion_of.cache_clear()
    assert torch.equal(own.sums(x, noise_of(7)), expected)
    conversion.conversion_of.cache_clear()


@pytest.mark.parametrize("encoding_bits", [1, 4])
def test_many_outputs_of_few_inputs(encoding_bits: int) -> None:
    circuit = transfer(MacroConfig(encoding_bits=encoding_bits, **NOISY), False)
    for inputs in (1, 4, 13, 18):
        x, w = whole(0, 255, inputs, 300), whole(-127, 127, 530, 300, seed=1)
        args = (MatmulProduct(), circuit, x, w, noise_of(inputs))
        check(*args, most_different(*args[:4]))


def test_a_weight_serves_kernels_of_all_levels_and_macros_that_count_it_in_other_ways() -> None:
    w = Weights(whole(-63, 63, 5, 300, seed=1))
    for fields in ({}, {"rows": 100}, {"input_bits": 4, "encoding_bits": 4}, {"encoding_bits": 4}, {}):
        circuit = transfer(MacroConfig(**{"weight_bits": 7, "rows": 200, "adc_bits": 6} | fields), False)
        x = whole(0, 2**circuit.macro.input_bits - 1, 64, 300)
        expected = sums_of(reference, MatmulProduct(), circuit, x, w.integers, noise_of(64))
        for level, counting in WAYS:
            held = native_engine.NativeProgram(MatmulProduct(), w, circuit, Chip(), level=level, counting=counting)
            assert torch.equal(held.sums(x, noise_of(64)), expected), (level, counting)


@pytest.mark.parametrize("outputs", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17])
@pytest.mark.parametrize(
    "settings",
    [
        {"rows": 90, "adc_bits": 6},
        {"rows": 90, "weight_bits": 4, "encoding_bits": 3},
        {"rows": 90, "input_bits": 3, "random_noise": 0.5},
        {"rows": 90, "encoding_bits": 4, "vote_levels": 3, "votes": 3, **NOISY},
        {"rows": 90, "digital_levels": 3},
    ],
    ids=str,
)
def test_few_outputs(outputs: int, settings: dict[str, Any]) -> None:
    macro = MacroConfig(**settings)
    circuit = transfer(macro, False)
    x, w = whole(0, 2**macro.input_bits - 1, 2, 30, 6, 9), whole(-7, 7, outputs, 30, 2, 2, seed=1)
    x[:, :20] *= x[:, :20] < 4  # empty planes in the first tile
    args = (Conv2dProduct((1, 1), (0, 1), (1, 1), 1), circuit, x, w, noise_of(2))
    check(*args, 1 if any(circuit.noisy) else 0)


@pytest.mark.parametrize("input_bits", [1, 2, 3, 5, 8])
@pytest.mark.parametrize(
    ("size", "stride"), [((5, 16), 1), ((8, 8), 1), ((3, 21), 1), ((7, 7), 2), ((9, 70), 3), ((40, 40), 9), ((1, 1), 1)]
)
def test_lanes_in_a_row_near_each_other_and_anywhere(size: tuple[int, int], stride: int, input_bits: int) -> None:
    circuit = transfer(MacroConfig(3, input_bits, rows=100, adc_bits=5), False)
    x, w = whole(0, 2**input_bits - 1, 2, 23, *size), whole(-3, 3, 5, 23, 3, 3, seed=1)
    check(Conv2dProduct((stride, stride), (1, 1), (1, 1), 1), circuit, x, w, noise_of(2))


class Steps(Column):
    """A column whose sigma jumps and whose level is shifted: neither is a formula of the engine's."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        """Shifted by a third of an LSB."""
        return super().level(count, cycle) + 1.0 / 3.0

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """0 at small counts."""
        return (count > cycle.full_scale / 16).float() * 0.4


class QuietBits(Column):
    """A column without noise where one input bit is applied."""

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """0 for digits of one bit."""
        return super().sigma(count, cycle) * float(len(cycle.input_bits) > 1)


@pytest.mark.parametrize("vote", ["mean", "mode", "median"])
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_votes_without_noise_beside_noisy_cycles(vote: str, levels: int) -> None:
    macro = MacroConfig(2, 3, encoding_bits=2, random_noise=0.3, vote=vote, votes=3, vote_levels=levels)
    circuit = transfer(macro.with_fields(column=f"{__name__}.QuietBits"), False)
    x, w = whole(0, 7, 20, 300), whole(-1, 1, 17, 300, seed=1)
    check(MatmulProduct(), circuit, x, w, noise_of(20), 1)


@pytest.mark.parametrize(
    "fields", [{}, *({"adc_bits": 5, "adc_step": 2, "adc_low": low} for low in (0, 1, 9))], ids=str
)
@pytest.mark.parametrize("encoding_bits", [1, 3])
@pytest.mark.parametrize(
    "column",
    ["charge", *(f"tests.engine.native.random_macros.{name}" for name in ("Lifted", "Sagging")), f"{__name__}.Steps"],
)
@pytest.mark.parametrize("empty", [0, 2])
def test_planes_without_a_1_stand_for_the_count_of_code_0(
    column: str, encoding_bits: int, fields: dict[str, int], empty: int
) -> None:
    circuit = transfer(MacroConfig(rows=200, encoding_bits=encoding_bits, column=column, **fields), True)
    product = PRODUCTS["convolution"]
    x, w = operands(product, circuit.macro, False)
    x = x.remainder(32)  # planes 5 to 7 have no 1
    x[empty] = 0.0
    args = (product, circuit, x, w, noise_of(3))
    found = check(*args, most_different(*args[:4]))
    if column == "charge":
        per_tile = fields.get("adc_low", 0) * sum(c.sign * 2**c.shift for c in circuit.cycles)
        assert set(found[empty].flatten().tolist()) == {len(product.geometry(None, w).tiles(200)) * per_tile}


@pytest.mark.parametrize("column", ["Sagging", "Sinking", "Shivering"])
@pytest.mark.parametrize("encoding_bits", [1, 3])
def test_a_column_of_the_users_that_sees_driven_rows(column: str, encoding_bits: int) -> None:
    column = f"tests.engine.native.random_macros.{column}"
    circuit = transfer(MacroConfig(encoding_bits=encoding_bits, column=column, **NOISY), True)
    for product in PRODUCTS.values():
        args = (product, circuit, *operands(product, circuit.macro, True), noise_of(3))
        check(*args, most_different(*args[:4]))


@pytest.mark.parametrize("fields", [{}, {"encoding_bits": 4}], ids=str)
def test_driven_rows_of_a_tile_are_its_own(fields: dict[str, Any]) -> None:
    """A tile of zeros beside full ones: each tile has the level of its own rows."""
    circuit = transfer(MacroConfig(rows=100, adc_bits=12, **DROOP, **fields), False)
    x, w = torch.zeros(20, 300), whole(0, 127, 17, 300, seed=1)
    x[:, 100:200] = whole(0, 255, 20, 100)
    alone = check(MatmulProduct(), circuit, x[:, 100:200], w[:, 100:200], noise_of(20))
    assert torch.equal(check(MatmulProduct(), circuit, x, w, noise_of(20)), alone)


@pytest.mark.parametrize("low", [0, 16])
@pytest.mark.parametrize("encoding_bits", [1, 4])
def test_lanes_without_a_1_beside_others(encoding_bits: int, low: int) -> None:
    circuit = transfer(MacroConfig(rows=200, encoding_bits=encoding_bits), False)
    x, w = whole(0, 255, 40, 300), whole(-127, 127, 40, 300, seed=1)
    x[low : low + 16] = 0.0
    for outputs in (w.clamp(min=0), w.clone()):
        outputs[low : low + 16] = 0.0
        check(MatmulProduct(), circuit, x, outputs, noise_of(40))


REFUSED: dict[str, dict[str, Any]] = {
    "cells differ, and the column is not `charge` without gain and offset": {
        "column": "current", "column_args": {"alpha": 1e-3}, "static": {"cell_mismatch": "1 %"},
    },
    "cells differ, and with a reference other than summing 3825 counts in a cycle take float64": {
        "encoding_bits": 4, "static": {"cell_mismatch": "1 %"},
    },
    "17724100 numbers in tables by count and driven rows are more than 8388608": {
        "rows": 4209, "column": "droop", "column_args": {"k": 0.05, "gain": 0.99},
    },
    "an ideal converter's codes are not whole numbers": {"adc_bits": None, **NOISY},
    "several weight bits are converted at once": {"weight_parallel": True, **NOISY},
    "65 votes of a conversion are more than 64": {"vote_levels": 1, "votes": 65, "random_noise": 0.3},
    "2092545 counts in a cycle are too many to tabulate": {"rows": 4095, "input_bits": 9, "encoding_bits": 9},
    "sums of a tile's codes take more than 31 bits": {
        "weight_bits": 16, "input_bits": 16, "adc_bits": 16, "random_noise": 0.01,
    },
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_other_macros_are_refused_and_the_reference_computes_them(why: str) -> None:
    circuit = transfer(MacroConfig(**REFUSED[why]), False)
    assert native_engine.refuses(circuit) == why
    assert refusals(circuit)["native"] == why
    assert choose(circuit) == "reference"


@pytest.mark.parametrize(
    ("column", "fields", "kinds"),
    [
        ("droop", {}, {(Level.PROPORTIONAL, Sigma.CONSTANT, 1)}),
        ("droop", {"rows": 200}, {(Level.QUOTIENT, Sigma.CONSTANT, 1)}),
        ("droop", {"adc_bits": 5, "adc_step": 4}, {(Level.PROPORTIONAL, Sigma.CONSTANT, 1)}),
        ("droop", {"adc_bits": 5, "adc_step": 3}, {(Level.BY_DRIVEN, Sigma.CONSTANT, 0)}),
        ("droop", {"adc_bits": 5, "adc_step": 2, "adc_low": 3}, {(Level.BY_DRIVEN, Sigma.CONSTANT, 0)}),
        ("Sagging", {}, {(Level.BY_DRIVEN, Sigma.BY_DRIVEN, 0)}),
        ("Sinking", {}, {(Level.PROPORTIONAL, Sigma.TABLE, 1)}),
        ("Shivering", {}, {(Level.PROPORTIONAL, Sigma.BY_DRIVEN, 0)}),
    ],
)
def test_a_level_that_falls_by_a_factor_needs_no_table(
    column: str, fields: dict[str, Any], kinds: set[tuple[int, ...]]
) -> None:
    arguments = {"k": 0.05} if column == "droop" else {}
    path = column if column == "droop" else f"tests.engine.native.random_macros.{column}"
    circuit = transfer(MacroConfig(column=path, column_args=arguments, random_noise=0.3, **fields), False)
    assert {(each.level, each.sigma, each.drooped) for each in schedule_of(circuit).cycles} == kinds
