"""The products that a network makes for one image: their shapes, and the multiplications of what is on no macro."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from asim_lightning.cost.product_shape import ProductShape, product_shape
from asim_lightning.nn.calibration import kept_fidelities
from asim_lightning.surgery import macro_layers, set_fidelity_
from asim_lightning.surgery.probe import Probe, kept_example_shape, on_example, probe


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
