"""The shape of a product that a layer on a macro makes for one image, and weights that are loaded for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from asim_lightning.engine.product import Geometry
from asim_lightning.nn import CimConvTranspose2d, OnMacro


@dataclass(frozen=True)
class ProductShape:
    """The shape of a product that a layer on a macro makes for one image."""

    geometry: Geometry
    """Shapes of a row of the batch."""
    rows: int
    """Rows of the batch that one image takes."""
    is_written: bool
    """Whether the stored operand is written for each of them."""
    needed: int | None = None
    """Multiplications that the layer's output needs, if the macro makes others, too; None: all."""

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


@dataclass(frozen=True)
class WeightLoads:
    """What is loaded for each image, or for each batch that every layer computes as a whole."""

    loads: int = 0
    """Times that columns of a macro take a part of a tile."""
    cells: int = 0
    """Bits of weights that are written by them."""


def weight_loads(layers: Mapping[str, OnMacro], products: Mapping[str, Sequence[ProductShape]]) -> WeightLoads:
    """Loads of all layers on shared macros, placed by `surgery.place_tiles_`, for their products of one image.

    The n-th tile of a group or head lies in macro ``(first_tile + n) mod macros``, and takes ``outputs * weight_bits /
    columns`` loads, rounded up. A macro that holds one load alone keeps it; operands that are written for each image
    take its place and are counted as cells that are written.
    """
    held: dict[tuple[int, int], int] = {}  # loads that a macro of a pool takes
    found: list[tuple[tuple[int, int], int, int]] = []  # macro, loads and cells of each tile of stored weights
    for name, shapes in products.items():
        layer, (shape, calls) = layers[name], (shapes[0], len(shapes))
        macro, static = layer.macro, layer.macro.static
        if not static.is_reused:
            continue
        columns = shape.columns * (1 if macro.weight_parallel else macro.weight_bits)
        passes, number = -(-columns // (static.columns or columns)), layer.first_tile
        for rows in shape.tiles(macro.rows):
            for _ in range(shape.matrices):
                place = layer.pool, number % (static.macros or 1)
                held[place] = held.get(place, 0) + passes
                if not shape.is_written:
                    found.append((place, calls * passes, calls * rows * shape.columns * macro.weight_bits))
                number += 1
    again = [(loads, cells) for place, loads, cells in found if held[place] > 1]
    return WeightLoads(sum(loads for loads, _ in again), sum(cells for _, cells in again))
