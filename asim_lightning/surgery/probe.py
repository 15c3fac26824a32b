"""One forward pass that tells what surgery must know: order of layers, sizes, and which inputs are non-negative."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from asim_lightning.nn import PACT
from asim_lightning.surgery.layers import FoundLayer, config
from asim_lightning.surgery.provenance import Origin, Provenance, is_unsigned_by_values

Seen = TypeVar("Seen")
_SIZES = (224, 32, 28, 64, 96, 128, 256, 299)


@dataclass
class Sighting:
    """What the probe saw of a layer."""

    macs: int
    """Multiplications for one sample."""
    origin: Origin | None
    """Where its input comes from, if that makes it non-negative."""
    unsigned_values: bool
    """Whether no input value was negative."""


def probe(model: nn.Module, layers: list[FoundLayer], example: Tensor | None) -> dict[str, Sighting]:
    """Run the network once and report on the layers that ran, in the order in which they did.

    Args:
        model: The network.
        layers: Its layers.
        example: Input; by default random, of the size that timm's configuration gives, or of the first common size that
            fits.

    Raises:
        ValueError: The network does not run on the example.
    """
    return on_example(model, example, partial(_run, model, layers))


def on_example(model: nn.Module, example: Tensor | None, run: Callable[[Tensor], Seen]) -> Seen:
    """What `run` sees on an example, or on a random one, of the size that the network's configuration gives, or of the
    first common size that fits.

    Raises:
        ValueError: `run` raises it on the example, or on every size.
    """
    if example is not None:
        return run(example)
    error: Exception | None = None
    for shape in _shapes(model):
        generator = torch.Generator().manual_seed(0)
        reference = next(model.parameters(), torch.zeros(()))
        trial = torch.randn(shape, generator=generator).to(reference)
        try:
            return run(trial)
        except ValueError as failure:
            error = failure
    raise ValueError(f"The network ran on no common input size; pass an example input to convert_ ({error})")


def run_watched(
    model: nn.Module, example: Tensor, mode: AbstractContextManager[Any], hooks: Sequence[RemovableHandle]
) -> Any:
    """The output of a network in evaluation, run once within a mode; hooks go, and training modes come back.

    Raises:
        ValueError: The network does not run on the example.
    """
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), mode:
            return model(example)
    except Exception as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"The network does not run on an input of shape {tuple(example.shape)}: {message}") from error
    finally:
        for handle in hooks:
            handle.remove()
        for module, was_training in training.items():
            module.training = was_training


def _shapes(model: nn.Module) -> list[tuple[int, ...]]:
    first = next((m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))), None)
    if isinstance(first, nn.Linear):
        return [(1, first.in_features), (1, 1, first.in_features)]
    channels = first.in_channels if isinstance(first, nn.Conv2d) else 3
    size = config(model).get("input_size")
    embedding: Any = getattr(getattr(model, "patch_embed", None), "img_size", None)
    sizes = [tuple(embedding)] if embedding else [tuple(size[1:])] if size else []
    return [(1, channels, *s) for s in sizes] + [(1, channels, s, s) for s in _SIZES]


def _run(model: nn.Module, layers: list[FoundLayer], example: Tensor) -> dict[str, Sighting]:
    seen: dict[str, Sighting] = {}
    provenance = Provenance()

    def watch(layer: FoundLayer) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x = inputs[0]
            macs = _macs(layer, module, x, output) + (seen[layer.name].macs if layer.name in seen else 0)
            origin, unsigned = provenance.origin(x), is_unsigned_by_values(x)
            if layer.name in seen:  # called twice: unsigned only if both inputs are
                origin = origin if seen[layer.name].origin else None
                unsigned = unsigned and seen[layer.name].unsigned_values
            seen[layer.name] = Sighting(macs, origin, unsigned)

        return hook

    def activation(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: provenance.mark(output, name)

    hooks = [layer.module.register_forward_hook(watch(layer)) for layer in layers]
    hooks += [
        module.register_forward_hook(activation(name))
        for name, module in model.named_modules()
        if isinstance(module, (PACT, nn.ReLU))
    ]
    run_watched(model, example, provenance, hooks)
    return seen


def _macs(layer: FoundLayer, module: nn.Module, x: Tensor, output: Tensor) -> int:
    if isinstance(module, nn.Conv2d):
        return output[0].numel() * module.weight[0].numel()
    if isinstance(module, nn.Linear):
        return output[0].numel() * module.in_features
    tokens = x.shape[1]
    return tokens * tokens * int(module.num_heads) * int(module.head_dim)  # type: ignore[arg-type]
