# ruff: noqa: N803 - constants of a kernel in capitals, as is usual in Triton
"""The kernel of the fused engine: bit-plane products, noise, conversion and shift-add of one block of outputs.

Importing this file imports Triton. Every operation rounds as the definition says: the kernel is compiled without
contraction of products and sums (``enable_fp_fusion=False``), Triton never reassociates, and roots and divisions round
correctly. A code therefore equals the reference engine's to the bit.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from asim_lightning.engine.chips.converters import PlacedConverters
from asim_lightning.engine.fused.codes import Conversions, Draw, converters_of_four, read
from asim_lightning.engine.fused.counting import FIELDS, counts_of_four, of_four, weighted, zeros
from asim_lightning.engine.fused.digit_layout import Operands
from asim_lightning.engine.fused.tables import CycleField, Tables
from asim_lightning.engine.fused.voting import elected, sum_of_votes
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise

OPTIONS = {"num_warps": 4, "num_stages": 3, "enable_fp_fusion": False}
"""How the kernel is compiled; three stages of operands take 24 to 60 KB of shared memory."""
_START = tl.constexpr(CycleField.START.value)
_CODE_WEIGHT, _COUNT_WEIGHT = tl.constexpr(CycleField.CODE_WEIGHT.value), tl.constexpr(CycleField.COUNT_WEIGHT.value)
_VOTES, _NOISY = tl.constexpr(CycleField.VOTES.value), tl.constexpr(CycleField.NOISY.value)


class DigitsInMemory(NamedTuple):
    """See `Operands`."""

    x: Tensor
    w: Tensor


class Samples(NamedTuple):
    """See `Noise`."""

    ids: Tensor
    offsets: Tensor


class ErrorsInMemory(NamedTuple):
    """See `PlacedConverters`; a field is None, at compile time, if all converters are ideal in it."""

    gain: Tensor | None = None
    offset: Tensor | None = None
    curve: Tensor | None = None
    tables: Tensor | None = None


@triton.jit
def outputs_of_program(numbers, pixels, FORM: tl.constexpr):  # type: ignore[no-untyped-def]
    """The outputs of this program: row of the batch, pixel, group among all groups, group in its row, channel, and the
    lanes that do not repeat an output.

    # (BLOCK_M,), (BLOCK_M,), (), (), (BLOCK_N,), (BLOCK_M, BLOCK_N)
    """
    program = tl.program_id(0)
    n_blocks = tl.cdiv(numbers.outputs, FORM.BLOCK_N)
    m_blocks = tl.cdiv(pixels, FORM.BLOCK_M)
    n = (program % n_blocks) * FORM.BLOCK_N + tl.arange(0, FORM.BLOCK_N)
    program = program // n_blocks
    m = (program % m_blocks).to(tl.int64) * FORM.BLOCK_M + tl.arange(0, FORM.BLOCK_M)
    group = (program // m_blocks).to(tl.int64)
    inside = (m < pixels)[:, None] & (n < numbers.outputs)[None, :]
    m = tl.minimum(m, pixels - 1)
    channel = tl.minimum(n, numbers.outputs - 1).to(tl.int64)
    row = group // numbers.inner_groups + m // numbers.row_pixels  # one of the two terms is 0
    pixel = m % numbers.row_pixels
    group_in_row = group % numbers.inner_groups
    return row, pixel, group, group_in_row, channel, inside


@triton.jit
def with_codes(codes, n4, cycle, conversions, draw, whole: tl.constexpr, MACRO: tl.constexpr):  # type: ignore[no-untyped-def]
    """Sums of weighted codes, of the type `whole`, plus the codes of the counts of four cycles. # (BLOCK_M, BLOCK_N)"""
    weights = of_four(cycle, _CODE_WEIGHT)
    if MACRO.VOTE == "mean":
        w0, w1, w2, w3 = weights
        weights = (w0.to(whole), w1.to(whole), w2.to(whole), w3.to(whole))
        codes = sum_of_votes(codes, n4, of_four(cycle, _VOTES), weights, conversions, draw, MACRO)
    else:
        if MACRO.VOTE == "none":
            e4 = read(n4, conversions, draw, MACRO)
        else:
            e4 = elected(n4, of_four(cycle, _VOTES), conversions, draw, MACRO)
        c01, c23 = weighted(e4, weights, whole)
        codes += c01
        codes += c23
    return codes


@triton.jit(do_not_specialize=["x_plane", "pixels", "key", "last_word"])
def convert(  # type: ignore[no-untyped-def]
    digits, out, tables, errors, samples, numbers, x_plane, pixels, key, last_word,
    FORM: tl.constexpr, MACRO: tl.constexpr,
):  # fmt: skip
    """All conversions of BLOCK_M pixels (or rows of x) by BLOCK_N output channels; see `launch`.

    Lanes beyond the last pixel or channel repeat it. Rows beyond a tile's last row meet weights of 0. So no load is
    masked, and every count stays within its table.
    """
    row, pixel, group, group_in_row, channel, inside = outputs_of_program(numbers, pixels, FORM)
    window = row * numbers.x_row + group_in_row * numbers.x_group
    window += (pixel // numbers.out_width) * numbers.x_down + (pixel % numbers.out_width) * numbers.x_right
    x_rows = digits.x + (window * FORM.CHANNELS)[:, None]
    w_rows = digits.w + ((group * numbers.outputs + channel) * numbers.tiles * FORM.DEPTH)[:, None]
    start = group_in_row * numbers.out_group + pixel * numbers.out_pixel
    columns = channel * numbers.out_channel
    if MACRO.NOISE:
        sample = tl.load(samples.ids + row).to(tl.uint32)[:, None]
        first = (tl.load(samples.offsets + row) * numbers.positions + start).to(tl.uint32)
        position = first[:, None] + columns.to(tl.uint32)[None, :]
        last = last_word.to(tl.uint32)

    whole = tl.int64 if MACRO.WIDE else tl.int32
    codes = zeros(whole, FORM)
    counts = zeros(whole, FORM)
    for tile in range(numbers.tiles):
        x_window = x_rows + (tile // FORM.TILES_A_CHANNEL) * FORM.CHANNELS
        first_tap = (tile % FORM.TILES_A_CHANNEL) * FORM.TAPS_A_TILE
        for quad in range(tables.quads):
            # one Philox call serves four cycles
            cycle = tables.cycles + quad * 4 * FIELDS
            n4 = counts_of_four(cycle, x_window, x_plane, w_rows + tile * FORM.DEPTH, first_tap, numbers, FORM)
            if MACRO.DIGITAL:
                c01, c23 = weighted(n4, of_four(cycle, _COUNT_WEIGHT), whole)
                counts += c01
                counts += c23
            noisy, draw, converters, column = False, None, (None, None, None, None), None
            if MACRO.NOISE:
                f0, f1, f2, f3 = of_four(cycle, _NOISY)
                noisy = f0 + f1 + f2 + f3 > 0
                third = (tile * tables.number + quad).to(tl.uint32)
                # adds 0: makes Triton distribute the normals over threads like the counts, not move them one by one
                draw = Draw(key.to(tl.uint64), sample, position + (n4[0] >> 31).to(tl.uint32), third, last)
            if MACRO.ERRORS:
                converters = converters_of_four(cycle, tile * numbers.inner_groups + group_in_row, numbers, MACRO)
                column = channel.to(tl.int32)[None, :] + (n4[0] >> 31)
            conversions = Conversions(tables, of_four(cycle, _START), noisy, errors, converters, column)
            codes = with_codes(codes, n4, cycle, conversions, draw, whole, MACRO)

    total = codes.to(tl.float64) * MACRO.SCALE / MACRO.DIVISOR
    if MACRO.DIGITAL:
        total += counts.to(tl.float64)
    tl.store(out + (row * numbers.positions + start)[:, None] + columns[None, :], total, mask=inside)


def arguments(
    operands: Operands, tables: Tables, errors: PlacedConverters | None, noise: Noise, out: Tensor
) -> dict[str, Any]:
    """The kernel's arguments by name; outputs go to `out`, float64. # (batch, *outputs)"""
    of_errors, macro = ErrorsInMemory(), tables.form
    if errors is not None:
        of_errors = ErrorsInMemory(errors.gain, errors.offset, errors.curve, errors.tables)
        length = 0 if errors.nibbles else errors.length
        macro = macro._replace(NIBBLES=errors.nibbles, TABLE_LENGTH=length, MOST_MOVES=errors.moves)
    is_wide = operands.numbers.tiles * max(tables.code_bound, tables.count_bound) >= 2**31
    return {
        "digits": DigitsInMemory(operands.x, operands.w),
        "out": out,
        "tables": tables.memory,
        "errors": of_errors,
        "samples": Samples(noise.sample_ids.contiguous(), noise.offsets.contiguous()),
        "numbers": operands.numbers,
        "x_plane": operands.x[0].numel() // operands.form.CHANNELS,
        "pixels": operands.pixels,
        "key": _signed(layer_key(noise.name, noise.call) << 32 | noise.seed, 64),
        "last_word": _signed(noise.trial << 16, 32),
        "FORM": operands.form,
        "MACRO": macro._replace(WIDE=is_wide, DEVICE=out.device.type == "cuda"),
    }


def launch(operands: Operands, tables: Tables, errors: PlacedConverters | None, noise: Noise) -> Tensor:
    """Run the kernel; see `arguments`. # (batch, *outputs), float64"""
    out = torch.empty(operands.shape, dtype=torch.float64, device=operands.x.device)
    if out.numel() == 0:
        return out
    form, numbers = operands.form, operands.numbers
    programs = -(-operands.pixels // form.BLOCK_M) * -(-numbers.outputs // form.BLOCK_N) * operands.groups
    with torch.cuda.device_of(out):  # Triton launches on the current device
        convert[(programs,)](**arguments(operands, tables, errors, noise, out), **OPTIONS)
    return out.add_(tables.offset * numbers.tiles) if tables.offset else out


def _signed(word: int, bits: int) -> int:
    """A word as a signed number, so that Triton sees the same type whatever its highest bit."""
    return word - 2**bits if word >= 2 ** (bits - 1) else word
