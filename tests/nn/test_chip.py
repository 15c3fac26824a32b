"""Cell mismatch belongs to the chip: every read of it meets the same cells."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, columns, resolved
from asim_lightning.engine import noise_context
from asim_lightning.engine.reference import ReferenceProgram
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul

MACRO = MacroConfig(4, 4, rows=40, adc_bits=8, column="current", column_args={"cell_sigma": 5.0})
EFFECTS: dict[str, dict[str, Any]] = {
    "offset": {"offset": "1 lsb"},
    "gain": {"gain": "5 %"},
    "inl": {"inl": "9 %"},
    "cells": {"cell_mismatch": "5 %"},
    "absolute": {"cell_mismatch": "5 %", "reference": "absolute", "parasitics": 0.3},
    "stuck at 0": {"stuck_at_0": 0.1},
    "stuck at 1": {"stuck_at_1": 0.1},
    "trimmed": {"offset": "1 lsb", "trim": "offset", "trim_step": "0.9 lsb"},
}
MACROS = {"current": MACRO} | {name: MacroConfig(4, 4, 40, 5, static=effects) for name, effects in EFFECTS.items()}
every_kind = pytest.mark.parametrize("kind", ["linear", "conv", "matmul"])
every_macro = pytest.mark.parametrize("macro", MACROS.values(), ids=MACROS)
SAMPLES = [3, 1, 4, 15]


def function_of(kind: str, macro: MacroConfig) -> Callable[[], Tensor]:
    """A layer's answer to one and the same input for four samples."""
    torch.manual_seed(0)
    x = torch.rand(1, 2, 25)
    if kind == "matmul":
        product, w = CimMatmul(macro, signed_input=False).eval(), torch.randn(1, 6, 25)
        return lambda: product(x.expand(4, -1, -1), w.expand(4, -1, -1))
    layer: Any = CimLinear(50, 6, macro=macro) if kind == "linear" else CimConv2d(2, 3, 3, macro=macro)
    shape = (1, 50) if kind == "linear" else (1, 2, 5, 5)
    layer.eval()
    return lambda: layer(x.reshape(shape).expand(4, *shape[1:]))


@pytest.mark.parametrize("kind", ["linear", "conv", "matmul"])
def test_memory_of_the_reference_engine_is_bounded_by_an_option(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held, compute = [], ReferenceProgram._rows

    def watched(program: Any, x: Tensor, *more: Any) -> Tensor:
        held.append(len(x))
        return compute(program, x, *more)

    monkeypatch.setattr(ReferenceProgram, "_rows", watched)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    torch.manual_seed(0)
    product = CimMatmul(MACRO, signed_input=False)
    layer: Any = {"linear": CimLinear(50, 6, macro=MACRO), "conv": CimConv2d(2, 3, 3, macro=MACRO), "matmul": product}[
        kind
    ].eval()
    x = {"linear": torch.rand(4, 50), "conv": torch.rand(4, 2, 5, 5), "matmul": torch.rand(4, 2, 25)}[kind]
    inputs = (x, torch.randn(4, 6, 25)) if kind == "matmul" else (x,)
    layer.engine = "reference"
    expected = layer(*inputs)
    layer.max_elements = 1
    assert torch.equal(layer(*inputs), expected)
    assert held == [4, 1, 1, 1, 1]


def read(function: Callable[[], Tensor], **context: int) -> Tensor:
    with noise_context(sample_ids=SAMPLES, **context):
        return function()


@every_kind
@every_macro
def test_every_sample_trial_and_call_meets_the_same_chip(kind: str, macro: MacroConfig) -> None:
    function = function_of(kind, macro)
    first = read(function, chip=1)
    assert torch.equal(first, first[:1].expand_as(first))
    assert torch.equal(first, read(function, chip=1, trial=9))
    with noise_context(sample_ids=SAMPLES, chip=1):
        assert torch.equal(first, function())
        assert torch.equal(first, function())


@every_kind
@every_macro
def test_another_chip_is_another(kind: str, macro: MacroConfig) -> None:
    function = function_of(kind, macro)
    assert not torch.equal(read(function, chip=1), read(function, chip=2))


@every_kind
@every_macro
def test_the_seed_of_the_noise_changes_no_chip(kind: str, macro: MacroConfig) -> None:
    function = function_of(kind, macro)
    assert torch.equal(read(function, chip=1, seed=3), read(function, chip=1, seed=4))


def test_without_cell_variation_chips_are_equal() -> None:
    function = function_of("linear", MACRO.with_fields(column_args={"cell_sigma": 0.0}))
    assert torch.equal(read(function, chip=1), read(function, chip=2))


def test_read_noise_belongs_to_the_read_and_not_to_the_chip() -> None:
    function = function_of("linear", MACRO.with_fields(random_noise=2.0, column_args={}))
    assert torch.equal(read(function, chip=1), read(function, chip=2))
    assert not torch.equal(read(function, chip=1), read(function, chip=1, trial=1))


@every_kind
def test_the_old_name_of_cell_mismatch_draws_the_same_cells(kind: str) -> None:
    static = {"cell_mismatch": "5 %", "reference": "summing"}
    new = MacroConfig(4, 4, rows=40, adc_bits=8, column="current", static=static)
    for chip in (0, 3):
        assert torch.equal(read(function_of(kind, MACRO), chip=chip), read(function_of(kind, new), chip=chip))


def test_the_old_name_says_the_new_one_once() -> None:
    columns._warn_of_old_name.cache_clear()
    old = {"column": "current", "column_args": {"cell_sigma": 1.0}}
    with pytest.warns(FutureWarning, match="`static.cell_mismatch` with `static.reference: summing`; use"):
        resolved(MacroConfig(**old))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolved(MacroConfig(**old))
    columns._warn_of_old_name.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolved(MacroConfig(column="current", column_args={"cell_sigma": 0, "alpha": 0.1}))
