"""Digit sums and table sums in Numba: a few operations an element where torch would make a pass for every bit."""

from typing import Any

import numpy as np

from asim_lightning.engine.numba_words import add_i, and_i, compiled, float_of_i, int_of_f, shift_right_i

i32, f32 = np.int32, np.float32


def _range_sums(x: Any, out: Any, ranges: Any, shifts: Any, masks: Any, low: int, high: int) -> None:
    """Rows low..high-1 of x (rows, k): out[row, range, digit] = sum of the digit over the range."""
    for row in range(low, high):
        for t in range(len(ranges)):
            for j in range(len(shifts)):
                total, shift, mask = i32(0), shifts[j], masks[j]
                for k in range(ranges[t, 0], ranges[t, 1]):
                    total = add_i(total, and_i(shift_right_i(int_of_f(x[row, k]), shift), mask))
                out[row, t, j] = float_of_i(total)


def _channel_sums(x: Any, out: Any, ranges: Any, shifts: Any, masks: Any, low: int, high: int) -> None:
    """Samples low..high-1 of x (batch, channels, pixels): out[sample, range, digit, pixel]."""
    pixels, count = x.shape[2], len(shifts)
    sums = np.empty((count, pixels), np.int32)
    for sample in range(low, high):
        for t in range(len(ranges)):
            for j in range(count):
                for p in range(pixels):
                    sums[j, p] = i32(0)
            for c in range(ranges[t, 0], ranges[t, 1]):
                values = x[sample, c]
                for j in range(count):
                    shift, mask, row = shifts[j], masks[j], sums[j]
                    for p in range(pixels):
                        row[p] = add_i(row[p], and_i(shift_right_i(int_of_f(values[p]), shift), mask))
            for j in range(count):
                for p in range(pixels):
                    out[sample, t, j, p] = float_of_i(sums[j, p])


def _table_sums(sums: Any, table: Any, factors: Any, offset: int, out: Any, low: int, high: int) -> None:
    """Rows low..high-1: out[row, p, t, term] = sum over digits of factor * table[sums[row, t, digit, p], term]."""
    tiles, count, pixels, ranks = sums.shape[1], sums.shape[2], sums.shape[3], table.shape[1]
    for row in range(low, high):
        for t in range(tiles):
            for p in range(pixels):
                place = out[row, p, t]
                for k in range(ranks):
                    place[k] = f32(0.0)
                for j in range(count):
                    entry, factor = table[int(sums[row, t, j, p]) + offset], factors[j]
                    for k in range(ranks):
                        place[k] += factor * entry[k]


def compile_sums() -> tuple[Any, Any, Any]:
    """The compiled kernels: over ranges of the last dimension, over ranges of channels, and table sums."""
    tail = "i8[:,::1], i4[::1], i4[::1], i8, i8"
    return (
        compiled(f"void(f4[:,::1], f4[:,:,::1], {tail})", _range_sums),
        compiled(f"void(f4[:,:,::1], f4[:,:,:,::1], {tail})", _channel_sums),
        compiled("void(f4[:,:,:,::1], f4[:,::1], f4[::1], i8, f4[:,:,:,::1], i8, i8)", _table_sums),
    )
