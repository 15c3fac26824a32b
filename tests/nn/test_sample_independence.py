"""One image gives the same noisy answer alone, in any batch, in any order and with any number of threads."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.layers import Attention
from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimAttention, CimConv2d, CimLinear, CimMatmul, QuantConv2d

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
Case = tuple[nn.Module, Callable[[Tensor], Tensor], Tensor]


def linear_of_rows(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """A batch's tokens as rows of one matrix, as some networks flatten them."""
    return lambda x: layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def case(kind: str, on: MacroConfig = MACRO) -> Case:
    """A layer in evaluation with a calibrated range, a function of a batch, and 17 samples."""
    torch.manual_seed(0)
    fixed: dict[str, Any] = {"macro": on, "name": kind}
    image, tokens = torch.rand(BATCH, 6, 6, 5), torch.rand(BATCH, TOKENS, 30)
    layer: nn.Module
    if kind in ("conv", "parallel"):
        layer = CimConv2d(6, 5, 3, 2, padding=1, **(fixed | ({"macro": PARALLEL} if kind == "parallel" else {})))
    elif kind == "depthwise":
        layer = CimConv2d(6, 6, 3, groups=6, **fixed)
    elif kind == "digital":
        layer = QuantConv2d(6, 5, 3, name=kind)
    elif kind.startswith("linear"):
        layer, image = CimLinear(30, 7, **fixed), tokens
    elif kind == "matmul":
        layer, image = (
            CimMatmul(name=kind, macro=on, signed_input=False),
            tokens.unflatten(2, (2, 15)).transpose(1, 2),
        )
        layer.calibrate(image, image)
        return layer.eval(), lambda x: layer(x, x.flip(-1)), image
    else:
        macro = on.with_fields(input_bits=5)
        attention = CimAttention.from_timm(Attention(30, num_heads=2, qkv_bias=True), macro, name=kind).eval()
        for part in (attention.qkv, attention.proj):
            part.store_range(1.0)
        for part in (attention.qk, attention.av):
            part.store_range(1.0)
            part.store_range(1.0, "weight_max")
        return attention, attention, tokens
    layer.calibrate(image)
    return layer.eval(), linear_of_rows(layer) if kind == "linear of rows" else layer, image


KINDS = ("conv", "parallel", "depthwise", "digital", "linear", "linear of rows", "matmul", "attention")


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
