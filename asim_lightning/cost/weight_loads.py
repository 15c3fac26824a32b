"""Weights that layers load into macros that they share (placement reuse), counted for one image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asim_lightning.cost.product_shape import ProductShape
from asim_lightning.nn import OnMacro


@dataclass(frozen=True)
class WeightLoads:
    """What is loaded for each image, or for each batch that every layer computes as a whole."""

    loads: int = 0
    """Times that columns of a macro take a part of a tile."""
    cells: int = 0
    """Bits of weights that are written by them."""


def weight_loads(layers: Mapping[str, OnMacro], products: Mapping[str, Sequence[ProductShape]]) -> WeightLoads:
    """Loads of all layers on shared macros, one a call of a layer.

    The n-th tile of a group or head lies in macro ``(first_tile + n) mod macros``, and takes ``outputs * weight_bits /
    columns`` loads, rounded up. A macro that holds one load alone keeps it; operands that are written for each image
    take its place and are counted as cells that are written.

    Args:
        layers: Layers on macros, by full name, placed by `surgery.place_tiles_`.
        products: Products of each for one image, a call each.
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
