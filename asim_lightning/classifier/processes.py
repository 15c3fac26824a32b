"""The processes of a run: gathered values, shared input ranges, and the end of their group."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import nn

from asim_lightning.nn.calibration import quantized_layers

Found = TypeVar("Found")


def gather(mine: Found) -> list[Found]:
    """The values of all processes, which can be pickled, in the order of their ranks; must be called on all of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    parts: list[Found | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, mine)
    return parts  # type: ignore[return-value]


def leave() -> None:
    """Leave the process group, if there is one; call this when no communication runs. Otherwise a thread of gloo may
    free a tensor while Python ends, and abort the process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def fitted_ranges(module: nn.Module) -> dict[str, float]:
    """The fitted input ranges of a network, by the name of their buffer."""
    buffers = {
        f"{name}.{each}": getattr(layer, each)
        for name, layer in quantized_layers(module).items()
        for each in layer.calibrated
    }
    return {name: float(value) for name, value in buffers.items() if value >= 0}  # -1 where none


def store_ranges(module: nn.Module, ranges: Mapping[str, float]) -> None:
    """Store fitted ranges in a network, in place."""
    layers = quantized_layers(module)
    for name, value in ranges.items():
        layer, _, operand = name.rpartition(".")
        layers[layer].store_range(value, operand)


def synchronize_ranges(module: nn.Module, method: str = "max") -> None:
    """Give every process the same input ranges, in place; must be called on all of them."""
    store_ranges(module, common_ranges(gather(fitted_ranges(module)), method))


def common_ranges(parts: Sequence[Mapping[str, float]], method: str) -> dict[str, float]:
    """The ranges that processes share, from the ranges of each.

    Processes may have seen different images, and reached different layers. For the method max the largest range counts:
    the maximum over all images. For other methods, the range of the first process counts, or the largest range if the
    first process has not reached the layer.
    """
    names = dict.fromkeys(name for part in parts for name in part)
    largest = {name: max(part[name] for part in parts if name in part) for name in names}
    return largest if method == "max" else {**largest, **parts[0]}
