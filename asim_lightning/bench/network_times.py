"""Times of whole-network inference, all ways interleaved, so that ratios are of the same moment."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from asim_lightning.bench.images import BenchImages
from asim_lightning.bench.inference import Inference, seconds_of
from asim_lightning.classifier import CimClassifier
from asim_lightning.engine import noise_context
from asim_lightning.evaluation import Condition, under
from asim_lightning.evaluation.times import InferenceTime, Repeats
from asim_lightning.surgery import macro_layers


def time_network(
    model: CimClassifier, ways: Sequence[Inference], images: BenchImages, batch: int, repeats: int
) -> list[InferenceTime]:
    """Time each way on the same images, one after another in each repeat; each repeat takes new images and a new trial.

    An untimed repeat comes first, in which weights are packed.

    Args:
        model: Converted classifier, in evaluation.
        ways: The ways to compute the network; float32 is the first.
        images: Images.
        batch: Images at a time: 1 or more.
        repeats: Timed repeats: 1..65535.
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

    hooks = [layer.register_forward_pre_hook(partial(count, name)) for name, layer in layers.items()]
    try:
        with under(model, Condition("quantized")), torch.inference_mode():
            model.backbone(x)
    finally:
        for hook in hooks:
            hook.remove()
    return counts
