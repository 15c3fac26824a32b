"""Where the conversions of a sample lie: blocks of pixels, and tiles."""

from dataclasses import dataclass
from functools import lru_cache

import torch

from asim_lightning.engine.events.layout import Geometry, Tile, geometry, tiles_of
from asim_lightning.engine.product import Product

_BLOCK_PIXELS = 256
"""Pixels of a block: planes of a tile's inputs, 64 kB at 255 rows and 8 bits, stay in a core's second cache."""


@dataclass(frozen=True, eq=False)
class TailLayout:
    """Where conversions of a row of the batch lie.

    Attributes:
        geometry: The product.
        tiles: Its tiles.
        block_pixels: Pixels of a block.
    """

    geometry: Geometry
    tiles: tuple[Tile, ...]
    block_pixels: int

    @property
    def blocks(self) -> int:
        """Blocks of a group or head."""
        return -(-self.geometry.macro_pixels // self.block_pixels)

    @property
    def columns(self) -> int:
        """Output columns of a group or head."""
        g = self.geometry
        return g.group_outputs if g.outputs_outermost else g.outputs


@lru_cache(maxsize=1024)
def tail_layout(product: Product, rows: int, x_shape: torch.Size, w_shape: torch.Size) -> TailLayout:
    """The layout of a sample; it depends on its shape alone.

    Args:
        product: The linear map.
        rows: Rows of the macro.
        x_shape: Shape of one row of x, without the batch dimension.
        w_shape: Shape of the weights (of one row's, where the product is of two activations).
    """
    found = geometry(product, x_shape, w_shape)
    return TailLayout(found, tiles_of(product, w_shape, rows), max(1, min(_BLOCK_PIXELS, found.macro_pixels)))
