"""The noise of the kernel: standard normals of four consecutive cycles, which one Philox call gives (see `noise`)."""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from asim_lightning.engine import noise as stream

_ROUNDS = tl.constexpr(stream.ROUNDS)
_LOG, _SIN, _COS = tl.constexpr(stream.LOG), tl.constexpr(stream.SIN), tl.constexpr(stream.COS)
_LN2, _HALF_TURN = tl.constexpr(stream.LN2), tl.constexpr(stream.HALF_TURN)


class Draw(NamedTuple):
    """Key and counter of a Philox call; both words of the counter that differ from lane to lane are blocks."""

    key: Any
    sample: Any
    position: Any
    tile_and_cycle: Any
    trial_and_vote: Any


@triton.jit
def box_muller(radius_word, angle_word):  # type: ignore[no-untyped-def]
    """Two standard normals of two 32-bit words; see `noise.box_muller`."""
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
def normals_where(noisy, count, draw, MIXED: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """The normals, and zeros of the shape of a count where a schedule has noise-free cycles too and these are some."""
    if MIXED:
        z0 = count.to(tl.float32) * 0.0
        z1, z2, z3 = z0, z0, z0
        if noisy:
            z0, z1, z2, z3 = normals(draw)
    else:
        z0, z1, z2, z3 = normals(draw)
    return z0, z1, z2, z3
