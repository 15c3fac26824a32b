"""The processes of a run: gathered values, shared input ranges, and the end of their group."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from lightning.pytorch.strategies import Strategy
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
    return {
        f"{name}.{each}": float(getattr(layer, each))
        for name, layer in quantized_layers(module).items()
        for each, has in layer.ranges.items()
        if getattr(layer, has)
    }


def restore_ranges(module: nn.Module, ranges: Mapping[str, float]) -> None:
    """Put fitted ranges back, in place."""
    for name, value in ranges.items():
        module.get_buffer(name).fill_(value)


def synchronize_ranges(module: nn.Module, strategy: Strategy, method: str = "max") -> None:
    """Give every process the same input ranges, in place; must be called on all of them.

    Processes may have seen different images, and reached different layers. For the method max the largest range counts:
    the maximum over all images. For other methods, the range of the first process counts, or the largest range if the
    first process has not reached the layer.
    """
    layers = [layer for layer in quantized_layers(module).values() if layer.input_range == "calibrated"]
    ranges = [(layer, name) for layer in layers for name in layer.ranges]
    if not ranges:
        return
    values = [getattr(layer, name).detach().to(strategy.root_device) for layer, name in ranges]
    mine = torch.stack(values)  # (ranges,), -1 where none
    shared = strategy.reduce(mine.clone(), reduce_op="max")
    if method != "max":
        first = strategy.broadcast(mine, src=0)
        shared = torch.where(first >= 0, first, shared)
    for (layer, name), value in zip(ranges, shared.tolist(), strict=True):
        if value >= 0:
            layer.store_range(value, name)
