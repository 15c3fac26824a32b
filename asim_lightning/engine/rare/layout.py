"""Where the conversions of a sample lie: blocks of outputs, tiles, and the addresses of inputs and weights."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from asim_lightning.engine.product import Product
from asim_lightning.engine.rare.rates import Rates
from asim_lightning.engine.rare.stream import draws_of

_CANDIDATES, _CANDIDATES_APART = 24, 192
"""Wanted candidates of a block: many enough to hide its first draw, few enough to spread one image over threads. If
converters differ, a converter's candidates in a block are found faster than those of the next converter."""
_MOST_OUTPUTS = 4096
"""Most outputs of a block."""


@dataclass(frozen=True)
class Tile:
    """One tile's channels and kernel elements, low..high-1 each."""

    channel_low: int
    channel_high: int
    element_low: int
    element_high: int


@dataclass(frozen=True)
class Geometry:
    """A product as a convolution: a matrix product has one pixel a row of x and a kernel of one element."""

    outputs_outermost: bool
    """Whether outputs are ordered (output channel, pixel), as a convolution's are; else (pixel, output channel)."""
    inner: int
    """Size of the inner of the two."""
    out_width: int
    group_outputs: int
    """Output channels of a group."""
    head_rows: int
    """Pixels that share a weight matrix."""
    heads: int
    """Weight matrices of a sample, 0 where all samples share one."""
    outputs: int
    """Output channels of a weight matrix."""
    groups: int
    channels: int
    """Input channels of a group."""
    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def positions(self) -> int:
        """Outputs of a row of the batch."""
        return self.outputs * self.inner if self.outputs_outermost else self.height * self.inner

    @property
    def macros(self) -> int:
        """Groups or heads."""
        return max(self.groups, self.heads)


@dataclass(frozen=True, eq=False)
class Layout:
    """The conversions of one row of the batch."""

    positions: int
    """Outputs."""
    block_outputs: int
    """Outputs of a block."""
    blocks: int
    """Blocks."""
    candidates: float
    """Expected candidates of a full block."""
    draws: tuple[int, ...]
    """Draws of a block, kind by kind; none where converters differ."""
    tiles: tuple[Tile, ...]
    geometry: Geometry

    @property
    def pixels(self) -> int:
        """Outputs of a column."""
        return self.positions // self.geometry.outputs


@lru_cache(maxsize=1024)
def layout(rates: Rates, product: Product, x_shape: torch.Size, w_shape: torch.Size) -> Layout:
    """The layout of a sample; it depends on its shape and on the rates, not on the batch.

    Args:
        rates: The rates.
        product: The linear map.
        x_shape: Shape of one row of x, without the batch dimension.
        w_shape: Shape of the weights (of one row's, where the product is of two activations).
    """
    tiles, place = tiles_of(product, w_shape, rates.macro.rows), geometry(product, x_shape, w_shape)
    positions = place.positions
    expected = len(tiles) * sum(len(kind.cycles) * kind.rate for kind in rates.kinds)  # candidates an output
    wanted = _CANDIDATES_APART if rates.differ else _CANDIDATES
    size = max(1, min(_MOST_OUTPUTS, positions, int(wanted / max(expected, 1e-9))))
    equal = () if rates.differ else rates.kinds
    draws = tuple(draws_of(size * len(tiles) * len(kind.cycles), kind.rate) for kind in equal)
    return Layout(
        positions,
        size,
        -(-positions // size),
        size * expected,
        draws,
        tiles,
        place,
    )


def tiles_of(product: Product, w_shape: torch.Size, rows: int) -> tuple[Tile, ...]:
    """Tiles of a product with weights of a shape."""
    found, tiles = product.geometry_of(w_shape), []
    for tile in found.tiles(rows):
        kernel = (0, found.elements) if tile.kernel is None else (tile.kernel.start, tile.kernel.stop)
        tiles.append(Tile(tile.channels.start, tile.channels.stop, *kernel))
    return tuple(tiles)


def geometry(product: Product, x_shape: torch.Size, w_shape: torch.Size) -> Geometry:
    """A product as a convolution, for shapes as `layout` takes them."""
    found = product.geometry_of(w_shape, torch.Size((1, *x_shape)))
    heads = found.groups if product.batched_weight else 0
    if found.is_image:
        outputs, (height, width), out_width, inner = found.columns[0], found.size, found.output_size[1], found.windows
    else:
        outputs, height, width, out_width = found.outputs, found.groups * found.windows, 1, 1
        inner = outputs
    return Geometry(
        outputs_outermost=found.is_image,
        inner=inner,
        out_width=out_width,
        group_outputs=found.outputs,
        head_rows=max(1, found.windows),
        heads=heads,
        outputs=outputs,
        groups=found.groups if found.is_image else 1,
        channels=found.channels,
        height=height,
        width=width,
        kernel=found.kernel,
        stride=found.stride,
        padding=found.padding,
        dilation=found.dilation,
    )


def most_ones(found: Layout, w: Tensor | None, weight_bits: int) -> Tensor:
    """Rows of each tile and column that hold a 1, weight bit by weight bit, float64; of unknown weights all rows.

    Args:
        found: The layout.
        w: Integers of weights. # (columns of all groups, channels, ...)
        weight_bits: Bits of a weight, sign included.

    Returns:
        # (tiles, groups or heads, output columns, weight bits)
    """
    if w is None:
        rows = [(t.channel_high - t.channel_low) * (t.element_high - t.element_low) for t in found.tiles]
        return torch.tensor(rows, dtype=torch.float64, device="cpu").view(-1, 1, 1, 1)
    integers = w.to(torch.int32).reshape(found.geometry.macros, -1, w.shape[1], w.shape[2:].numel())
    ones = []
    for tile in found.tiles:
        held = integers[:, :, tile.channel_low : tile.channel_high, tile.element_low : tile.element_high].flatten(2)
        planes = [(held >> bit & 1).sum(2) for bit in range(weight_bits)]
        ones.append(torch.stack(planes, -1))
    return torch.stack(ones).double()
