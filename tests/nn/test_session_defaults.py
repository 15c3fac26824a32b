"""What a session sets elsewhere (default type and device, memory format, inference mode) changes no answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine.native.conversion import conversion_of
from asim_lightning.engine.native.cycles import schedule_of
from asim_lightning.nn import CimConv2d, CimLinear

# 3 * 131 and 257 * 255 need more than the 8 bits of bfloat16
LOSSY = MacroConfig(5, 5, rows=131, adc_bits=6, encoding_bits=2)
NOISY = LOSSY.with_fields(random_noise="0.3 lsb")
VARIED = LOSSY.with_fields(column="current", column_args={"cell_sigma": 3.0})
STATIC: dict[str, Any] = {"offset": "0.4 lsb", "gain": 2, "inl": 4, "stuck_at_1": 0.01}
BENT = NOISY.with_fields(column="current", column_args={"alpha": 2e-3})  # levels by table
CHIP = NOISY.with_fields(static=STATIC)
CELLS = NOISY.with_fields(static={**STATIC, "cell_mismatch": 3})
EVERY = pytest.mark.parametrize(
    "macro", [LOSSY, NOISY, VARIED, BENT, CHIP, CELLS], ids=["lossy", "noisy", "varied", "bent", "converters", "cells"]
)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@EVERY
@pytest.mark.parametrize("engine", [None, "reference"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_default_type(macro: MacroConfig, dtype: torch.dtype, engine: str | None) -> None:
    # torch.empty in ratio, sigma, _fill and cell_digits follow
    torch.manual_seed(0)
    layer, x = CimLinear(300, 5, macro=macro, name="fc").eval(), torch.rand(3, 300)
    layer.engine = engine
    expected = layer(x)
    schedule_of.cache_clear()
    conversion_of.cache_clear()
    with default_dtype(dtype):
        assert torch.equal(layer(x), expected)
        layer.refresh()  # what is kept is made anew
        assert torch.equal(layer(x), expected)
    schedule_of.cache_clear()


def test_default_type_does_not_change_what_is_exact() -> None:
    with default_dtype(torch.bfloat16):
        assert transfer(MacroConfig(rows=257, adc_bits=16, encoding_bits=8, votes=7), False).exact


def test_inference_mode() -> None:
    layer, x = CimConv2d(8, 4, 3, macro=NOISY).eval(), torch.rand(3, 8, 6, 6)
    expected = layer(x)
    with torch.inference_mode():
        assert torch.equal(layer(x), expected)
        layer.calibrate(x)
    assert torch.equal(layer(x), expected)
    layer.train()(x).sum().backward()
