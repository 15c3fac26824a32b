# ruff: noqa: N803 - constants of a kernel in capitals, as is usual in Triton
"""The kernel of the fused engine: bit-plane products, noise, conversion and shift-add of one block of outputs.

Importing this file imports Triton. Rounding is that of the definition, operation by operation: the kernel is compiled
without contraction of products and sums (``enable_fp_fusion=False``), Triton never reassociates, and roots and
divisions round correctly, so that a code is the reference engine's to the bit.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise as stream
from asim_lightning.engine.fused.digit_layout import Operands
from asim_lightning.engine.fused.tables import FIELDS, Tables
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise

OPTIONS = {"num_warps": 4, "num_stages": 3, "enable_fp_fusion": False}
"""How the kernel is compiled; three stages of operands take 24 to 60 KB of shared memory."""
_STEPS = (
    "x_row", "x_group", "x_down", "x_right", "tap_down", "tap_right", "inner_groups", "pixels", "row_pixels",
    "out_width", "outputs", "out_group", "out_pixel", "out_channel", "tiles",
)  # fmt: skip
_ROUNDS = tl.constexpr(stream.ROUNDS)
_LOG, _SIN, _COS = tl.constexpr(stream.LOG), tl.constexpr(stream.SIN), tl.constexpr(stream.COS)
_LN2, _HALF_TURN = tl.constexpr(stream.LN2), tl.constexpr(stream.HALF_TURN)
_FIELDS = tl.constexpr(FIELDS)
# adding 1.5 * 2^23 rounds |x| < 2^22 half to even and leaves the whole number in the low bits
_ROUNDER, _ROUNDER_BITS = tl.constexpr(12582912.0), tl.constexpr(0x4B400000)


@triton.jit
def _box_muller(radius_word, angle_word):  # type: ignore[no-untyped-def]
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
def _normals(sample, position, third, last, key):  # type: ignore[no-untyped-def]
    """Standard normals of four consecutive cycles; see `noise.normals`."""
    w0, w1, w2, w3 = tl.philox(key, sample, position, third, last, n_rounds=_ROUNDS)
    z0, z1 = _box_muller(w0, w1)
    z2, z3 = _box_muller(w2, w3)
    return z0, z1, z2, z3


@triton.jit
def _code(level, sigma, z, TOP: tl.constexpr):  # type: ignore[no-untyped-def]
    """``clamp(round_half_even(level + sigma * z), 0, TOP)``, int32."""
    rounded = (level + sigma * z + _ROUNDER).to(tl.int32, bitcast=True) - _ROUNDER_BITS
    return tl.minimum(tl.maximum(rounded, 0), TOP)


@triton.jit
def _at(table, count, DEVICE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Entries of a table at integers.

    To Triton a load of so many addresses is worth another distribution of its operands over threads, so that counts,
    normals and sums would all pass through shared memory; to an assembly line it leaves them where they are.
    """
    if DEVICE:
        entry = tl.inline_asm_elementwise(
            "ld.global.nc.b32 $0, [$1];", "=r,l", [table + count], table.dtype.element_ty, is_pure=True, pack=1
        )
    else:
        entry = tl.load(table + count)
    return entry


@triton.jit
def _noisy_code(count, start, levels, sigmas, z, SIGMA_BY_COUNT: tl.constexpr, TOP: tl.constexpr, DEVICE: tl.constexpr):  # type: ignore[no-untyped-def]
    level = _at(levels + start, count, DEVICE)
    sigma = _at(sigmas + start, count, DEVICE) if SIGMA_BY_COUNT else tl.load(sigmas + start)
    return _code(level, sigma, z, TOP)


@triton.jit
def _read(  # type: ignore[no-untyped-def]
    n0, n1, n2, n3, s0, s1, s2, s3, levels, sigmas, noisy, sample, position, third, last, key,
    SIGMA_BY_COUNT: tl.constexpr, MIXED: tl.constexpr, TOP: tl.constexpr, DEVICE: tl.constexpr,
):  # fmt: skip
    """Codes of four consecutive cycles in one read of their counts n0..n3, whose tables start at s0..s3."""
    if MIXED:
        z0 = n0.to(tl.float32) * 0.0
        z1, z2, z3 = z0, z0, z0
        if noisy:
            z0, z1, z2, z3 = _normals(sample, position, third, last, key)
    else:
        z0, z1, z2, z3 = _normals(sample, position, third, last, key)
    return (
        _noisy_code(n0, s0, levels, sigmas, z0, SIGMA_BY_COUNT, TOP, DEVICE),
        _noisy_code(n1, s1, levels, sigmas, z1, SIGMA_BY_COUNT, TOP, DEVICE),
        _noisy_code(n2, s2, levels, sigmas, z2, SIGMA_BY_COUNT, TOP, DEVICE),
        _noisy_code(n3, s3, levels, sigmas, z3, SIGMA_BY_COUNT, TOP, DEVICE),
    )


@triton.jit
def _agree(agreement, other, code, counted, MEDIAN: tl.constexpr):  # type: ignore[no-untyped-def]
    """Count a read: equal codes for the mode; for the median smaller codes, and 2^16 times those not larger."""
    if MEDIAN:
        agreement += tl.where(counted & (other < code), 1, 0) + tl.where(counted & (other <= code), 65536, 0)
    else:
        agreement += tl.where(counted & (other == code), 1, 0)
    return agreement


@triton.jit
def _elect(best, most, code, agreement, votes, vote, MEDIAN: tl.constexpr):  # type: ignore[no-untyped-def]
    """The code elected so far and its agreement, after one more candidate."""
    if MEDIAN:
        middle = (votes - 1) // 2
        better = ((agreement & 65535) <= middle) & (((agreement >> 16) & 65535) > middle)
    else:
        better = (agreement > most) | ((agreement == most) & (code < best))
    better = (better & (vote < votes)) | (vote == 0)
    return tl.where(better, code, best), tl.where(better, agreement, most)


@triton.jit(
    do_not_specialize=[
        "x_plane", "w_plane", "x_row", "x_group", "x_down", "x_right", "tap_down", "tap_right", "inner_groups",
        "pixels", "row_pixels", "out_width", "outputs", "positions", "out_group", "out_pixel", "out_channel", "tiles",
        "quads", "cycles_a_tile", "seed", "layer", "last_word",
    ]
)  # fmt: skip
def convert(  # type: ignore[no-untyped-def]
    x, w, out, cycles, levels, sigmas, sample_ids, offsets,
    x_plane, w_plane, x_row, x_group, x_down, x_right, tap_down, tap_right, inner_groups, pixels,
    row_pixels, out_width, outputs, positions, out_group, out_pixel, out_channel, tiles, quads,
    cycles_a_tile, seed, layer, last_word,
    CHANNELS: tl.constexpr, TAPS: tl.constexpr, KERNEL_WIDTH: tl.constexpr, DEPTH: tl.constexpr,
    TILES_A_CHANNEL: tl.constexpr, TAPS_A_TILE: tl.constexpr, TOP: tl.constexpr, ROWS: tl.constexpr,
    DIVISOR: tl.constexpr, NOISE: tl.constexpr, SIGMA_BY_COUNT: tl.constexpr, MIXED: tl.constexpr, VOTE: tl.constexpr,
    DIGITAL: tl.constexpr, WIDE: tl.constexpr, SHARED: tl.constexpr, DEVICE: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """All conversions of BLOCK_M pixels (or rows of x) by BLOCK_N output channels; see `fused.run`.

    Lanes beyond the last pixel or channel repeat it, and rows of a tile beyond its last meet weights that are 0, so
    that no load is masked and every count stays within its table.
    """
    program = tl.program_id(0)
    n_blocks = tl.cdiv(outputs, BLOCK_N)
    m_blocks = tl.cdiv(pixels, BLOCK_M)
    n = (program % n_blocks) * BLOCK_N + tl.arange(0, BLOCK_N)
    program = program // n_blocks
    m = (program % m_blocks).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    group = (program // m_blocks).to(tl.int64)
    inside = (m < pixels)[:, None] & (n < outputs)[None, :]
    m = tl.minimum(m, pixels - 1)
    channel = tl.minimum(n, outputs - 1).to(tl.int64)
    row = group // inner_groups + m // row_pixels  # one of the two terms is 0
    pixel = m % row_pixels
    group_in_row = group % inner_groups

    corner = row * x_row + group_in_row * x_group + (pixel // out_width) * x_down + (pixel % out_width) * x_right
    x_rows = x + (corner * CHANNELS)[:, None]
    w_rows = w + ((group * outputs + channel) * tiles * DEPTH)[:, None]
    start = group_in_row * out_group + pixel * out_pixel
    columns = channel * out_channel
    if NOISE:
        key = (layer.to(tl.uint32).to(tl.uint64) << 32) | seed.to(tl.uint32).to(tl.uint64)
        sample = tl.load(sample_ids + row).to(tl.uint32)[:, None]
        first = (tl.load(offsets + row) * positions + start).to(tl.uint32)
        position = first[:, None] + columns.to(tl.uint32)[None, :]
        last = last_word.to(tl.uint32)

    whole = tl.int64 if WIDE else tl.int32
    codes = tl.zeros((BLOCK_M, BLOCK_N), whole)
    counts = tl.zeros((BLOCK_M, BLOCK_N), whole)
    for tile in range(tiles):
        x_slot = x_rows + (tile // TILES_A_CHANNEL) * CHANNELS
        first_tap = (tile % TILES_A_CHANNEL) * TAPS_A_TILE
        for quad in range(quads):
            # one Philox call serves four cycles
            c0 = cycles + quad * 4 * _FIELDS
            c1, c2, c3 = c0 + _FIELDS, c0 + 2 * _FIELDS, c0 + 3 * _FIELDS
            x0 = x_slot + tl.load(c0) * x_plane * CHANNELS
            x1 = x_slot + tl.load(c1) * x_plane * CHANNELS
            x2 = x_slot + tl.load(c2) * x_plane * CHANNELS
            x3 = x_slot + tl.load(c3) * x_plane * CHANNELS
            w_tile = w_rows + tile * DEPTH
            w0 = w_tile + tl.load(c0 + 1) * w_plane * DEPTH
            w1 = w_tile + tl.load(c1 + 1) * w_plane * DEPTH
            w2 = w_tile + tl.load(c2 + 1) * w_plane * DEPTH
            w3 = w_tile + tl.load(c3 + 1) * w_plane * DEPTH
            n0 = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
            n1 = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
            n2 = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
            n3 = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
            for k in range(0, DEPTH, BLOCK_K):
                kk = k + tl.arange(0, BLOCK_K)
                if TAPS == 1:
                    step = kk.to(tl.int64)[None, :]
                else:
                    tap = tl.minimum(kk // CHANNELS + first_tap, TAPS - 1).to(tl.int64)
                    reach = (tap // KERNEL_WIDTH) * tap_down + (tap % KERNEL_WIDTH) * tap_right
                    step = (reach * CHANNELS + kk % CHANNELS)[None, :]
                a = tl.load(x0 + step)
                n0 = tl.dot(a, tl.trans(tl.load(w0 + kk[None, :])), n0, out_dtype=tl.int32)
                a = a if SHARED else tl.load(x1 + step)
                n1 = tl.dot(a, tl.trans(tl.load(w1 + kk[None, :])), n1, out_dtype=tl.int32)
                a = a if SHARED else tl.load(x2 + step)
                n2 = tl.dot(a, tl.trans(tl.load(w2 + kk[None, :])), n2, out_dtype=tl.int32)
                a = a if SHARED else tl.load(x3 + step)
                n3 = tl.dot(a, tl.trans(tl.load(w3 + kk[None, :])), n3, out_dtype=tl.int32)
            if DIGITAL:
                counts += n0 * tl.load(c0 + 4).to(whole) + n1 * tl.load(c1 + 4).to(whole)
                counts += n2 * tl.load(c2 + 4).to(whole) + n3 * tl.load(c3 + 4).to(whole)
            s0, s1, s2, s3 = tl.load(c0 + 2), tl.load(c1 + 2), tl.load(c2 + 2), tl.load(c3 + 2)
            f0, f1 = tl.load(c0 + 3).to(whole), tl.load(c1 + 3).to(whole)
            f2, f3 = tl.load(c2 + 3).to(whole), tl.load(c3 + 3).to(whole)
            if NOISE:
                noisy = tl.load(c0 + 6) + tl.load(c1 + 6) + tl.load(c2 + 6) + tl.load(c3 + 6) > 0
                third = (tile * cycles_a_tile + quad).to(tl.uint32)
                # adds 0, and so has normals distributed over threads as counts are, not brought there one by one
                place = position + (n0 >> 31).to(tl.uint32)
                if VOTE == "none":
                    e0, e1, e2, e3 = _read(
                        n0, n1, n2, n3, s0, s1, s2, s3, levels, sigmas, noisy, sample, place, third, last, key,
                        SIGMA_BY_COUNT, MIXED, TOP, DEVICE,
                    )  # fmt: skip
                    codes += e0 * f0 + e1 * f1
                    codes += e2 * f2 + e3 * f3
                else:
                    v0, v1, v2, v3 = tl.load(c0 + 5), tl.load(c1 + 5), tl.load(c2 + 5), tl.load(c3 + 5)
                    votes = tl.maximum(tl.maximum(v0, v1), tl.maximum(v2, v3)).to(tl.int32)
                    if VOTE == "mean":
                        for vote in range(votes):
                            e0, e1, e2, e3 = _read(
                                n0, n1, n2, n3, s0, s1, s2, s3, levels, sigmas, noisy, sample, place, third,
                                (last | vote).to(tl.uint32), key, SIGMA_BY_COUNT, MIXED, TOP, DEVICE,
                            )  # fmt: skip
                            codes += e0 * tl.where(vote < v0, f0, 0) + e1 * tl.where(vote < v1, f1, 0)
                            codes += e2 * tl.where(vote < v2, f2, 0) + e3 * tl.where(vote < v3, f3, 0)
                    else:
                        # reads are functions of their number, so each is made anew to be compared: none is stored
                        median: tl.constexpr = VOTE == "median"
                        b0, b1, b2, b3 = n0, n1, n2, n3
                        zero = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
                        m0, m1, m2, m3 = zero, zero, zero, zero
                        others = tl.where(votes > 1, votes, 0)
                        for vote in range(votes):
                            e0, e1, e2, e3 = _read(
                                n0, n1, n2, n3, s0, s1, s2, s3, levels, sigmas, noisy, sample, place, third,
                                (last | vote).to(tl.uint32), key, SIGMA_BY_COUNT, MIXED, TOP, DEVICE,
                            )  # fmt: skip
                            g0, g1, g2, g3 = zero, zero, zero, zero
                            for other in range(others):
                                o0, o1, o2, o3 = _read(
                                    n0, n1, n2, n3, s0, s1, s2, s3, levels, sigmas, noisy, sample, place, third,
                                    (last | other).to(tl.uint32), key, SIGMA_BY_COUNT, MIXED, TOP, DEVICE,
                                )  # fmt: skip
                                g0 = _agree(g0, o0, e0, other < v0, median)
                                g1 = _agree(g1, o1, e1, other < v1, median)
                                g2 = _agree(g2, o2, e2, other < v2, median)
                                g3 = _agree(g3, o3, e3, other < v3, median)
                            b0, m0 = _elect(b0, m0, e0, g0, v0, vote, median)
                            b1, m1 = _elect(b1, m1, e1, g1, v1, vote, median)
                            b2, m2 = _elect(b2, m2, e2, g2, v2, vote, median)
                            b3, m3 = _elect(b3, m3, e3, g3, v3, vote, median)
                        codes += b0 * f0 + b1 * f1
                        codes += b2 * f2 + b3 * f3
            else:
                codes += _at(levels + s0, n0, DEVICE) * f0 + _at(levels + s1, n1, DEVICE) * f1
                codes += _at(levels + s2, n2, DEVICE) * f2 + _at(levels + s3, n3, DEVICE) * f3

    total = codes.to(tl.float64) * ROWS / DIVISOR
    if DIGITAL:
        total += counts.to(tl.float64)
    tl.store(out + (row * positions + start)[:, None] + columns[None, :], total, mask=inside)


def blocks(operands: Operands, vote: str) -> tuple[int, int]:
    """Pixels and channels of a block.

    Four counts an output are in registers at a time, since one Philox call serves four conversions: with 8 outputs a
    thread the noise fits beside them in 168 registers (sm_80), so that 3 blocks share a processor. Electing a code
    holds more, hence 4 outputs. Four weight bits share one input digit, so operands are read least where a block is
    long in pixels; Triton puts its warps along the longer side, where each must find 16 pixels or 8 channels of its
    own, or it repeats another's work.
    """
    outputs = 1024 if vote in ("none", "mean") else 512
    return (64, outputs // 64) if operands.pixels > 32 else (16, outputs // 16)


def constants(operands: Operands, tables: Tables, macro: MacroConfig) -> dict[str, Any]:
    """What the kernel is specialised on."""
    block_m, block_n = blocks(operands, tables.vote)
    return {
        "CHANNELS": operands.channels,
        "TAPS": operands.taps,
        "KERNEL_WIDTH": operands.kernel_width,
        "DEPTH": operands.depth,
        "TILES_A_CHANNEL": operands.tiles_a_channel,
        "TAPS_A_TILE": operands.taps_a_tile,
        "TOP": macro.top_code,
        "ROWS": macro.rows,
        "DIVISOR": (macro.top_code or 1) * tables.most_votes,
        "NOISE": tables.noise,
        "SIGMA_BY_COUNT": tables.sigma_by_count,
        "MIXED": tables.mixed,
        "VOTE": tables.vote,
        "DIGITAL": tables.count_bound > 0,
        "WIDE": operands.tiles * max(tables.code_bound, tables.count_bound) >= 2**31,
        "SHARED": tables.shared,
        "DEVICE": operands.x.device.type == "cuda",
        "BLOCK_M": block_m,
        "BLOCK_N": block_n,
        "BLOCK_K": operands.block_depth,
    }


def launch(operands: Operands, tables: Tables, macro: MacroConfig, noise: Noise) -> Tensor:
    """Run the kernel. # (batch, *outputs), float64"""
    out = torch.empty(operands.shape, dtype=torch.float64, device=operands.x.device)
    if out.numel() == 0:
        return out
    specialised = constants(operands, tables, macro)
    programs = -(-operands.pixels // specialised["BLOCK_M"]) * -(-operands.outputs // specialised["BLOCK_N"])
    steps = {name: getattr(operands, name) for name in _STEPS}
    with torch.cuda.device_of(out):  # Triton launches on the current device
        convert[(programs * operands.groups,)](
            operands.x,
            operands.w,
            out,
            tables.cycles,
            tables.levels,
            tables.sigmas,
            noise.sample_ids.contiguous(),
            noise.offsets.contiguous(),
            x_plane=operands.x[0].numel() // operands.channels,
            w_plane=operands.w[0].numel() // operands.depth,
            **steps,
            positions=out[0].numel(),
            quads=len(tables.cycles) // 4,
            cycles_a_tile=tables.number,
            seed=_signed(noise.seed),
            layer=_signed(layer_key(noise.name, noise.call)),
            last_word=_signed(noise.trial << 16),
            **specialised,
            **OPTIONS,
        )
    return out


def _signed(word: int) -> int:
    """The 32 bits of a word as a signed number, which Triton passes as int32 whatever its value."""
    return word - 2**32 if word >= 2**31 else word
