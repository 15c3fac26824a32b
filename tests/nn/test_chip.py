"""Cell mismatch belongs to the chip: every read of it meets the same cells."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, columns, resolved
from asim_lightning.engine import noise_context
from asim_lightning.engine.reference import ReferenceProgram
from tests.nn.layers import CHIPS, KINDS, inputs_of, layer_of

MACRO = MacroConfig(4, 4, rows=40, adc_bits=8, column="current", column_args={"cell_sigma": 5.0})
every_kind = pytest.mark.parametrize("kind", KINDS)


def reader(kind: str, macro: MacroConfig) -> Callable[..., Tensor]:
    """A layer's answer, in some context, to one and the same input for four samples."""
    layer = layer_of(kind, macro).eval()
    inputs = [x[:1].expand(4, *x.shape[1:]) for x in inputs_of(kind)]

    def read(**context: int) -> Tensor:
        with noise_context(sample_ids=[3, 1, 4, 15], **context):
            return layer(*inputs)

    return read


@every_kind
@pytest.mark.parametrize("macro", CHIPS.values(), ids=CHIPS)
def test_every_sample_trial_and_seed_meets_the_same_chip(kind: str, macro: MacroConfig) -> None:
    read = reader(kind, macro.with_fields(random_noise=0.0))
    first = read(chip=1)
    assert torch.equal(first, first[:1].expand_as(first))
    assert torch.equal(first, read(chip=1, trial=9))
    assert torch.equal(first, read(chip=1, seed=3))
    assert not torch.equal(first, read(chip=2))


def test_read_noise_belongs_to_the_read_and_not_to_the_chip() -> None:
    read = reader("linear", MACRO.with_fields(random_noise=2.0, column_args={"cell_sigma": 0.0}))
    assert torch.equal(read(chip=1), read(chip=2))
    assert not torch.equal(read(chip=1), read(chip=1, trial=1))


@every_kind
def test_the_old_name_of_cell_mismatch_draws_the_same_cells_and_says_the_new_one_once(kind: str) -> None:
    static = {"cell_mismatch": "5 %", "reference": "summing"}
    new = MacroConfig(4, 4, rows=40, adc_bits=8, column="current", static=static)
    columns._warn_of_old_name.cache_clear()
    with pytest.warns(FutureWarning, match="`static.cell_mismatch` with `static.reference: summing`; use") as record:
        old = [reader(kind, resolved(MACRO.with_fields(votes=votes))) for votes in (1, 3)]  # not the same macro
    assert len(record) == 1
    for chip in (0, 3):
        assert torch.equal(old[0](chip=chip), reader(kind, new)(chip=chip))


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
