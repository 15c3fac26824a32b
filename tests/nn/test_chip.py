"""A chip belongs to all reads: every one meets the same cells, and a file has what was saved, to the bit.

What is edited in a file changes nothing else.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from asim_lightning.circuit import MacroConfig, columns, resolved
from asim_lightning.engine import SavedChip, noise_context
from asim_lightning.engine.chips.effects import chip_tensors
from asim_lightning.engine.reference import ReferenceProgram
from asim_lightning.nn import OnMacro
from tests.nn.layers import CHIPS, EVERY, KINDS, inputs_of, layer_of

MACRO = MacroConfig(4, 4, rows=40, adc_bits=8, column="current", column_args={"cell_sigma": 5.0})


@pytest.mark.parametrize("kind", KINDS)
def test_the_old_name_of_cell_mismatch_draws_the_same_cells_and_says_the_new_one_once(kind: str) -> None:
    static = {"cell_mismatch": "5 %", "reference": "summing"}
    new = named_layer(kind, MacroConfig(4, 4, rows=40, adc_bits=8, column="current", static=static))
    columns._warn_of_old_name.cache_clear()
    with pytest.warns(FutureWarning, match="`static.cell_mismatch` with `static.reference: summing`$") as record:
        old, _ = (named_layer(kind, resolved(MACRO.with_fields(votes=votes))) for votes in (1, 3))  # not the same macro
    assert len(record) == 1
    for chip in (0, 3):
        assert torch.equal(answer(*old, chip), answer(*new, chip))


def test_memory_of_the_reference_engine_is_bounded_by_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    held, compute = [], ReferenceProgram._rows

    def watched(program: Any, x: Tensor, *more: Any) -> Tensor:
        held.append(len(x))
        return compute(program, x, *more)

    monkeypatch.setattr(ReferenceProgram, "_rows", watched)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    layer, inputs = layer_of("linear", MACRO).eval(), inputs_of("linear")
    layer.engine = "reference"
    expected = layer(*inputs)
    layer.max_elements = 1
    assert torch.equal(layer(*inputs), expected)
    assert held == [3, 1, 1, 1]


def named_layer(kind: str, macro: MacroConfig) -> tuple[OnMacro, tuple[Tensor, ...]]:
    """A layer and what it is called with."""
    return layer_of(kind, macro, name="layer").eval(), inputs_of(kind)


def saved(layer: OnMacro, inputs: tuple[Tensor, ...], path: Path, number: int = 17) -> dict[str, Tensor]:
    """Save a chip of a layer; its tensors."""
    product, _, w = layer.quantized_operands(*inputs)
    shape = w.shape[1:] if product.batched_weight else w.shape
    found = chip_tensors(layer.chip_of(number), product, layer.transfer, shape)
    save_file({f"{layer.chip_part}/{kind}": values for kind, values in found.items()}, path)
    return found


def answer(layer: OnMacro, inputs: tuple[Tensor, ...], chip: int | Path) -> Tensor:
    which = SavedChip.read(str(chip)) if isinstance(chip, Path) else chip
    with noise_context(seed=1, trial=9, chip=which):
        return layer(*inputs)


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("macro", CHIPS.values(), ids=CHIPS)
def test_a_saved_draw_is_that_draw_to_the_bit(kind: str, macro: MacroConfig, tmp_path: Path) -> None:
    """A file knows no sample, trial or seed, so that all reads meet the same chip."""
    layer, inputs = named_layer(kind, macro)
    saved(layer, inputs, tmp_path / "chip.safetensors")
    expected = answer(layer, inputs, 17)
    assert torch.equal(answer(layer, inputs, tmp_path / "chip.safetensors"), expected)
    assert not torch.equal(answer(layer, inputs, 18), expected)
    layer.engine = "reference"
    saved(layer, inputs, tmp_path / "chip.safetensors", 18)  # another content of the same file
    assert torch.equal(answer(layer, inputs, tmp_path / "chip.safetensors"), answer(layer, inputs, 18))


@pytest.mark.parametrize("kind", ["linear", "line", "matmul"])
def test_an_edited_offset_changes_its_column_alone(kind: str, tmp_path: Path) -> None:
    macro = CHIPS["offset"].with_fields(random_noise=0.0)
    layer, inputs = named_layer(kind, macro)
    path = tmp_path / "chip.safetensors"
    tensors = saved(layer, inputs, path)
    at = 13
    column = int(tensors["place"][at, 2]) + 3 * int(tensors["place"][at, 1]) * (kind == "line")
    tensors["offset"][at] += 9.0
    save_file({f"layer/{name}": values for name, values in tensors.items()}, path)
    differs = answer(layer, inputs, path) != answer(layer, inputs, 17)
    outputs = differs.movedim(1 if kind == "line" else -1, 0).flatten(1).any(1)
    assert outputs.nonzero().flatten().tolist() == [column]


def test_a_curve_by_code_is_the_nibbles_that_add_up_to_it(tmp_path: Path) -> None:
    layer, inputs = named_layer("linear", CHIPS["converters"])
    tensors = saved(layer, inputs, tmp_path / "nibbles.safetensors")
    codes = torch.arange(32)
    tensors["inl"] = sum((tensors["inl"][:, n, codes >> 4 * n & 15] for n in range(2)), torch.zeros(1))
    save_file({f"layer/{name}": values for name, values in tensors.items()}, tmp_path / "codes.safetensors")
    assert torch.equal(answer(layer, inputs, tmp_path / "codes.safetensors"), answer(layer, inputs, 17))


@pytest.mark.parametrize("kind", ["linear", "matmul"])
def test_training_with_a_chip_in_the_loop_takes_the_file(kind: str, tmp_path: Path) -> None:
    layer, inputs = named_layer(kind, CHIPS["all"])
    saved(layer, inputs, tmp_path / "chip.safetensors")
    layer.train_noise_model = "chip"  # type: ignore[assignment]
    layer.train()
    layer.train_noise = 1.0
    found = answer(layer, inputs, tmp_path / "chip.safetensors")
    layer._steps = 0  # so that the noise of the read is the same
    assert torch.equal(found, answer(layer, inputs, 17))
    layer.train_noise = 0.5
    assert not torch.equal(found, answer(layer, inputs, tmp_path / "chip.safetensors"))


Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def without(kind: str) -> Change:
    return lambda tensors: {name: values for name, values in tensors.items() if name != f"layer/{kind}"}


def changed(kind: str, change: Callable[[Tensor], Tensor]) -> Change:
    return lambda tensors: {**tensors, f"layer/{kind}": change(tensors[f"layer/{kind}"])}


def first_set(value: float) -> Callable[[Tensor], Tensor]:
    def change(values: Tensor) -> Tensor:
        values.view(-1)[0] = value
        return values

    return change


WRONG: dict[str, tuple[Change, str]] = {
    "no layer": (
        lambda tensors: {"other/offset": tensors["layer/offset"]},
        "must have tensors of layer `layer`, got none",
    ),
    "no offset": (without("offset"), "layer `layer` must have offset (`macro.static.offset` 1 lsb), got cells, gain"),
    "more than differs": (
        lambda tensors: {**tensors, "layer/idle": torch.ones(1)},
        "has idle of layer `layer`, which no setting of its macro asks for",
    ),
    "another ADC": (changed("macro", lambda m: m + torch.eye(8)[2].long()), "with adc_bits 5, got one with 6"),
    "dtype": (changed("gain", lambda v: v.double()), "must have gain of torch.float32 [32], got torch.float64 [32]"),
    "NaN": (changed("gain", first_set(float("nan"))), "`layer/gain` must have finite values"),
    "offset": (changed("offset", first_set(-500.0)), "must have offset of -496..496, got -500"),
    "INL by too few codes": (changed("inl", lambda v: v[:, 0].clone()), "inl of torch.float32 [32, 32], got"),
    "cell": (changed("cells", first_set(99.0)), "must have cells of -16..16, got 99"),
    "cells": (changed("cells", lambda v: v[:3].clone()), "cells of torch.float32 [4, 4, 12], got"),
    "bits": (changed("stuck_at_1", first_set(16)), "must have stuck_at_1 of 0..15, got 16"),
    "stuck both ways": (
        lambda tensors: {**tensors, "layer/stuck_at_0": torch.full_like(tensors["layer/stuck_at_1"], 1)},
        "cells of layer `layer` must not be stuck at 0 and 1 at once",
    ),
    "place": (changed("place", lambda v: v.flip(0)), "must have [0, 0, 0, 0] in line 0 of place, got [1, 0, 3, 3]"),
    "no name": (lambda tensors: {"offset": tensors["layer/offset"]}, "must have tensors LAYER/KIND, got 'offset'"),
    "nothing": (lambda tensors: {}, "must hold a chip, tensors LAYER/KIND, got none"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_files_that_are_no_chip_of_the_layer_are_refused(change: Change, message: str, tmp_path: Path) -> None:
    layer, inputs = named_layer("linear", CHIPS["all"])
    path = tmp_path / "chip.safetensors"
    saved(layer, inputs, path)
    save_file(change(load_file(path)), path)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        answer(layer, inputs, path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
