# ruff: noqa: N803 - constants of a kernel in capitals, as is usual in Triton
"""Counting: products of digits on tensor cores, and the fields of four cycles that are counted together."""

import triton
import triton.language as tl

from asim_lightning.engine.fused.tables import CycleField

FIELDS = tl.constexpr(len(CycleField))
_INPUT_DIGIT, _WEIGHT_BIT = tl.constexpr(CycleField.INPUT_DIGIT.value), tl.constexpr(CycleField.WEIGHT_BIT.value)


@triton.jit
def of_four(cycle, FIELD: tl.constexpr):  # type: ignore[no-untyped-def]
    """A field of four consecutive cycles; `cycle` is where the first cycle's fields start."""
    return (
        tl.load(cycle + FIELD),
        tl.load(cycle + FIELD + FIELDS),
        tl.load(cycle + FIELD + 2 * FIELDS),
        tl.load(cycle + FIELD + 3 * FIELDS),
    )


@triton.jit
def weighted(values, weights, whole: tl.constexpr):  # type: ignore[no-untyped-def]
    """Two sums, each of two of the four values times their weights."""
    first = values[0] * weights[0].to(whole) + values[1] * weights[1].to(whole)
    return first, values[2] * weights[2].to(whole) + values[3] * weights[3].to(whole)


@triton.jit
def zeros(kind: tl.constexpr, FORM: tl.constexpr):  # type: ignore[no-untyped-def]
    """A zero for each output of a block. # (BLOCK_M, BLOCK_N)"""
    rows: tl.constexpr = FORM.BLOCK_M  # Triton 3.4 takes no plain number for a dimension
    columns: tl.constexpr = FORM.BLOCK_N
    return tl.zeros((rows, columns), kind)


@triton.jit
def _step(kk, first_tap, numbers, FORM: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where a tile's rows lie in the input, counted from the corner of the window. # (1, rows)"""
    if FORM.TAPS == 1:
        step = kk.to(tl.int64)[None, :]
    else:
        tap = tl.minimum(kk // FORM.CHANNELS + first_tap, FORM.TAPS - 1).to(tl.int64)
        reach = (tap // FORM.KERNEL_WIDTH) * numbers.tap_down + (tap % FORM.KERNEL_WIDTH) * numbers.tap_right
        step = (reach * FORM.CHANNELS + kk % FORM.CHANNELS)[None, :]
    return step


@triton.jit
def counts_of_four(cycle, x_window, x_plane, w_tile, first_tap, numbers, FORM: tl.constexpr):  # type: ignore[no-untyped-def]
    """Counts of four consecutive cycles. # (BLOCK_M, BLOCK_N), int32

    Args:
        cycle: Fields of the first cycle.
        x_window: Corner of each pixel's window in the tile's channels, in the first input digit. # (BLOCK_M, 1)
        x_plane: Steps of `CHANNELS` digits from one input digit to the next.
        w_tile: The tile of each output channel, in the first weight bit. # (BLOCK_N, 1)
        first_tap: The tile's first kernel element.
        numbers: See `Numbers`.
    """
    d0, d1, d2, d3 = of_four(cycle, _INPUT_DIGIT)
    b0, b1, b2, b3 = of_four(cycle, _WEIGHT_BIT)
    x0 = x_window + d0 * x_plane * FORM.CHANNELS
    x1 = x_window + d1 * x_plane * FORM.CHANNELS
    x2 = x_window + d2 * x_plane * FORM.CHANNELS
    x3 = x_window + d3 * x_plane * FORM.CHANNELS
    w0 = w_tile + b0 * numbers.w_plane * FORM.DEPTH
    w1 = w_tile + b1 * numbers.w_plane * FORM.DEPTH
    w2 = w_tile + b2 * numbers.w_plane * FORM.DEPTH
    w3 = w_tile + b3 * numbers.w_plane * FORM.DEPTH
    n0 = zeros(tl.int32, FORM)
    n1 = zeros(tl.int32, FORM)
    n2 = zeros(tl.int32, FORM)
    n3 = zeros(tl.int32, FORM)
    for k in range(0, FORM.DEPTH, FORM.BLOCK_K):
        kk = k + tl.arange(0, FORM.BLOCK_K)
        step = _step(kk, first_tap, numbers, FORM)
        a = tl.load(x0 + step)
        n0 = tl.dot(a, tl.trans(tl.load(w0 + kk[None, :])), n0, out_dtype=tl.int32)
        a = a if FORM.SHARED else tl.load(x1 + step)
        n1 = tl.dot(a, tl.trans(tl.load(w1 + kk[None, :])), n1, out_dtype=tl.int32)
        a = a if FORM.SHARED else tl.load(x2 + step)
        n2 = tl.dot(a, tl.trans(tl.load(w2 + kk[None, :])), n2, out_dtype=tl.int32)
        a = a if FORM.SHARED else tl.load(x3 + step)
        n3 = tl.dot(a, tl.trans(tl.load(w3 + kk[None, :])), n3, out_dtype=tl.int32)
    return n0, n1, n2, n3
