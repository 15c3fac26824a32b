"""Layers of every kind, and inputs for them, for tests of what all layers do."""

from typing import Any

import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul, QuantConv2d

KINDS = ("conv", "linear", "matmul")
"""Layers on macros."""
ALL = (*KINDS, "digital")
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "conv": ((3, 3, 6, 5),),
    "linear": ((3, 2, 12),),
    "matmul": ((3, 2, 4, 12), (3, 2, 5, 12)),
    "digital": ((3, 3, 6, 5),),
}


def layer_of(kind: str, macro: MacroConfig, **settings: Any) -> Any:
    """A layer with unsigned inputs, named net.layer; without the macro if it is digital."""
    torch.manual_seed(0)
    settings = {"name": "net.layer", "signed_input": False, **settings}
    if kind == "conv":
        return CimConv2d(3, 4, 3, padding=1, macro=macro, **settings)
    if kind == "linear":
        return CimLinear(12, 4, macro=macro, **settings)
    return QuantConv2d(3, 4, 3, **settings) if kind == "digital" else CimMatmul(macro, **settings)


def inputs_of(kind: str) -> tuple[Tensor, ...]:
    """Operands from 0 to 1; a stored one has both signs."""
    generator = torch.Generator().manual_seed(1)
    x, *w = (torch.rand(shape, generator=generator) for shape in SHAPES[kind])
    return (x, *(each * 2 - 1 for each in w))
