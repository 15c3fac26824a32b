"""The products that a network makes for one image, and the weights that it loads into shared macros for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from asim_lightning.cost.product_shape import ProductShape, product_shape
from asim_lightning.nn import OnMacro
from asim_lightning.surgery import macro_layers, set_fidelity_
from asim_lightning.surgery.probe import Probe, kept_example_shape, on_example, probe
from asim_lightning.surgery.settings import kept_fidelities


@dataclass(frozen=True)
class NetworkShape:
    """The products of a network for one image.

    Attributes:
        products: Those of layers on macros, a product a call, by full name in the order in which they first ran.
        macs: Multiplications of modules that are on no macro, by full name in that order.
    """

    products: Mapping[str, tuple[ProductShape, ...]]
    macs: Mapping[str, int]


def network_shape(model: nn.Module, example: Tensor | None = None) -> NetworkShape:
    """Run a converted network once, in float, and take the shapes of its products.

    Args:
        model: Converted network.
        example: An input; default: a random one, of the shape that the network was converted on.
            # (1, channels, height, width)

    Raises:
        ValueError: The network does not run on it, or there is none and `convert_` did not convert the whole network.
    """
    if example is None and kept_example_shape(model) is None:
        raise ValueError(
            "`example` must be an input of the network, whose cost depends on its size, got None; pass one, or convert "
            "the whole network with convert_"
        )
    found: dict[str, list[ProductShape]] = {}

    def keep(name: str, layer: Any, inputs: tuple[Any, ...]) -> None:
        tensors = [each for each in inputs if isinstance(each, Tensor)]
        found.setdefault(name, []).append(product_shape(layer, *tensors))

    def run(x: Tensor) -> Probe:
        found.clear()
        return probe(model, {}, x[:1].to(next(model.parameters(), x).device))

    layers = macro_layers(model)
    hooks = [layer.register_forward_pre_hook(partial(keep, name)) for name, layer in layers.items()]
    try:
        with kept_fidelities(model):
            set_fidelity_(model, "float")
            seen = on_example(model, example, run)
    finally:
        for hook in hooks:
            hook.remove()
    macs = {name: count for name, count in seen.others.items() if name not in layers}
    for owner, products in seen.products.items():
        macs[owner] = macs.get(owner, 0) + sum(made.macs for made in products)
    return NetworkShape({name: tuple(shapes) for name, shapes in found.items()}, macs)


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
