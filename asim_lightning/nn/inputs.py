"""Inputs of a network: one tensor, or several tensors in a tuple, a list or a mapping."""

from collections import Counter
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

Inputs: TypeAlias = Any
"""A tensor; a tuple or list of inputs; or a mapping of inputs by name. # (batch, ...) each"""


class TokenWindows:
    """Base of data with windows of tokens of a known tokenizer, which must be the network's."""

    window: int
    """Tokens of a window."""

    @property
    def vocabulary(self) -> int:
        """Number of the tokenizer's tokens."""
        raise NotImplementedError


def called(network: nn.Module, inputs: Inputs, compiled: Callable[..., Any] | None = None) -> Any:
    """Outputs of a network.

    A tuple or list gives the arguments of its forward, and a mapping the keyword arguments, if the forward takes as
    many or these names; otherwise they are one argument.

    Args:
        network: The network.
        inputs: Its inputs.
        compiled: The same network after torch.compile, which is called instead.

    Raises:
        ValueError: The forward takes the inputs in none of these ways.
    """
    target = network if compiled is None else compiled
    if isinstance(inputs, Mapping) and _binds(network, **inputs):
        return target(**inputs)
    if isinstance(inputs, (tuple, list)) and _binds(network, *inputs):
        return target(*inputs)
    if not _binds(network, inputs):
        several = f"{len(inputs)} inputs" if isinstance(inputs, (tuple, list)) else "one input"
        given = ", ".join(map(str, inputs)) if isinstance(inputs, Mapping) else several
        taken = ", ".join(signature(network.forward).parameters) or "nothing"
        raise ValueError(f"the forward of {type(network).__name__} takes {taken}, got {given}")
    return target(inputs)


def _binds(network: nn.Module, *arguments: Any, **keywords: Any) -> bool:
    try:
        signature(network.forward).bind(*arguments, **keywords)
    except TypeError:
        return False
    return True


def tensors_of(inputs: Inputs) -> list[Tensor]:
    """The tensors of inputs, in their order."""
    return [leaf for leaf in tree_leaves(_plain(inputs)) if isinstance(leaf, Tensor)]


def batch_size(inputs: Inputs) -> int:
    """Samples of a batch: the length that most tensors have, of equally many the one with most axes; 1 without any."""
    lengths = [(len(x), x.dim()) for x in tensors_of(inputs) if x.dim()]
    number = Counter(length for length, _ in lengths)
    return max(lengths, key=lambda each: (number[each[0]], each[1]), default=(1, 0))[0]


def some_of(inputs: Inputs, which: slice | Tensor) -> Inputs:
    """The inputs of some samples of a batch; tensors without an axis for samples stay."""
    count = batch_size(inputs)
    return tree_map(lambda x: x[which] if isinstance(x, Tensor) and x.dim() and len(x) == count else x, _plain(inputs))


def moved(inputs: Inputs, device: torch.device) -> Inputs:
    """The inputs on a device."""
    return tree_map(lambda x: x.to(device) if isinstance(x, Tensor) else x, _plain(inputs))


def copied(inputs: Inputs) -> Callable[[], Inputs]:
    """A function that gives the inputs as they are now, on their devices; until then, main memory holds them."""
    leaves, form = tree_flatten(_plain(inputs))
    kept = [(x.detach().to("cpu", copy=True), x.device) if isinstance(x, Tensor) else (x, None) for x in leaves]
    return lambda: tree_unflatten([x if device is None else x.to(device) for x, device in kept], form)


def shapes_text(inputs: Inputs) -> str:
    """Shapes of inputs, such as "(1, 3, 32, 32)" or "{'image': (1, 3, 32, 32), 'mask': (1, 16)}"."""
    if isinstance(inputs, (Tensor, tuple, list, Mapping)):
        return str(tree_map(lambda x: tuple(x.shape) if isinstance(x, Tensor) else x, _plain(inputs)))
    return f"a {type(inputs).__name__}"


def random_inputs(shape: Any, values: Any, generator: torch.Generator) -> Inputs:
    """Random inputs of one sample.

    Args:
        shape: Shape of the input without its batch; of several inputs a list of shapes, or shapes by name.
        values: Number of values of a whole-number input, True for a mask, which is true everywhere, None for other
            inputs; in the form of `shape`.
        generator: Source of the numbers.
    """
    if isinstance(shape, Mapping):
        return {name: random_inputs(each, (values or {}).get(name), generator) for name, each in shape.items()}
    if shape and isinstance(shape[0], (list, tuple)):
        counts = values or [None] * len(shape)
        return [random_inputs(each, count, generator) for each, count in zip(shape, counts, strict=True)]
    if values is None:
        return torch.randn(1, *shape, generator=generator)
    if values is True:
        return torch.ones(1, *shape, dtype=torch.bool)
    return torch.randint(values, (1, *shape), generator=generator)


def _plain(inputs: Inputs) -> Inputs:
    """A mapping of any class as a dict, because torch only looks into dicts."""
    return dict(inputs) if isinstance(inputs, Mapping) else inputs
