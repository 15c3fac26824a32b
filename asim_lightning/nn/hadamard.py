"""Hadamard transforms of the operands of products, computed at run time by digital additions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def largest_block(width: int) -> int:
    """The largest power of two that divides a width."""
    return width & -width


def hadamard(x: Tensor, block: int) -> Tensor:
    """Multiply each block of a vector by a Hadamard matrix with rows of length 1; a second call undoes it.

    Only sums and differences are computed, in a fixed order, and scaled once: a vector's result does not depend on the
    batch or on threads.

    Args:
        x: Vectors. # (..., width)
        block: Length of a block, a power of two that divides the width.
    """
    shape, half = x.shape, 1
    while half < block:
        first, second = x.reshape(*shape[:-1], -1, 2, half).unbind(-2)
        x, half = torch.stack((first + second, first - second), -2), 2 * half
    return x.reshape(shape) * block**-0.5


class Hadamard(nn.Module):
    """Spreads each number of a vector over its block, so that no number is much larger than the others.

    A block is the largest power of two that divides the length of the vector. The transform has no parameters.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Transform. # (..., width)"""
        return hadamard(x, largest_block(x.shape[-1]))

    @staticmethod
    def additions(x: Tensor) -> int:
        """Additions and subtractions for some vectors: ``log2(block)`` for each number. # (..., width)"""
        return x.numel() * (largest_block(x.shape[-1]).bit_length() - 1)


def transform_inputs_(layer: nn.Module, transform: Hadamard | None = None) -> Callable[[], None]:
    """Let a layer transform its inputs before anything else, in place, and return a function that undoes it.

    The transform is the child `hadamard` of the layer. A product of two activations transforms both operands, and is
    the same product then.
    """
    layer.add_module(_CHILD, Hadamard() if transform is None else transform)
    hook = layer.register_forward_pre_hook(_transformed, with_kwargs=True)

    def undo() -> None:
        hook.remove()
        delattr(layer, _CHILD)

    return undo


def input_transform(layer: nn.Module) -> Hadamard | None:
    """The transform of a layer's inputs, if it has one."""
    found = dict(layer.named_children()).get(_CHILD)
    return found if isinstance(found, Hadamard) else None


def has_other_hooks(layer: nn.Module) -> bool:
    """Whether a layer has forward hooks other than the one that transforms its inputs."""
    return bool(layer._forward_hooks) or any(hook is not _transformed for hook in layer._forward_pre_hooks.values())


def _transformed(
    layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    transform: Any = input_transform(layer)
    return tuple(transform(x) for x in inputs), {name: transform(x) for name, x in named.items()}


_CHILD = "hadamard"
