"""The shape of a product that a layer on a macro makes for one image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from asim_lightning.engine import Conv2dProduct, Product
from asim_lightning.engine.product import rows_of
from asim_lightning.nn import OnMacro


@dataclass(frozen=True)
class ProductShape:
    """The shape of a product that a layer on a macro makes for one image."""

    product: Product
    weight: torch.Size
    """Shape of the stored operand: of one matrix where there are several, of all groups of a convolution."""
    outputs: int
    """Outputs of all matrices and input vectors."""
    matrices: int
    """Matrices on arrays of their own: groups of a convolution, heads of an attention."""
    steps: int
    """Input vectors of a matrix, one after another: positions of a convolution, tokens."""
    is_written: bool
    """Whether the stored operand is written for each image."""

    @property
    def columns(self) -> int:
        """Outputs of one matrix for one input vector."""
        return self.outputs // (self.matrices * self.steps)

    @property
    def weights(self) -> int:
        """Numbers that are stored, in all matrices."""
        return self.weight.numel() * (1 if isinstance(self.product, Conv2dProduct) else self.matrices)

    def tiles(self, rows: int) -> tuple[int, ...]:
        """Rows in use in each tile of a matrix.

        Args:
            rows: Rows of the macro.
        """
        w = torch.empty(self.weight, device="meta")
        return tuple(rows_of(self.product, tile, w) for tile in self.product.tiles(w, rows))


def product_shape(layer: OnMacro, *inputs: Tensor) -> ProductShape:
    """The shape of a call's product.

    Args:
        layer: The layer.
        inputs: What its forward takes, of one image.
    """
    product, x, w = layer.product_on(*inputs)
    one = w[0] if product.batched_weight else w
    outputs = x.shape[0] * product.positions(x, one)
    if isinstance(product, Conv2dProduct):
        matrices, columns, shape = product.groups, w.shape[0] // product.groups, w.shape
    else:
        matrices, columns, shape = w.shape[:-2].numel() if product.batched_weight else 1, w.shape[-2], w.shape[-2:]
    return ProductShape(product, shape, outputs, matrices, outputs // (matrices * columns), product.batched_weight)
