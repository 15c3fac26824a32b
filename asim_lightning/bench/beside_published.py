"""Times of layers beside those of the published code: same input, geometry, macro and process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.bench.images import BenchImages
from asim_lightning.bench.inference import seconds_of
from asim_lightning.bench.published import PublishedCode, published_layer, why_not
from asim_lightning.classifier import CimClassifier
from asim_lightning.engine import noise_context
from asim_lightning.evaluation import Condition, under
from asim_lightning.evaluation.times import LayerComparison, Repeats
from asim_lightning.nn import OnMacro
from asim_lightning.surgery import macro_layers


def compare(
    model: CimClassifier, code: PublishedCode, images: BenchImages, batch: int, repeats: int
) -> list[LayerComparison]:
    """Time every layer on a macro in both codes, on its input in the network.

    Each repeat takes new images, and times all layers of ours and then all of theirs; an untimed repeat comes first.

    Args:
        model: Converted classifier, in evaluation; its fidelity is left as it was.
        code: The published code.
        images: Images.
        batch: Images at a time: 1 or more.
        repeats: Timed repeats: 1..65535.

    Raises:
        ValueError: The published code fails on a layer that it should compute.
    """
    layers, device = macro_layers(model.backbone), model.device
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    reasons: dict[str, str] = {}
    for repeat in range(repeats + 1):
        x, _ = images.batch(repeat, batch, device)
        with torch.inference_mode(), under(model, Condition("quantized")), _inputs(layers) as inputs:
            model.backbone(x)
        reasons = {name: why_not(layers[name], operands[0]) for name, operands in inputs.items()}
        computed = {name: operands for name, operands in inputs.items() if not reasons[name]}
        with torch.inference_mode(), under(model, Condition("simulated")):
            # ours run after each other as in the network: after theirs, all caches would be cold
            for name, operands in computed.items():
                with noise_context(model.noise_seed, repeat, chip=model.chip):
                    ours.setdefault(name, []).append(
                        seconds_of(lambda: layers[name](*operands), device)  # noqa: B023
                    )
            for name, operands in computed.items():
                theirs.setdefault(name, []).append(_published_seconds(code, layers[name], operands[0], device))

    def timed(seconds: Mapping[str, list[float]], name: str) -> Repeats | None:
        return Repeats(tuple(seconds[name][1:])) if name in seconds else None

    return [
        LayerComparison(name, layers[name].engine_on(device), batch, timed(ours, name), timed(theirs, name), reason)
        for name, reason in reasons.items()
    ]


def _published_seconds(code: PublishedCode, layer: OnMacro, x: Tensor, device: torch.device) -> float:
    try:
        theirs = published_layer(code, layer, x)
        return seconds_of(lambda: theirs(x), device)
    except Exception as error:  # code of the user's
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"The code in {code.path} does not compute layer `{layer.name}`: {reason}") from error


@contextmanager
def _inputs(layers: Mapping[str, OnMacro]) -> Iterator[dict[str, tuple[Tensor, ...]]]:
    """First input of each layer, by name."""
    inputs: dict[str, tuple[Tensor, ...]] = {}
    names = {layer: name for name, layer in layers.items()}

    def keep(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs.setdefault(names[layer], arguments)  # type: ignore[index]

    hooks = [layer.register_forward_pre_hook(keep) for layer in layers.values()]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()
