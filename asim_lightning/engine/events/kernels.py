"""Numba kernels of the events: operands as words of 8 bytes, and the wrong conversions of some blocks.

A word holds one byte of 8 consecutive channels, so that 8 products of bits are counted at once: the bits are shifted to
the low ends of their bytes, masked, and a multiplication by 0x0101010101010101 adds the bytes.
"""

from typing import Any

import numpy as np

from asim_lightning.engine.events import stream
from asim_lightning.engine.noise_numba import philox
from asim_lightning.engine.numba_words import add_u, compiled, inline, int_of_f, shift_right_i

_AHEAD = 16
"""Draws that are made at once."""
f64, u32, i32, i64, u64 = np.float64, np.uint32, np.int32, np.int64, np.uint64
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11 = stream.LOG
_LN2, _HALF_WORD, _UNIFORM_STEP = stream.LN2, stream.HALF_WORD, stream.UNIFORM_STEP
_SQRT_HALF, _MANTISSA = i64(stream.SQRT_HALF_BITS), i64(stream.MANTISSA_BITS)
_WORD_BITS, _KIND_BITS = u32(stream.WORD_BITS), stream.KIND_BITS
_EACH_BYTE, _TOP_BYTE, _BYTE = u64(0x0101010101010101), u64(56), u64(0xFF)


def _pack_inputs(x: Any, out: Any, flipped: Any, top: int, left: int, low: int, high: int) -> None:
    """Lines low..high-1 of x (batch, height, width, groups, channels), whole numbers, to bytes (batch, groups, padded
    height, padded width, bytes, padded channels), which hold zeros; the bits `flipped` of each byte are turned over."""
    height, width, channels = x.shape[1], x.shape[2], x.shape[4]
    for line in range(low, high):
        row, y = line // height, line % height
        for group in range(x.shape[3]):
            for p in range(width):
                values, pixel = x[row, y, p, group], out[row, group, top + y, left + p]
                for plane in range(out.shape[4]):
                    of_plane, shift = pixel[plane], i32(8 * plane)
                    for c in range(channels):
                        of_plane[c] = np.uint8(shift_right_i(i32(values[c]), shift)) ^ flipped


def _pack_weights(w: Any, table: Any, words: Any, low: int, high: int) -> None:
    """Outputs low..high-1 of w (outputs, channels, elements) to words (outputs, bytes, words of `table`)."""
    for output in range(low, high):
        for plane in range(words.shape[1]):
            shift, line = i32(8 * plane), words[output, plane]
            for i in range(len(table)):
                first, element, word = table[i, 0], table[i, 1], u64(0)
                for c in range(table[i, 2], table[i, 3]):
                    digit = u64(shift_right_i(int_of_f(w[output, c, element]), shift)) & _BYTE
                    word |= digit << u64(8 * (c - first))
                line[i] = word


@inline
def _uniform(high: Any, low: Any) -> Any:
    """See `stream.uniform`."""
    return (f64(high >> _WORD_BITS) * _HALF_WORD + f64(low >> _WORD_BITS) + 0.5) * _UNIFORM_STEP


@inline
def _logarithm(u: Any) -> Any:
    """See `stream.logarithm`."""
    bits = f64(u).view(np.int64)
    exponent = (bits - _SQRT_HALF) >> _MANTISSA
    mantissa = i64(bits - (exponent << _MANTISSA)).view(np.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    t = s * s
    v = ((((t * _C11 + _C10) * t + _C9) * t + _C8) * t + _C7) * t + _C6
    v = (((((v * t + _C5) * t + _C4) * t + _C3) * t + _C2) * t + _C1) * t + _C0
    return v * s + f64(exponent) * _LN2


@inline
def _draw(
    gaps: Any, chances: Any, factor: Any, sample: Any, number: Any, third: Any, last_word: Any, keys: Any
) -> None:
    """Gaps and second uniforms of the next draws; a loop without branches, so that it is vectorised."""
    for i in range(_AHEAD):
        a, b, c, d = philox(sample, number, add_u(third, u32(i)), last_word, keys[0], keys[1])
        # numpy's floor stays a float64; math's is an int64, which gaps at a rate of 1e-20 pass
        gaps[i] = np.floor(_logarithm(_uniform(a, b)) * factor)
        chances[i] = _uniform(c, d)


@inline
def _count(x: Any, x_at: Any, x_byte: Any, w: Any, w_at: Any, tile: Any, places: Any, cycle: Any) -> Any:
    """Count of one conversion: ones of a weight bit and each of its input bits over the words of a tile."""
    w_bit, count = u64(cycle[0] & 7), i64(0)
    for bit in range(cycle[1], cycle[2]):
        start, x_bit, ones = u64(x_at + (bit >> 3) * x_byte), u64(bit & 7), u64(0)
        for i in range(tile[1]):
            both = (x[start + places[u64(tile[0] + i)]] >> x_bit) & (w[w_at + u64(i)] >> w_bit)
            ones += ((both & _EACH_BYTE) * _EACH_BYTE) >> _TOP_BYTE
        count += i64(ones) << (bit - cycle[1])
    return count


@inline
def _channel_and_pixel(output: Any, inner: Any, outermost: Any) -> Any:
    """Channel and pixel of an output of a row, which are ordered (channel, pixel) or (pixel, channel)."""
    outer = u64(output) // u64(inner)
    within = u64(output) - outer * u64(inner)
    return (i64(outer), i64(within)) if outermost else (i64(within), i64(outer))


@inline
def _error(errors: Any, first_error: Any, some_errors: Any, shares: Any, first_share: Any, chance: Any) -> Any:
    """The error that a uniform draws from the running shares of a count's."""
    which = 0
    while which < some_errors and chance >= shares[first_share + which]:
        which += 1
    return errors[first_error + which]


def _events(
    out: Any,
    ids: Any,
    offsets: Any,
    x: Any,
    w: Any,
    geometry: Any,
    tiles: Any,
    places: Any,
    kinds: Any,
    factors: Any,
    cycles: Any,
    errors: Any,
    shares: Any,
    out_channel: int,
    out_pixel: int,
    k0: Any,
    k1: Any,
    last_word: Any,
    low: int,
    high: int,
) -> None:
    """Add the errors of blocks low..high-1 of all rows to out (rows, positions), where the outputs of channels and of
    pixels lie so far from each other; `cpu` lays the tables out."""
    block_outputs, blocks, rows, divisor = geometry[0], geometry[1], geometry[2], geometry[3]
    outermost, inner, out_width, group_outputs = geometry[4], geometry[5], geometry[6], geometry[7]
    head_rows, width, stride_y, stride_x = geometry[8], geometry[9], geometry[10], geometry[11]
    x_row, x_group, x_byte, x_pixel = geometry[12], geometry[13], geometry[14], geometry[15]
    w_row, w_head, w_output, w_byte = geometry[16], geometry[17], geometry[18], geometry[19]
    positions = out.shape[1]
    grouped = x_group != x_row
    sums, gaps, chances, keys = np.zeros(block_outputs, np.int64), np.empty(_AHEAD), np.empty(_AHEAD), (k0, k1)
    for unit in range(low, high):
        row = unit // blocks
        block = unit - row * blocks
        first = block * block_outputs
        outputs = min(block_outputs, positions - first)
        sample, number = u32(ids[row]), u32(offsets[row] * blocks + block)
        for kind in range(len(factors)):
            first_cycle, of_kind, draws = kinds[kind, 0], kinds[kind, 1], kinds[kind, 2]
            first_error, some_errors, first_share = kinds[kind, 3], kinds[kind, 4], kinds[kind, 5]
            per_output, third = u64(of_kind * len(tiles)), u32(kind << _KIND_BITS)
            end, place = u64(outputs) * per_output, u64(0)
            for draw in range(draws):
                if draw % _AHEAD == 0:
                    _draw(gaps, chances, factors[kind], sample, number, add_u(third, u32(draw)), last_word, keys)
                gap, chance = gaps[draw % _AHEAD], chances[draw % _AHEAD]
                if gap >= f64(end - place):
                    break
                place += u64(gap)
                output = place // per_output
                rest = place - output * per_output
                place += u64(1)
                tile = tiles[rest // u64(of_kind)]
                cycle = cycles[u64(first_cycle) + rest % u64(of_kind)]
                channel, pixel = _channel_and_pixel(u64(first) + output, inner, outermost)
                down, right = i64(u64(pixel) // u64(out_width)), i64(u64(pixel) % u64(out_width))
                down, right = down * stride_y, right * stride_x
                x_at = row * x_row + (down * width + right) * x_pixel
                w_at = u64(row * w_row + channel * w_output + (cycle[0] >> 3) * w_byte + tile[0])
                if grouped:
                    x_at += channel // group_outputs * x_group
                if w_head:
                    w_at += u64(pixel // head_rows * w_head)
                count = _count(x, x_at, x_byte, w, w_at, tile, places, cycle)
                share = first_share + count * some_errors
                sums[output] += _error(errors, first_error, some_errors, shares, share, chance) * cycle[3]
        for o in range(outputs):
            if sums[o] != 0:
                channel, pixel = _channel_and_pixel(first + o, inner, outermost)
                at = channel * out_channel + pixel * out_pixel
                out[row, at] = (f64(out[row, at]) * divisor + f64(sums[o] * rows)) / divisor
                sums[o] = 0


def compile_packing() -> tuple[Any, Any, Any]:
    """The compiled kernels: packing of inputs in float32, of inputs in bytes, and of weights."""
    target = "u1[:,:,:,:,:,::1], u1, i8, i8, i8, i8"
    return (
        compiled(f"void(f4[:,:,:,:,::1], {target})", _pack_inputs),
        compiled(f"void(u1[:,:,:,:,::1], {target})", _pack_inputs),
        compiled("void(f4[:,:,::1], i8[:,::1], u8[:,:,::1], i8, i8)", _pack_weights),
    )


def compile_events(kind: str) -> Any:
    """The compiled kernel of events, for outputs of a type (f4, f8)."""
    tables = "i8[::1], i8[:,::1], u8[::1], i8[:,::1], f8[::1], i8[:,::1], i8[::1], f8[::1]"
    words = "i8, i8, u4, u4, u4, i8, i8"
    return compiled(f"void({kind}[:,::1], i8[::1], i8[::1], u8[::1], u8[::1], {tables}, {words})", _events)
