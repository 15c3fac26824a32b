"""Layers on macros under measurement: computed by a named engine, or with their conversions counted."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from torch import Tensor

from asim_lightning.engine import ENGINES, Product
from asim_lightning.engine.conversions import conversion_count
from asim_lightning.nn.on_macro import OnMacro

Multiply = Callable[[Product, Tensor, Tensor], Tensor]
"""What a layer calls to multiply its integers: sums in counts of a product, input integers and weight integers."""


@contextmanager
def multiplied_by(functions: Mapping[OnMacro, Multiply]) -> Iterator[None]:
    """Inside, each layer has another product of its integers; may be nested.

    Args:
        functions: What multiplies, for each layer.
    """
    # an attribute of the instance hides the method
    before = {layer: layer.__dict__.get("_multiply") for layer in functions}
    try:
        for layer, multiply in functions.items():
            layer.__dict__["_multiply"] = multiply
        yield
    finally:
        for layer, own in before.items():
            if own is None:
                del layer.__dict__["_multiply"]
            else:
                layer.__dict__["_multiply"] = own


@contextmanager
def computed_by(engines: Mapping[OnMacro, str]) -> Iterator[None]:
    """Inside, an engine that is named multiplies in place of the layer's own choice, at the fidelities with integers.

    Args:
        engines: Name of the engine of each layer, one that computes the layer's macro on its device.
    """
    with multiplied_by({layer: partial(_by_engine, layer, engine) for layer, engine in engines.items()}):
        yield


@contextmanager
def counted_conversions(layers: Mapping[str, OnMacro]) -> Iterator[dict[str, int]]:
    """Inside, the conversions of each layer are counted; the layers compute what they did.

    Args:
        layers: Layers by name.

    Returns:
        Conversions of all samples and calls so far, by name.
    """
    counts: dict[str, int] = {}
    with multiplied_by({layer: partial(_counted, layer, name, counts) for name, layer in layers.items()}):
        yield counts


def _by_engine(layer: OnMacro, engine: str, product: Product, x: Tensor, w: Tensor) -> Tensor:
    return ENGINES[engine](product, layer.transfer, x, w, layer._noise(x.shape[0], x.device))


def _counted(layer: OnMacro, name: str, counts: dict[str, int], product: Product, x: Tensor, w: Tensor) -> Tensor:
    counts[name] = counts.get(name, 0) + conversion_count(product, layer.transfer, x, w)
    return type(layer)._multiply(layer, product, x, w)
