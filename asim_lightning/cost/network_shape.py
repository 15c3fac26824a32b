"""The products that a network makes for one image: their shapes, and the multiplications of what is on no macro."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.engine import Conv2dProduct, Product
from asim_lightning.engine.product import rows_of
from asim_lightning.nn import OnMacro
from asim_lightning.surgery import macro_layers, set_fidelity_
from asim_lightning.surgery.probe import Probe, on_example, probe
from asim_lightning.surgery.settings import kept_fidelities


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
        example: An input; default: a random one, of the size in the network's configuration.
            # (1, channels, height, width)

    Raises:
        ValueError: The network does not run on it, or on any common size.
    """
    found: dict[str, list[ProductShape]] = {}

    def keep(name: str) -> Any:
        def hook(layer: Any, inputs: tuple[Any, ...]) -> None:
            tensors = [each for each in inputs if isinstance(each, Tensor)]
            found.setdefault(name, []).append(product_shape(layer, *tensors))

        return hook

    def run(x: Tensor) -> Probe:
        found.clear()
        return probe(model, {}, x[:1])

    layers = macro_layers(model)
    hooks = [layer.register_forward_pre_hook(keep(name)) for name, layer in layers.items()]
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
