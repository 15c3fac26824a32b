"""One image gives the same noisy answer alone, in any batch, in any order and with any number of threads."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.layers import Attention
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import (
    CimAttention,
    CimConv1d,
    CimConv2d,
    CimConvTranspose2d,
    CimLinear,
    CimMatmul,
    QuantConv2d,
)

BATCH = 17
TOKENS = 5
MACRO = MacroConfig(
    4, 4, rows=24, adc_bits=5, encoding_bits=2, random_noise="0.6 lsb", nonlinear_noise=2.0, vote_levels=1, votes=3,
    column="current", column_args={"alpha": 1e-3, "cell_sigma": 4.0},
)  # fmt: skip
STATIC: dict[str, Any] = {"offset": "0.8 lsb", "gain": "3 %", "inl": "5 %", "columns_per_adc": 3, "stuck_at_0": 0.02}
CHIP = MACRO.with_fields(column_args={"alpha": 1e-3}, static=STATIC)
CELLS = MACRO.with_fields(column="charge", column_args={}, static={**STATIC, "cell_mismatch": "4 %"})
PARALLEL = MacroConfig(4, 4, rows=24, adc_bits=6, weight_parallel=True, random_noise=1.0)


def case(kind: str, on: MacroConfig = MACRO) -> tuple[Any, Callable[[Tensor], Tensor], Tensor]:
    """A layer in evaluation with a calibrated range, a function of a batch, and 17 samples."""
    image, tokens = torch.rand(BATCH, 6, 6, 5), torch.rand(BATCH, TOKENS, 30)
    settings: dict[str, Any] = {"macro": PARALLEL if kind == "parallel" else on, "name": kind}
    if kind == "attention":
        attention = Attention(30, num_heads=2, qkv_bias=True)
        layer = CimAttention.from_timm(attention, on.with_fields(input_bits=5), name=kind).eval()
        for part in layer.parts:
            for name in part.ranges:
                part.store_range(1.0, name)
        return layer, layer, tokens
    made: tuple[Any, Tensor] = {
        "conv": lambda: (CimConv2d(6, 5, 3, 2, padding=1, **settings), image),
        "parallel": lambda: (CimConv2d(6, 5, 3, 2, padding=1, **settings), image),
        "depthwise": lambda: (CimConv2d(6, 6, 3, groups=6, **settings), image),
        "digital": lambda: (QuantConv2d(6, 5, 3, name=kind), image),
        "line": lambda: (CimConv1d(6, 8, 3, groups=2, padding=1, **settings), image.flatten(2)),
        "transposed": lambda: (CimConvTranspose2d(6, 4, 3, 2, padding=1, groups=2, **settings), image),
        "linear": lambda: (CimLinear(30, 7, **settings), tokens),
        "linear of rows": lambda: (CimLinear(30, 7, **settings), tokens),
        "matmul": lambda: (CimMatmul(signed_input=False, **settings), tokens.unflatten(2, (2, 15)).transpose(1, 2)),
    }[kind]()
    layer, x = made
    layer.calibrate(*[x] * len(layer.ranges))
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "matmul": lambda x: layer(x, x.flip(-1)),
        # a batch's tokens as rows of one matrix, as some networks flatten them
        "linear of rows": lambda x: layer(x.flatten(0, 1)).unflatten(0, x.shape[:2]),
    }
    return layer.eval(), functions.get(kind, layer), x


KINDS = (
    "conv", "parallel", "depthwise", "digital", "line", "transposed", "linear", "linear of rows", "matmul", "attention",
)  # fmt: skip


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


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_answers_depend_on_the_sample_id_where_there_is_noise(kind: str) -> None:
    _, function, x = case(kind)
    same = x[:1].expand(2, *x.shape[1:])
    with noise_context(sample_ids=[4, 5]):
        first, second = function(same)
    assert torch.equal(first, second) == (kind == "digital")


@pytest.mark.parametrize("kind", ["conv", "line", "transposed"])
@pytest.mark.parametrize("noise", ["proportional", "macro", "chip"])
def test_estimated_answers_do_not_depend_on_the_batch(kind: str, noise: str) -> None:
    layer, _, x = case(kind, CHIP)
    layer.fidelity, layer.train_noise_model, layer.train_noise = "estimated", noise, 1.0
    together = answers(layer, x, [0, 1, 2])
    torch.testing.assert_close(answers(layer, x, [2]), together[[2]], rtol=1e-6, atol=1e-6)
    layer.fidelity = "quantized"
    assert not torch.equal(answers(layer, x, [0, 1, 2]), together)
