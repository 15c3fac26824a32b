"""Layers on macros under measurement: computed by a named engine, or with their conversions counted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from torch import Tensor

from asim_lightning.engine import ENGINES, Product
from asim_lightning.engine.conversions import conversion_count
from asim_lightning.nn.on_macro import OnMacro


@contextmanager
def computed_by(engines: Mapping[OnMacro, str]) -> Iterator[None]:
    """Inside, an engine that is named multiplies in place of the layer's own choice, at the fidelities with integers.

    Args:
        engines: Name of the engine of each layer, one that computes the layer's macro on its device.
    """
    try:
        for layer, engine in engines.items():
            # an attribute of the instance hides the method
            layer.__dict__["_multiply"] = partial(_by_engine, layer, engine)
        yield
    finally:
        for layer in engines:
            layer.__dict__.pop("_multiply", None)


@contextmanager
def counted_conversions(layers: Mapping[str, OnMacro]) -> Iterator[dict[str, int]]:
    """Inside, the conversions of each layer are counted; the layers compute what they did.

    Args:
        layers: Layers by name.

    Returns:
        Conversions of all samples and calls so far, by name.
    """
    counts: dict[str, int] = {}
    try:
        for name, layer in layers.items():
            layer.__dict__["_multiply"] = partial(_counted, layer, name, counts)
        yield counts
    finally:
        for layer in layers.values():
            layer.__dict__.pop("_multiply", None)


def _by_engine(layer: OnMacro, engine: str, product: Product, x: Tensor, w: Tensor) -> Tensor:
    return ENGINES[engine](product, layer.transfer, x, w, layer._noise(x.shape[0], x.device))


def _counted(layer: OnMacro, name: str, counts: dict[str, int], product: Product, x: Tensor, w: Tensor) -> Tensor:
    counts[name] = counts.get(name, 0) + conversion_count(product, layer.transfer, x, w)
    return type(layer)._multiply(layer, product, x, w)
