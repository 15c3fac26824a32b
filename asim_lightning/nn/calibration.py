"""Input ranges of a whole network, fitted to batches of data."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.checks import check_choice
from asim_lightning.nn.inputs import Inputs, called
from asim_lightning.nn.quantized import QuantizedLayer
from asim_lightning.quant import METHODS, RangeObserver


def quantized_layers(model: nn.Module) -> dict[str, QuantizedLayer]:
    """Layers of a network that quantise, by full name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, QuantizedLayer)}


def siblings(name: str, names: Iterable[str]) -> list[str]:
    """The names that differ from a name by one of its numbers, such as ``experts.0.up`` and ``experts.1.up``."""
    mine = name.split(".")

    def is_sibling(other: list[str]) -> bool:
        differing = [pair for pair in zip(mine, other, strict=False) if pair[0] != pair[1]]
        return len(other) == len(mine) and len(differing) == 1 and all(part.isdigit() for part in differing[0])

    return [each for each in names if is_sibling(each.split("."))]


def experts_like(model: nn.Module, name: str, names: Collection[str]) -> Iterator[list[str]]:
    """The names that differ from a name by its place in one ModuleList, for the innermost list first.

    They are the same part of other experts, if the list holds experts.
    """
    parts = name.split(".")
    for place in reversed(range(len(parts))):
        above = ".".join(parts[:place])
        if parts[place].isdigit() and isinstance(model.get_submodule(above), nn.ModuleList):
            yield [
                each
                for each in names
                if each != name
                and (its := each.split("."))[:place] == parts[:place]
                and its[place + 1 :] == parts[place + 1 :]
            ]


@contextmanager
def kept_fidelities(model: nn.Module) -> Iterator[None]:
    """Restores the fidelity of every layer at the end."""
    before = {layer: layer.fidelity for layer in quantized_layers(model).values()}
    try:
        yield
    finally:
        for layer, fidelity in before.items():
            layer.fidelity = fidelity


def needs_calibration(model: nn.Module) -> bool:
    """Whether a layer with a calibrated range has no range yet."""
    return any(layer.lacks_range for layer in quantized_layers(model).values())


def calibrate_(model: nn.Module, batches: Iterable[Inputs], method: str = "max", missing: bool = False) -> None:
    """Fit and store the input range of every layer that is set to a calibrated range, in place.

    Batches run through the network in evaluation with the quantised fidelity; each layer uses the batch's maximum. A
    layer that no batch reaches does not change; without a range it warns at its first call. If it is an expert that no
    row was sent to, it gets the largest range of experts like it.

    Args:
        model: A converted network.
        batches: Inputs, or lists and tuples that begin with them, such as (images, labels) of a DataLoader. Several
            inputs are a mapping, or a tuple in a tuple: ((images, masks), labels). # (batch, ...) each
        method: "max", "percentile" or "mse" (see `RangeObserver`).
        missing: Whether layers that have a range keep it.

    Raises:
        ValueError: The method is unknown, `batches` is one tensor, or there is no batch.

    Examples:
        >>> import torch
        >>> from asim_lightning import Plan, calibrate_, convert_
        >>> network, inputs = torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.tensor([[0.0, 0.5, 1.0, 1.5]])
        >>> report = convert_(network, Plan(), inputs)
        >>> calibrate_(network, [inputs])
        >>> network[0].input_max
        tensor(1.5000)
    """
    if isinstance(batches, Tensor):
        raise ValueError(f"`batches` must be batches, such as [x] or a DataLoader, got a tensor {tuple(batches.shape)}")
    with observed(model, method, missing) as layers:
        if not layers:
            return
        count = 0
        for batch in batches:
            called(model, batch[0] if isinstance(batch, (list, tuple)) else batch)
            count += 1
        if count == 0:
            raise ValueError("calibrate_ needs at least one batch, got none")


@contextmanager
def observed(model: nn.Module, method: str = "max", missing: bool = False) -> Iterator[list[QuantizedLayer]]:
    """Fit the input ranges to all calls of layers within a ``with``, in place; after an error, they stay.

    The network is in evaluation, without gradients, at the quantised fidelity. Arguments as in `calibrate_`.

    Yields:
        The layers that get a range.

    Raises:
        ValueError: The method is unknown.
    """
    check_choice("`method`", method, METHODS)
    named = quantized_layers(model)
    for name, layer in named.items():
        layer.name = layer.name or name  # layers without names would share noise
    fitted = {x: x.calibrated for x in named.values() if x.calibrated and (x.lacks_range or not missing)}
    layers = [*fitted]
    observers: dict[Any, dict[str, RangeObserver]] = {}

    def observe(layer: Any, inputs: tuple[Any, ...]) -> None:
        if not inputs[0].numel():
            return  # an expert that a router sends no row
        if layer not in observers:
            observers[layer] = layer.observers(method)
        for (name, observer), x in zip(observers[layer].items(), inputs, strict=False):  # a weight needs no observer
            if name in fitted[layer]:
                observer.update(x)

    with ExitStack() as undone, torch.no_grad(), kept_fidelities(model):
        for module in model.modules():
            undone.callback(setattr, module, "training", module.training)
        for layer in layers:
            undone.enter_context(layer.register_forward_pre_hook(observe))
            undone.callback(setattr, layer, "input_range", layer.input_range)
            if layer.input_range == "calibrated":
                layer.input_range = "batch"
            else:
                for name, value in (("has_weight_range", False), ("warned", True)):
                    undone.callback(setattr, layer, name, getattr(layer, name))
                    setattr(layer, name, value)
        for layer in named.values():
            layer.fidelity = "quantized"
        model.eval()
        yield layers
    for layer, own in observers.items():
        for name in fitted[layer]:
            layer.store_range(own[name].fit(), name)
    known = {name: layer for name, layer in named.items() if layer in observers or layer not in layers}
    for name, layer in named.items():
        if name not in known and getattr(layer, "by_row", False):
            likes = (
                [float(known[each].input_max) for each in like if known[each].has_range]
                for like in experts_like(model, name, known)
            )
            if ranges := next(filter(None, likes), None):
                layer.store_range(max(ranges))
