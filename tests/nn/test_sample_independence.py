"""One image gives the same noisy answer alone, in any batch, in any order and with any number of threads."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.layers import Attention
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimAttention, CimConv2d
from tests.nn.layers import ALL, SHAPES, layer_of

BATCH = 17
MACRO = MacroConfig(
    4, 4, rows=10, adc_bits=4, encoding_bits=2, random_noise="0.6 lsb", nonlinear_noise=2.0, vote_levels=1, votes=3,
    column="current", column_args={"alpha": 1e-3, "cell_sigma": 4.0},
)  # fmt: skip
STATIC: dict[str, Any] = {"offset": "0.8 lsb", "gain": "3 %", "inl": "5 %", "columns_per_adc": 3, "stuck_at_0": 0.02}
CHIP = MACRO.with_fields(column_args={"alpha": 1e-3}, static=STATIC)
CELLS = MACRO.with_fields(column="charge", column_args={}, static={**STATIC, "cell_mismatch": "4 %"})
PARALLEL = MacroConfig(4, 4, rows=10, adc_bits=6, weight_parallel=True, random_noise=1.0)


def case(kind: str, on: MacroConfig = MACRO) -> tuple[Any, Callable[[Tensor], Tensor], Tensor]:
    """A layer in evaluation with a calibrated range, a function of a batch, and 17 samples."""
    if kind == "attention":
        layer: Any = CimAttention.from_timm(Attention(30, 2, qkv_bias=True), on.with_fields(input_bits=5), name=kind)
        for part in layer.parts:
            for name in part.ranges:
                part.store_range(1.0, name)
        return layer.eval(), layer, torch.rand(BATCH, 5, 30)
    if kind == "depthwise":
        layer, shape = CimConv2d(6, 6, 3, groups=6, macro=on, name=kind), (6, 6, 5)
    else:
        alike = {"parallel": "conv", "linear of rows": "linear"}.get(kind, kind)
        layer, shape = layer_of(alike, PARALLEL if kind == "parallel" else on), SHAPES[alike][0][1:]
    x = torch.rand(BATCH, *shape)
    layer.calibrate(*[x] * len(layer.ranges))
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "matmul": lambda x: layer(x, x.flip(-1)),
        # a batch's tokens as rows of one matrix, as some networks flatten them
        "linear of rows": lambda x: layer(x.flatten(0, 1)).unflatten(0, x.shape[:2]),
    }
    return layer.eval(), functions.get(kind, layer), x


KINDS = (*ALL, "line", "transposed", "parallel", "depthwise", "linear of rows", "attention")


def answers(function: Callable[[Tensor], Tensor], x: Tensor, ids: list[int]) -> Tensor:
    with noise_context(seed=3, trial=2, sample_ids=[100 + i for i in ids], chip=1):
        return function(x[ids])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("macro", [MACRO, CHIP, CELLS], ids=["current", "converters", "cells"])
def test_answers_do_not_depend_on_the_batch(kind: str, macro: MacroConfig, set_threads: Callable[[int], None]) -> None:
    _, function, x = case(kind, macro)
    together = answers(function, x, list(range(BATCH)))
    set_threads(2)
    assert torch.equal(together, answers(function, x, list(range(BATCH)))), "two threads"
    set_threads(1)
    assert torch.equal(together.flip(0), answers(function, x, list(reversed(range(BATCH))))), "reversed"
    assert torch.equal(together[6:13], answers(function, x, list(range(6, 13)))), "batch of 7"
    for i in (0, 15):
        assert torch.equal(together[[i]], answers(function, x, [i])), "alone"


@pytest.mark.parametrize("kind", ["conv", "line", "transposed"])
@pytest.mark.parametrize("noise", ["proportional", "macro", "chip"])
def test_estimated_answers_do_not_depend_on_the_batch(kind: str, noise: str) -> None:
    layer, _, x = case(kind, CHIP)
    layer.fidelity, layer.train_noise_model, layer.train_noise = "estimated", noise, 1.0
    together = answers(layer, x, [0, 1, 2])
    torch.testing.assert_close(answers(layer, x, [2]), together[[2]], rtol=1e-6, atol=1e-6)
    layer.fidelity = "quantized"
    assert not torch.equal(answers(layer, x, [0, 1, 2]), together)
