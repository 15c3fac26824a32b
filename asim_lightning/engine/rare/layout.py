"""Where the conversions of a sample lie: blocks of outputs, tiles, and the addresses of inputs and weights."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from asim_lightning.engine.product import Geometry, Product, Tile
from asim_lightning.engine.rare.rates import Rates
from asim_lightning.engine.rare.stream import draws_of

_CANDIDATES, _CANDIDATES_APART = 24, 192
"""Wanted candidates of a block: enough to hide its first draw, and few enough to spread one image over threads. If
converters differ, more are wanted: a converter's next candidate is found faster than the next converter's."""
_MOST_OUTPUTS = 4096
"""Most outputs of a block."""


@dataclass(frozen=True, eq=False)
class Layout:
    """The conversions of one row of the batch.

    A pixel is a window of a convolution, or a row of x; rows of all heads follow one another.

    Attributes:
        heads: Weight matrices of a row of the batch; 0 if all rows have the same weights.
        candidates: Expected candidates of a full block.
        draws: Draws of a block for each kind of cycle; empty if converters differ.
    """

    geometry: Geometry
    heads: int
    tiles: tuple[Tile, ...]
    block_outputs: int
    candidates: float
    draws: tuple[int, ...]

    @cached_property
    def blocks(self) -> int:
        """Blocks of a row of the batch."""
        return -(-self.geometry.positions // self.block_outputs)

    @cached_property
    def outputs(self) -> int:
        """Outputs of a pixel."""
        return self.geometry.columns[0] if self.geometry.is_image else self.geometry.outputs

    @cached_property
    def pixels(self) -> int:
        """Pixels of a row of the batch."""
        return self.geometry.positions // self.outputs

    @cached_property
    def inner(self) -> int:
        """Size of the inner dimension: outputs are ordered (output, pixel) in images, otherwise (pixel, output)."""
        return self.pixels if self.geometry.is_image else self.outputs

    @property
    def groups(self) -> int:
        """Groups of input channels."""
        return self.geometry.groups if self.geometry.is_image else 1

    @property
    def height(self) -> int:
        """Height of an input image; for matrices, rows of x."""
        return self.geometry.size[0] * (1 if self.geometry.is_image else self.geometry.groups)


@lru_cache(maxsize=1024)
def layout(rates: Rates, product: Product, x_shape: torch.Size, w_shape: torch.Size) -> Layout:
    """The layout of a sample; shapes are without the batch dimension."""
    found = product.geometry_of(w_shape, torch.Size((1, *x_shape)))
    tiles = tuple(found.tiles(rates.transfer.macro.rows))
    expected = len(tiles) * sum(len(kind.cycles) * kind.rate for kind in rates.kinds)  # candidates an output
    wanted = _CANDIDATES_APART if rates.differ else _CANDIDATES
    size = max(1, min(_MOST_OUTPUTS, found.positions, int(wanted / max(expected, 1e-9))))
    equal = () if rates.differ else rates.kinds
    draws = tuple(draws_of(size * len(tiles) * len(kind.cycles), kind.rate) for kind in equal)
    return Layout(found, found.groups if product.batched_weight else 0, tiles, size, size * expected, draws)


def most_ones(found: Layout, w: Tensor | None, weight_bits: int) -> Tensor:
    """Rows that hold a 1, for each tile, column and weight bit, float64; all rows if weights are not known.

    # (tiles, groups or heads, output columns, weight bits)
    """
    if w is None:
        rows = [found.geometry.rows_of(tile) for tile in found.tiles]
        return torch.tensor(rows, dtype=torch.float64, device="cpu").view(-1, 1, 1, 1)
    ones = []
    for tile in found.tiles:
        held = found.geometry.held(w.to(torch.int32), tile)
        planes = [(held >> bit & 1).sum(-1) for bit in range(weight_bits)]
        ones.append(torch.stack(planes, -1).view(found.geometry.groups, -1, weight_bits))
    return torch.stack(ones).double()
