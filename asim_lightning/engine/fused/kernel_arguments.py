"""Structures of the kernel's arguments: what lies in memory, the numbers of a product, and what is compiled for.

Triton takes a NamedTuple for an argument, and one of constants for a `constexpr`; a field of None switches at compile
time.
"""

from typing import NamedTuple

from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine.chips.placed_converters import PlacedConverters
from asim_lightning.engine.fused.digit_layout import Operands
from asim_lightning.engine.fused.tables import Tables


class DigitsInMemory(NamedTuple):
    """See `Operands`."""

    x: Tensor
    w: Tensor


class TablesInMemory(NamedTuple):
    """See `Tables`."""

    cycles: Tensor
    levels: Tensor
    sigmas: Tensor


class ErrorsInMemory(NamedTuple):
    """See `PlacedConverters`; each is None where all converters are ideal."""

    gain: Tensor | None = None
    offset: Tensor | None = None
    curve: Tensor | None = None
    tables: Tensor | None = None


class Samples(NamedTuple):
    """See `Noise`."""

    ids: Tensor
    offsets: Tensor


class Numbers(NamedTuple):
    """Numbers of a product that do not depend on its batch; see `Operands` for those without a docstring.

    Triton compiles anew where one becomes 1 or a multiple of 16, or ceases to be so.
    """

    w_plane: int
    """Steps of `DEPTH` digits from one weight bit to the next."""
    x_row: int
    x_group: int
    x_down: int
    x_right: int
    tap_down: int
    tap_right: int
    inner_groups: int
    row_pixels: int
    out_width: int
    outputs: int
    positions: int
    """Outputs of a row of the batch."""
    out_group: int
    out_pixel: int
    out_channel: int
    tiles: int
    quads: int
    """Fours of cycles."""
    cycles: int
    """Cycles of the schedule, which count in the noise."""


class Form(NamedTuple):
    """Shapes that the kernel is compiled for."""

    CHANNELS: int
    TAPS: int
    KERNEL_WIDTH: int
    DEPTH: int
    TILES_A_CHANNEL: int
    TAPS_A_TILE: int
    SHARED: bool
    """Whether four cycles that are converted together have the same input digit."""
    BLOCK_M: int
    BLOCK_N: int
    BLOCK_K: int


class MacroForm(NamedTuple):
    """What a macro makes of counts, which the kernel is compiled for."""

    TOP: int
    SCALE: int
    DIVISOR: int
    NOISE: bool
    SIGMA_BY_COUNT: bool
    MIXED: bool
    VOTE: str
    DIGITAL: bool
    """Whether some cycles are exact counts."""
    WIDE: bool
    """Whether sums take 64 bits."""
    ERRORS: bool
    """Whether converters have errors; see `PlacedConverters` for the next three."""
    NIBBLES: int
    TABLE_LENGTH: int
    MOST_MOVES: int
    WEIGHT_BITS: int
    DEVICE: bool
    """Whether it runs on a GPU, and not in Triton's interpreter."""


def blocks(operands: Operands, vote: str) -> tuple[int, int]:
    """Pixels and channels of a block.

    Four counts an output are in registers at a time, since one Philox call serves four conversions: with 8 outputs a
    thread the noise fits beside them in 168 registers (sm_80), so that 3 blocks share a processor. Electing a code
    holds more, hence 4 outputs, in 32 channels: Triton 3.4 multiplies no fewer than 16. Four weight bits share one
    input digit, so operands are read least where a block is long in pixels; Triton puts its warps along the longer
    side, where each must find 16 pixels or 8 channels of its own, or it repeats another's work.
    """
    if vote in ("mode", "median"):
        return 16, 32
    return (64, 16) if operands.pixels > 32 else (16, 64)


def form(operands: Operands, tables: Tables) -> Form:
    """Shapes of a product."""
    block_m, block_n = blocks(operands, tables.vote)
    return Form(
        CHANNELS=operands.channels,
        TAPS=operands.taps,
        KERNEL_WIDTH=operands.kernel_width,
        DEPTH=operands.depth,
        TILES_A_CHANNEL=operands.tiles_a_channel,
        TAPS_A_TILE=operands.taps_a_tile,
        SHARED=tables.shared,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        BLOCK_K=operands.block_depth,
    )


def macro_form(operands: Operands, tables: Tables, macro: MacroConfig, errors: PlacedConverters | None) -> MacroForm:
    """What a macro makes of the counts of a product."""
    return MacroForm(
        TOP=macro.top_code or 1,
        SCALE=tables.scale,
        DIVISOR=tables.divisor,
        NOISE=tables.noise,
        SIGMA_BY_COUNT=tables.sigma_by_count,
        MIXED=tables.mixed,
        VOTE=tables.vote,
        DIGITAL=tables.count_bound > 0,
        WIDE=operands.tiles * max(tables.code_bound, tables.count_bound) >= 2**31,
        ERRORS=errors is not None,
        NIBBLES=0 if errors is None else errors.nibbles,
        TABLE_LENGTH=0 if errors is None or errors.nibbles else errors.length,
        MOST_MOVES=0 if errors is None else errors.moves,
        WEIGHT_BITS=macro.weight_bits,
        DEVICE=operands.x.device.type == "cuda",
    )


def numbers(operands: Operands, tables: Tables) -> Numbers:
    """The numbers of a product."""
    same_name = {name: getattr(operands, name) for name in Numbers._fields if hasattr(operands, name)}
    return Numbers(
        **same_name,
        w_plane=operands.w[0].numel() // operands.depth,
        positions=operands.inner_groups * operands.row_pixels * operands.outputs,
        quads=len(tables.cycles) // 4,
        cycles=tables.number,
    )
