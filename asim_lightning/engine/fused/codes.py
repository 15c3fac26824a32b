# ruff: noqa: N803 - constants of a kernel in capitals, as is usual in Triton
"""Conversion: codes of counts and noise, with equal converters or converters with errors (see `converters`).

One Philox call gives the normals of four consecutive cycles (see `noise`).
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from asim_lightning.engine import noise as stream
from asim_lightning.engine.fused.counting import of_four
from asim_lightning.engine.fused.tables import CycleField

_WEIGHT_BIT = tl.constexpr(CycleField.WEIGHT_BIT.value)
# adding 1.5 * 2^23 rounds |x| < 2^22 half to even, with the whole number in the low bits
_ROUNDER, _ROUNDER_BITS = tl.constexpr(12582912.0), tl.constexpr(0x4B400000)
_ROUNDS = tl.constexpr(stream.ROUNDS)
_LOG, _SIN, _COS = tl.constexpr(stream.LOG), tl.constexpr(stream.SIN), tl.constexpr(stream.COS)
_LN2, _HALF_TURN = tl.constexpr(stream.LN2), tl.constexpr(stream.HALF_TURN)


class Draw(NamedTuple):
    """Key and counter of a Philox call; `position`, which differs between lanes, is a block."""

    key: Any
    sample: Any
    position: Any
    tile_and_cycle: Any
    trial_and_vote: Any


@triton.jit
def box_muller(radius_word, angle_word):  # type: ignore[no-untyped-def]
    """Two standard normals from two 32-bit words; see `noise.box_muller`."""
    uniform = radius_word.to(tl.float32) * 2.3283064365386963e-10 + 1.1641532182693481e-10
    bits = uniform.to(tl.int32, bitcast=True)
    exponent = (bits - 0x3F3504F3) >> 23
    f = (bits - (exponent << 23)).to(tl.float32, bitcast=True) - 1.0
    p = f * _LOG[7] + _LOG[6]
    for n in tl.static_range(6):
        p = p * f + _LOG[5 - n]
    radius = tl.sqrt_rn((p * f + exponent.to(tl.float32) * _LN2) * -2.0)
    half = angle_word.to(tl.int32, bitcast=True).to(tl.float32) * _HALF_TURN
    square = half * half
    sine = (((square * _SIN[3] + _SIN[2]) * square + _SIN[1]) * square + _SIN[0]) * half
    cosine = (((square * _COS[4] + _COS[3]) * square + _COS[2]) * square + _COS[1]) * square + _COS[0]
    return radius * (1.0 - (sine * sine) * 2.0), radius * ((sine * cosine) * 2.0)


@triton.jit
def normals(draw):  # type: ignore[no-untyped-def]
    """Standard normals of four consecutive cycles; see `noise.normals`."""
    w0, w1, w2, w3 = tl.philox(
        draw.key, draw.sample, draw.position, draw.tile_and_cycle, draw.trial_and_vote, n_rounds=_ROUNDS
    )
    z0, z1 = box_muller(w0, w1)
    z2, z3 = box_muller(w2, w3)
    return z0, z1, z2, z3


@triton.jit
def normals_where(noisy, count, draw, MIXED: tl.constexpr):  # type: ignore[no-untyped-def]
    """The normals; zeros of the shape of a count if the schedule is mixed and these cycles are free of noise."""
    if MIXED:
        z0 = count.to(tl.float32) * 0.0
        z1, z2, z3 = z0, z0, z0
        if noisy:
            z0, z1, z2, z3 = normals(draw)
    else:
        z0, z1, z2, z3 = normals(draw)
    return z0, z1, z2, z3


class Conversions(NamedTuple):
    """All that converts the counts of four consecutive cycles of a tile."""

    tables: Any
    """Level and sigma of every count, see `tables.TablesInMemory`."""
    starts: Any
    """Where the levels and sigmas of each cycle start."""
    noisy: Any
    """Whether any of the four cycles is noisy."""
    errors: Any
    """Errors of converters, see `PlacedConverters`."""
    converters: Any
    """Where the errors for each cycle start, for the tile and the group or head."""
    column: Any
    """Output column of each count, if converters have errors."""


@triton.jit
def converters_of_four(cycle, macro, numbers, MACRO: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where converter errors of four consecutive cycles start; macros are numbered by tile, then by group."""
    b0, b1, b2, b3 = of_four(cycle, _WEIGHT_BIT)
    bits, outputs = macro * MACRO.WEIGHT_BITS, numbers.outputs
    return (bits + b0) * outputs, (bits + b1) * outputs, (bits + b2) * outputs, (bits + b3) * outputs


@triton.jit
def at(table, place, DEVICE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Entries of a table at integers.

    For a load of so many addresses, Triton would distribute the operands over threads anew, and counts, normals and
    sums would all pass through shared memory. An assembly line leaves them where they are.
    """
    if DEVICE:
        entry = tl.inline_asm_elementwise(
            "ld.global.nc.b32 $0, [$1];", "=r,l", [table + place], table.dtype.element_ty, is_pure=True, pack=1
        )
    else:
        entry = tl.load(table + place)
    return entry


@triton.jit
def _inl(errors, curve, code, MACRO: tl.constexpr):  # type: ignore[no-untyped-def]
    """INL of the thresholds below codes, in codes."""
    nibbles: tl.constexpr = MACRO.NIBBLES
    if nibbles == 0:
        inl = at(errors.tables, curve.to(tl.int64) * MACRO.TABLE_LENGTH + code, MACRO.DEVICE)
    else:
        first = curve.to(tl.int64) * (16 * nibbles)
        inl = at(errors.tables, first + (code & 15), MACRO.DEVICE)
        for nibble in tl.static_range(1, nibbles):
            inl += at(errors.tables, first + (16 * nibble + ((code >> (4 * nibble)) & 15)), MACRO.DEVICE)
    return inl


@triton.jit
def _moved(code, value, errors, curve, MACRO: tl.constexpr):  # type: ignore[no-untyped-def]
    """Codes after comparisons of values with the neighbouring thresholds; see `OutputConverters.moved`."""
    for _ in range(MACRO.MOST_MOVES):
        real = code.to(tl.float32)
        below = (code > 0) & (value < real - 0.5 + _inl(errors, curve, code, MACRO))
        next_code = tl.minimum(code + 1, MACRO.TOP)
        above = (code < MACRO.TOP) & (value >= real + 0.5 + _inl(errors, curve, next_code, MACRO))
        code = tl.where(below, code - 1, tl.where(above, code + 1, code))
    return code


@triton.jit
def _code(count, start, z, conversions, converter, MACRO: tl.constexpr):  # type: ignore[no-untyped-def]
    """``clamp(round_half_even(level(count) * gain + offset + sigma(count) * z), 0, TOP)``, then moved by INL; int32."""
    tables, errors = conversions.tables, conversions.errors
    value = at(tables.levels + start, count, MACRO.DEVICE)  # the code itself if nothing else changes it
    if errors.gain is not None:
        value = value * at(errors.gain + converter, conversions.column, MACRO.DEVICE)
    if errors.offset is not None:
        value = value + at(errors.offset + converter, conversions.column, MACRO.DEVICE)
    if MACRO.NOISE:
        if MACRO.SIGMA_BY_COUNT:
            sigma = at(tables.sigmas + start, count, MACRO.DEVICE)
        else:
            sigma = tl.load(tables.sigmas + start)
        value = value + sigma * z
    if MACRO.ERRORS:
        # clamped first: errors have no bound, and only numbers within the codes are rounded exactly
        inside = tl.minimum(tl.maximum(value, 0.0), MACRO.TOP * 1.0)
        code = (inside + _ROUNDER).to(tl.int32, bitcast=True) - _ROUNDER_BITS
        if errors.curve is not None:
            code = _moved(code, value, errors, at(errors.curve + converter, conversions.column, MACRO.DEVICE), MACRO)
    elif MACRO.NOISE:
        code = (value + _ROUNDER).to(tl.int32, bitcast=True) - _ROUNDER_BITS
        code = tl.minimum(tl.maximum(code, 0), MACRO.TOP)
    else:
        code = value
    return code


@triton.jit
def read(counts, conversions, draw, MACRO: tl.constexpr):  # type: ignore[no-untyped-def]
    """Codes of four consecutive cycles in one read of their counts."""
    n0, n1, n2, n3 = counts
    s0, s1, s2, s3 = conversions.starts
    c0, c1, c2, c3 = conversions.converters
    if MACRO.NOISE:
        z0, z1, z2, z3 = normals_where(conversions.noisy, n0, draw, MACRO.MIXED)
    else:
        z0, z1, z2, z3 = 0.0, 0.0, 0.0, 0.0
    return (
        _code(n0, s0, z0, conversions, c0, MACRO),
        _code(n1, s1, z1, conversions, c1, MACRO),
        _code(n2, s2, z2, conversions, c2, MACRO),
        _code(n3, s3, z3, conversions, c3, MACRO),
    )
