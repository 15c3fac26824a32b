"""Numba kernels around products of integers: floats to bytes, or to integers in float32, with a check of the
floats, and sums to floats.

All round like `quant.quantize` and a float32 product followed by a sum, to the bit. Images turn from channels
outermost to channels innermost on the way in, and back on the way out, tile by tile of positions.
"""

from typing import Any

import numpy as np

from asim_lightning.engine.lanes import INWARD_TILE, OUTWARD_TILE
from asim_lightning.engine.numba_words import (
    and_i,
    bits_of_float,
    compiled,
    inline,
    shift_right_i,
)

_ONE = np.float32(1.0)
# a float32 of this size has whole numbers alone: adding it rounds half to even, and leaves the integer in the low bits
_ROUNDER = np.float32(1.5 * 2**23)
_MAGNITUDE, _SIGN_PLACE = np.int32(0x7FFFFFFF), np.int32(31)


@inline
def _seen(value: Any, largest: Any, negative: Any) -> Any:
    """Bits of the largest magnitude, and of the largest magnitude of a negative number, with one number more."""
    bits = bits_of_float(value)
    magnitude = and_i(bits, _MAGNITUDE)
    return max(largest, magnitude), max(negative, and_i(magnitude, shift_right_i(bits, _SIGN_PLACE)))


@inline
def _quantize_line(source: Any, target: Any, scale: Any, low: Any, top: Any, shift: Any) -> Any:
    """Quantise one line to numbers of the target's type, which the shift is added to; what is seen of it."""
    largest, negative, rounder = np.int32(0), np.int32(0), _ROUNDER - shift
    for i in range(source.shape[0]):
        largest, negative = _seen(source[i], largest, negative)
        target[i] = min(max(source[i] / scale, low), _ONE) * top + _ROUNDER - rounder
    return largest, negative


def _quantize(x: Any, out: Any, found: Any, scale: Any, low: Any, top: Any, shift: Any, first: int, last: int) -> None:
    """Blocks first..last-1 of x (blocks, elements) to out of the same shape.

    found (blocks, 2): bits of the largest magnitude, and of the largest magnitude of a negative number.
    """
    for block in range(first, last):
        found[block, 0], found[block, 1] = _quantize_line(x[block], out[block], scale, low, top, shift)


def _quantize_inward(
    x: Any, out: Any, found: Any, scale: Any, low: Any, top: Any, shift: Any, first: int, last: int
) -> None:
    """Tiles first..last-1 of x (batch, channels, positions) to out (batch, positions, channels); the rest as above."""
    channels, positions = x.shape[1], x.shape[2]
    tiles = (positions + INWARD_TILE - 1) // INWARD_TILE
    rows = np.empty((channels, INWARD_TILE), out.dtype)
    for unit in range(first, last):
        image, start = x[unit // tiles], unit % tiles * INWARD_TILE
        size = min(INWARD_TILE, positions - start)
        largest, negative = np.int32(0), np.int32(0)
        for c in range(channels):
            of_line = _quantize_line(image[c, start : start + size], rows[c, :size], scale, low, top, shift)
            largest, negative = max(largest, of_line[0]), max(negative, of_line[1])
        found[unit, 0], found[unit, 1] = largest, negative
        turned = out[unit // tiles, start : start + size]
        for i in range(size):
            for c in range(channels):
                turned[i, c] = rows[c, i]


def _scale(sums: Any, out: Any, step: Any, bias: Any, first: int, last: int) -> None:
    """Rows first..last-1 of ``sums * step + bias``, all (rows, outputs), step and bias (outputs)."""
    for row in range(first, last):
        source, target = sums[row], out[row]
        for c in range(source.shape[0]):
            target[c] = source[c] * step[c] + bias[c]


def _scale_outward(sums: Any, out: Any, step: Any, bias: Any, first: int, last: int) -> None:
    """Tiles first..last-1 of ``sums * step + bias``: (batch, positions, outputs) to (batch, outputs, positions)."""
    positions, outputs = sums.shape[1], sums.shape[2]
    tiles = (positions + OUTWARD_TILE - 1) // OUTWARD_TILE
    for unit in range(first, last):
        start = unit % tiles * OUTWARD_TILE
        size = min(OUTWARD_TILE, positions - start)
        source, target = sums[unit // tiles, start : start + size], out[unit // tiles]
        for c in range(outputs):
            line, s, b = target[c, start : start + size], step[c], bias[c]
            for i in range(size):
                line[i] = source[i, c] * s + b


def compile_quantizers(kind: str) -> tuple[Any, Any]:
    """The compiled kernels: to numbers of this type (u1, f4) as they lie, and turned inward."""
    numbers = "i4[:,::1], f4, f4, f4, f4, i8, i8"
    return (
        compiled(f"void(f4[:,::1], {kind}[:,::1], {numbers})", _quantize),
        compiled(f"void(f4[:,:,::1], {kind}[:,:,::1], {numbers})", _quantize_inward),
    )


def compile_scalers() -> tuple[Any, Any]:
    """The compiled kernels: to floats as they lie, and turned outward."""
    return (
        compiled("void(f4[:,::1], f4[:,::1], f4[::1], f4[::1], i8, i8)", _scale),
        compiled("void(f4[:,:,::1], f4[:,:,::1], f4[::1], f4[::1], i8, i8)", _scale_outward),
    )
