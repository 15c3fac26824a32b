"""The noise stream of `noise`, filled by a Numba kernel on the CPU: the same numbers, to the bit."""

from typing import Any

import numpy as np

from asim_lightning.engine import noise
from asim_lightning.engine.numba_words import (
    add_u,
    bits_of_float,
    compiled,
    float_of_bits,
    float_of_i,
    float_of_u,
    inline,
    mul_high_u,
    mul_u,
    shift_left_i,
    shift_right_i,
    signed_of_u,
    square_root,
    sub_i,
    xor_u,
)

f32, u32, i32 = np.float32, np.uint32, np.int32
_M0, _M1 = u32(noise.MULTIPLIERS[0]), u32(noise.MULTIPLIERS[1])
_S0, _S1 = u32(noise.KEY_STEPS[0]), u32(noise.KEY_STEPS[1])
_ROUNDS = noise.ROUNDS
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7 = (f32(c) for c in noise.LOG)
_A0, _A1, _A2, _A3 = (f32(c) for c in noise.SIN)
_B0, _B1, _B2, _B3, _B4 = (f32(c) for c in noise.COS)
_LN2, _HALF_TURN = f32(noise.LN2), f32(noise.HALF_TURN)
_ULP, _HALF_ULP = f32(2.0**-32), f32(2.0**-33)
_ONE, _TWO = f32(1.0), f32(2.0)
_SQRT_HALF, _MANTISSA = i32(0x3F3504F3), i32(23)


@inline
def philox(x0: Any, x1: Any, x2: Any, x3: Any, k0: Any, k1: Any) -> Any:
    """Four random words of one counter; see `noise.philox`."""
    for _ in range(_ROUNDS):
        h0, l0 = mul_high_u(_M0, x0), mul_u(_M0, x0)
        h1, l1 = mul_high_u(_M1, x2), mul_u(_M1, x2)
        x0, x1, x2, x3 = xor_u(xor_u(h1, x1), k0), l1, xor_u(xor_u(h0, x3), k1), l0
        k0, k1 = add_u(k0, _S0), add_u(k1, _S1)
    return x0, x1, x2, x3


@inline
def philox_pair(x0: Any, x1: Any, y0: Any, y1: Any, third: Any, last: Any, k0: Any, k1: Any) -> Any:
    """Words of two counters that differ in their first two words, round by round: a round waits for the one before, and
    beside another one the processor need not."""
    x2, x3, y2, y3 = third, last, third, last
    for _ in range(_ROUNDS):
        h0, l0 = mul_high_u(_M0, x0), mul_u(_M0, x0)
        g0, m0 = mul_high_u(_M0, y0), mul_u(_M0, y0)
        h1, l1 = mul_high_u(_M1, x2), mul_u(_M1, x2)
        g1, m1 = mul_high_u(_M1, y2), mul_u(_M1, y2)
        x0, x1, x2, x3 = xor_u(xor_u(h1, x1), k0), l1, xor_u(xor_u(h0, x3), k1), l0
        y0, y1, y2, y3 = xor_u(xor_u(g1, y1), k0), m1, xor_u(xor_u(g0, y3), k1), m0
        k0, k1 = add_u(k0, _S0), add_u(k1, _S1)
    return x0, x1, x2, x3, y0, y1, y2, y3


@inline
def box_muller(radius_word: Any, angle_word: Any) -> Any:
    """Two standard normals of two words; see `noise.box_muller`."""
    bits = bits_of_float(float_of_u(radius_word) * _ULP + _HALF_ULP)
    exponent = shift_right_i(sub_i(bits, _SQRT_HALF), _MANTISSA)
    f = float_of_bits(sub_i(bits, shift_left_i(exponent, _MANTISSA))) - _ONE
    p = ((((((f * _L7 + _L6) * f + _L5) * f + _L4) * f + _L3) * f + _L2) * f + _L1) * f + _L0
    radius = square_root((p * f + float_of_i(exponent) * _LN2) * -_TWO)
    half = float_of_i(signed_of_u(angle_word)) * _HALF_TURN
    square = half * half
    sine = (((square * _A3 + _A2) * square + _A1) * square + _A0) * half
    cosine = (((square * _B4 + _B3) * square + _B2) * square + _B1) * square + _B0
    return radius * (_ONE - (sine * sine) * _TWO), radius * ((sine * cosine) * _TWO)


def _fill(
    out: Any, ids: Any, offsets: Any, first: int, word_base: Any, last_word: Any, k0: Any, k1: Any, low: int, high: int
) -> None:
    """Fill out (cycles, rows, positions), whose first cycle has number `first`, for units low..high-1 of
    (row, group of four cycles)."""
    cycles, _, positions = out.shape
    groups = (first + cycles - 1) // 4 - first // 4 + 1
    spare = np.empty((4, positions), np.float32)
    for unit in range(low, high):
        row, group = unit // groups, first // 4 + unit % groups
        sample, offset, third = u32(ids[row]), u32(offsets[row]), add_u(word_base, u32(group))
        c = group * 4 - first
        z0 = out[c, row] if 0 <= c < cycles else spare[0]
        z1 = out[c + 1, row] if 0 <= c + 1 < cycles else spare[1]
        z2 = out[c + 2, row] if 0 <= c + 2 < cycles else spare[2]
        z3 = out[c + 3, row] if 0 <= c + 3 < cycles else spare[3]
        for p in range(positions):
            w0, w1, w2, w3 = philox(sample, add_u(offset, u32(p)), third, last_word, k0, k1)
            z0[p], z1[p] = box_muller(w0, w1)
            z2[p], z3[p] = box_muller(w2, w3)


def _fill_outputs(out: Any, ids: Any, offsets: Any, last_word: Any, k0: Any, k1: Any, low: int, high: int) -> None:
    """Rows low..high-1 of out (rows, positions): the four words of a counter serve the four quarters of a row."""
    positions = out.shape[1]
    quarter = (positions + 3) // 4
    for row in range(low, high):
        sample, first, line = u32(ids[row]), mul_u(u32(offsets[row]), u32(quarter)), out[row]
        last = max(positions - 3 * quarter, 0)  # all four quarters have so many
        # slices, since the compiler vectorises plain indices alone
        q0, q1, q2, q3 = line[:last], line[quarter:][:last], line[2 * quarter :][:last], line[3 * quarter :][:last]
        for p in range(last):
            w0, w1, w2, w3 = philox(sample, add_u(first, u32(p)), u32(0), last_word, k0, k1)
            z0, z1 = box_muller(w0, w1)
            z2, z3 = box_muller(w2, w3)
            q0[p], q1[p] = z0, z1
            q2[p], q3[p] = z2, z3
        for p in range(last, quarter):
            w0, w1, w2, w3 = philox(sample, add_u(first, u32(p)), u32(0), last_word, k0, k1)
            z0, z1 = box_muller(w0, w1)
            z2, _ = box_muller(w2, w3)
            if p < positions:
                line[p] = z0
            if quarter + p < positions:
                line[quarter + p] = z1
            if 2 * quarter + p < positions:
                line[2 * quarter + p] = z2


def compile_fill() -> tuple[Any, Any]:
    """The compiled kernels: noise of conversions, and of outputs."""
    return (
        compiled("void(f4[:,:,::1], i8[::1], i8[::1], i8, u4, u4, u4, u4, i8, i8)", _fill),
        compiled("void(f4[:,::1], i8[::1], i8[::1], u4, u4, u4, i8, i8)", _fill_outputs),
    )
