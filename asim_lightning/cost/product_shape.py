"""The shape of a layer's product on a macro for one image, and loads of its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from asim_lightning.engine.product import Geometry
from asim_lightning.nn import CimConvTranspose2d, OnMacro


@dataclass(frozen=True)
class ProductShape:
    """The shape of a layer's product on a macro for one image."""

    geometry: Geometry
    """Shapes for a row of the batch."""
    rows: int
    """Rows of the batch for one image."""
    is_written: bool
    """Whether the stored operand is written for each row."""
    needed: int | None = None
    """Multiplications that the layer's output needs, if the macro makes more; None: all."""

    @property
    def outputs(self) -> int:
        """Outputs of all matrices and input vectors."""
        return self.rows * self.geometry.positions

    @property
    def matrices(self) -> int:
        """Matrices on separate arrays: groups of a convolution, heads of an attention."""
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
        """Stored numbers of all matrices."""
        return self.matrices * self.columns * self.geometry.channels * self.geometry.elements

    @property
    def macs(self) -> int:
        """Multiplications, as torch counts them: with zeros of padding, without zeros between pixels."""
        return self.steps * self.weights if self.needed is None else self.needed

    @property
    def row_inputs(self) -> int:
        """Values on the rows of arrays: one for each row in use and input vector."""
        return self.matrices * self.steps * self.geometry.channels * self.geometry.elements

    def tiles(self, rows: int) -> tuple[int, ...]:
        """Rows in use in each tile of a matrix."""
        return tuple(map(self.geometry.rows_of, self.geometry.tiles(rows)))


def product_shape(layer: OnMacro, *inputs: Tensor) -> ProductShape:
    """The shape of the product of a call with one image."""
    product, x, w = layer.product_on(*inputs)
    needed = None
    if isinstance(layer, CimConvTranspose2d):  # its macro also holds zeros, and converts outputs around the image
        needed = len(x) * inputs[0].shape[-2:].numel() * layer.weight.numel()
    return ProductShape(product.geometry(x, w), len(x), product.batched_weight, needed)


@dataclass(frozen=True)
class Traffic:
    """Values that a layer takes and gives for one image, over all its calls."""

    inputs: int
    """Values of the input, each once for each call; without an operand that is written into cells."""
    outputs: int
    """Values of the output."""
    weights: int
    """Stored weights, or values of the written operand, without zeros that a macro adds."""
    row_inputs: int = 0
    """Values on rows of arrays: with zeros of padding, and a value of overlapping windows once for each window."""
    groups: int | None = 1
    """Groups of a convolution; None if it is transposed, because an output then meets only some of its weights."""


@dataclass(frozen=True)
class WeightLoads:
    """Loads for each image, or for each batch that every layer computes as a whole."""

    loads: int = 0
    """Number of times that columns of a macro load a part of a tile."""
    cells: int = 0
    """Written bits of weights."""


def weight_loads(layers: Mapping[str, OnMacro], products: Mapping[str, Sequence[ProductShape]]) -> WeightLoads:
    """Loads of all layers on shared macros, placed by `surgery.place_tiles_`, for their products of one image.

    The n-th tile of a group or head is in macro ``(first_tile + n) mod macros``, and takes ``outputs * weight_bits /
    columns`` loads, rounded up. A macro with only one load keeps it. Operands that are written for each image evict it
    and count as written cells.
    """
    held: dict[tuple[int, int], int] = {}  # loads of each macro in a pool
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
