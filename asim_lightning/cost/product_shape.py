"""The shape of a product that a layer on a macro makes for one image."""

from dataclasses import dataclass

from torch import Tensor

from asim_lightning.engine.product import Geometry
from asim_lightning.nn import CimConvTranspose2d, OnMacro


@dataclass(frozen=True)
class ProductShape:
    """The shape of a product that a layer on a macro makes for one image.

    Attributes:
        geometry: Shapes of a row of the batch.
        rows: Rows of the batch that one image takes.
        is_written: Whether the stored operand is written for each of them.
        needed: Multiplications that the layer's output needs, if the macro makes others, too; None: all.
    """

    geometry: Geometry
    rows: int
    is_written: bool
    needed: int | None = None

    @property
    def outputs(self) -> int:
        """Outputs of all matrices and input vectors."""
        return self.rows * self.geometry.positions

    @property
    def matrices(self) -> int:
        """Matrices on arrays of their own: groups of a convolution, heads of an attention."""
        return self.geometry.groups * (self.rows if self.is_written else 1)

    @property
    def steps(self) -> int:
        """Input vectors of a matrix, one after another: positions of a convolution, tokens."""
        return self.geometry.windows * (1 if self.is_written else self.rows)

    @property
    def columns(self) -> int:
        """Outputs of one matrix for one input vector."""
        return self.geometry.outputs

    @property
    def weights(self) -> int:
        """Numbers that are stored, in all matrices."""
        return self.matrices * self.columns * self.geometry.channels * self.geometry.elements

    @property
    def macs(self) -> int:
        """Multiplications, as torch counts them: with the zeros of a padding, without those between pixels."""
        return self.steps * self.weights if self.needed is None else self.needed

    def tiles(self, rows: int) -> tuple[int, ...]:
        """Rows in use in each tile of a matrix."""
        return tuple(map(self.geometry.rows_of, self.geometry.tiles(rows)))


def product_shape(layer: OnMacro, *inputs: Tensor) -> ProductShape:
    """The shape of the product of a call with the inputs of one image."""
    product, x, w = layer.product_on(*inputs)
    needed = None
    if isinstance(layer, CimConvTranspose2d):  # its macro holds zeros, too, and converts outputs around the image
        needed = len(x) * inputs[0].shape[-2:].numel() * layer.weight.numel()
    return ProductShape(product.geometry(x, w), len(x), product.batched_weight, needed)
