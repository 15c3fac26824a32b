"""Times of inference of a whole network, and of its layers on macros."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.bench.images import BenchImages
from asim_lightning.bench.inference import Inference, seconds_of, synchronize
from asim_lightning.bench.times import InferenceTime, LayerTime, Repeats
from asim_lightning.classifier import CimClassifier
from asim_lightning.engine import ENGINES, noise_context
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.nn import OnMacro
from asim_lightning.surgery import macro_layers


def time_network(
    model: CimClassifier, ways: Sequence[Inference], images: BenchImages, batch: int, repeats: int
) -> list[InferenceTime]:
    """Time each way on the same images, one after another in each repeat; each repeat takes new images and a new trial.

    An untimed repeat comes first, in which weights are packed. The first way must be float32.
    """
    seconds: list[list[float]] = [[] for _ in ways]
    with torch.inference_mode():
        for repeat in range(repeats + 1):
            x, ids = images.batch(repeat, batch, model.device)
            for way, times in zip(ways, seconds, strict=True):
                with way.active(), noise_context(model.noise_seed, repeat, ids, model.chip):
                    times.append(seconds_of(lambda way=way, x=x: way.network(x), model.device))  # type: ignore[misc]
    timed = [Repeats(tuple(times[1:])) for times in seconds]
    total = sum(conversions(model, images).values())
    return [
        InferenceTime(
            inference=way.name,
            algorithm=way.algorithm,
            engine=way.engine,
            batch=batch,
            repeats=each,
            conversions=total if way.name == "simulated" else None,
            ratio=each.median / timed[0].median,
            fastest_ratio=each.fastest / timed[0].fastest,
        )
        for way, each in zip(ways, timed, strict=True)
    ]


def conversions(model: CimClassifier, images: BenchImages) -> dict[str, int]:
    """Conversions that each layer on a macro makes for one image, by the layer's full name."""
    layers = macro_layers(model.backbone)
    x, _ = images.batch(0, 1, model.device)
    counts: dict[str, int] = {}

    def count(name: str, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        counts[name] = counts.get(name, 0) + layers[name].conversions(*inputs)

    with _hooked(layers, count), under(model, Condition("quantized")), torch.inference_mode():
        model.backbone(x)
    return counts


def time_layers(model: CimClassifier, images: BenchImages, batch: int, repeats: int) -> list[LayerTime]:
    """Time each layer in quantised and simulated inference of a converted network; each repeat takes new images."""
    layers, device = macro_layers(model.backbone), model.device
    seconds: dict[str, list[dict[str, float]]] = {"quantized": [], "simulated": []}
    whole: list[float] = []
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    started: dict[str, float] = {}
    times: dict[str, float] = {}  # of one pass

    def start(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        synchronize(device)
        started[name] = time.perf_counter()

    def stop(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        synchronize(device)
        times[name] = times.get(name, 0.0) + time.perf_counter() - started[name]
        shapes[name] = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])

    with _hooked(layers, start, stop), torch.inference_mode():
        for repeat in range(repeats + 1):
            x, ids = images.batch(repeat, batch, device)
            for fidelity, passes in seconds.items():
                times = {}
                with under(model, Condition(fidelity)), noise_context(model.noise_seed, repeat, ids, model.chip):
                    total = seconds_of(lambda x=x: model.backbone(x), device)  # type: ignore[misc]
                passes.append(times)
            whole.append(total)
    counts, simulated_whole = conversions(model, images), Repeats(tuple(whole[1:])).median

    def repeats_of(name: str, fidelity: str) -> Repeats:
        return Repeats(tuple(times[name] for times in seconds[fidelity][1:]))

    found = []
    for name in shapes:
        layer, simulated = layers[name], repeats_of(name, "simulated")
        engine = layer.engine_on(device)
        found.append(
            LayerTime(
                name=name,
                kind=type(layer).__name__,
                input_shape=shapes[name][0],
                output_shape=shapes[name][1],
                algorithm=ENGINES[engine].ALGORITHM,
                engine=engine,
                batch=batch,
                conversions=counts[name],
                quantized=repeats_of(name, "quantized"),
                simulated=simulated,
                share=simulated.median / simulated_whole,
            )
        )
    return found


@contextmanager
def _hooked(
    layers: Mapping[str, OnMacro], before: Callable[..., None], after: Callable[..., None] | None = None
) -> Iterator[None]:
    """Inside, each call of a layer is told with its name, before it and after it."""
    hooks = [layer.register_forward_pre_hook(partial(before, name)) for name, layer in layers.items()]
    if after is not None:
        hooks += [layer.register_forward_hook(partial(after, name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
