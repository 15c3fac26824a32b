"""Modules of a network in each other's place."""

from collections.abc import Mapping

from torch import nn


def replace_(model: nn.Module, modules: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Put modules into a network, in place.

    Args:
        model: The network.
        modules: New modules by full name.

    Returns:
        What was there before, in reverse order, so that a second call with it undoes the first.

    Raises:
        ValueError: The network is to be replaced itself; nothing is changed then.
    """
    if "" in modules:
        raise ValueError("convert_ needs a network that contains layers, got a single layer; use its from_float")
    before: dict[str, nn.Module] = {}
    for name, new in modules.items():
        parent, _, leaf = name.rpartition(".")
        place = model.get_submodule(parent)
        before[name] = getattr(place, leaf)
        setattr(place, leaf, new)
    return dict(reversed(before.items()))
