"""Layers of every kind, and inputs for them, for tests of what all layers do."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import CimConv1d, CimConv2d, CimConvTranspose2d, CimLinear, CimMatmul, QuantConv2d

KINDS = ("conv", "linear", "matmul")
"""Layers on macros."""
ALL = (*KINDS, "digital")
EVERY = (*KINDS, "line", "transposed")
"""Layers on macros, those included that are rearranged to convolutions of images."""
MAKERS: dict[str, Callable[..., Any]] = {
    "conv": partial(CimConv2d, 3, 4, 3, padding=1),
    "linear": partial(CimLinear, 12, 4),
    "matmul": CimMatmul,
    "digital": partial(QuantConv2d, 3, 4, 3),
    "line": partial(CimConv1d, 4, 6, 3, groups=2),
    "transposed": partial(CimConvTranspose2d, 4, 6, 3, 2, groups=2),
}
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "conv": ((3, 3, 6, 5),),
    "linear": ((3, 2, 12),),
    "matmul": ((3, 2, 4, 12), (3, 2, 5, 12)),
    "digital": ((3, 3, 6, 5),),
    "line": ((3, 4, 7),),
    "transposed": ((3, 4, 3, 2),),
}

_CONVERTERS = {"offset": "1 lsb", "gain": "5 %", "inl": "9 %"}
_REUSE = {"placement": "reuse", "macros": 3, "columns": 7}
_EFFECTS: dict[str, dict[str, Any]] = {
    "offset": {"offset": "1 lsb"},
    "converters": {**_CONVERTERS, "columns_per_adc": 3},
    "trimmed": {**_CONVERTERS, "trim": "both", "trim_step": "0.9 lsb"},
    "cells": {"cell_mismatch": "5 %"},
    "absolute": {"cell_mismatch": "5 %", "reference": "absolute", "parasitics": 0.3},
    "summing": {"cell_mismatch": "5 %", "reference": "summing"},
    "stuck": {"stuck_at_0": 0.1, "stuck_at_1": 0.05},
    "all": {**_CONVERTERS, "cell_mismatch": "5 %", "stuck_at_0": 0.05, "stuck_at_1": 0.1},
}
CHIPS = {name: MacroConfig(4, 4, 8, 5, random_noise=0.5, static=effects) for name, effects in _EFFECTS.items()} | {
    "weight-parallel": MacroConfig(
        3, 4, 8, 6, weight_parallel=True, static={**_CONVERTERS, "cell_mismatch": "5 %", "stuck_at_1": 0.1}
    ),
    "reuse": MacroConfig(
        4, 4, 8, 5, static={**_CONVERTERS, **_REUSE, "columns_per_adc": 3, "cell_mismatch": "5 %", "stuck_at_1": 0.1}
    ),
    "reuse, weight-parallel": MacroConfig(
        3, 4, 8, 6, weight_parallel=True, static={"offset": "1 lsb", **_REUSE, "cell_mismatch": 5, "stuck_at_0": 0.1}
    ),
    "current": MacroConfig(4, 4, 8, 8, column="current", column_args={"cell_sigma": 5.0}),
}
"""Macros with chips that differ, by what differs."""


def layer_of(kind: str, macro: MacroConfig, **settings: Any) -> Any:
    """A layer with unsigned inputs, named net.layer; without the macro if it is digital."""
    torch.manual_seed(0)
    on_macro = {} if kind == "digital" else {"macro": macro}
    return MAKERS[kind](**{"name": "net.layer", "signed_input": False, **on_macro, **settings})


def inputs_of(kind: str) -> tuple[Tensor, ...]:
    """Operands from 0 to 1; a stored one has both signs."""
    generator = torch.Generator().manual_seed(1)
    x, *w = (torch.rand(shape, generator=generator) for shape in SHAPES[kind])
    return (x, *(each * 2 - 1 for each in w))


def product_of(kind: str, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """The float product of a kind of layer."""
    if kind in ("conv", "digital"):
        return F.conv2d(x, w, bias, padding=int(kind == "conv"))
    if kind == "line":
        return F.conv1d(x, w, bias, groups=2)
    if kind == "transposed":
        return F.conv_transpose2d(x, w, bias, 2, groups=2)
    y = x @ w.transpose(-1, -2)
    return y if bias is None else y + bias
