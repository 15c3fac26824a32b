"""Integers from floats: quantisers, ranges, straight-through rounding."""

from asim_lightning.quant.quantizers import (
    fake_quantize,
    largest_value,
    levels,
    quantize,
    scale_of,
    scale_with_gradient,
    weight_scale,
)
from asim_lightning.quant.ranges import METHODS, RangeObserver

__all__ = [
    "METHODS",
    "RangeObserver",
    "fake_quantize",
    "largest_value",
    "levels",
    "quantize",
    "scale_of",
    "scale_with_gradient",
    "weight_scale",
]
