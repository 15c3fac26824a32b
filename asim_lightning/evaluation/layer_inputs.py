"""What layers on macros meet in a network for some images: their inputs, and the counts of their cycles."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.classifier.batches import calibration_images_of
from asim_lightning.classifier.network import CimModule
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.nn import OnMacro
from asim_lightning.nn.count_histograms import LayerCounts, count_histograms
from asim_lightning.surgery import macro_layers


def needed_layers(model: CimModule, what: str) -> dict[str, OnMacro]:
    """The layers on macros, by full name; `what` needs one, such as "asim bench", and refuses a network without."""
    layers = macro_layers(model.backbone)
    if not layers:
        raise ValueError(
            f"{what} needs a network with layers on a macro, got one without; set `model.plan`, or call convert_"
        )
    return layers


@torch.no_grad()
def layer_inputs(model: CimModule, images: Tensor) -> dict[OnMacro, tuple[Tensor, ...]]:
    """The arguments of the first call of each layer on a macro in the quantised network, for layers that are called."""
    found: dict[Any, tuple[Tensor, ...]] = {}

    def keep(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        found.setdefault(layer, arguments)

    layers = macro_layers(model.backbone).values()
    hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
    try:
        with under(model, Condition("quantized")):
            model(images.to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
    return {layer: found[layer] for layer in layers if layer in found}


def layer_counts(
    model: CimModule, layers: Mapping[str, OnMacro], batches: Iterable[Tensor], most: int, kind: str
) -> tuple[dict[str, LayerCounts], str]:
    """Counts of layers of the quantised network for the first images, and how many images these are, in words.

    There are `most` images at most, and `kind` says if they are "training" or "test" images.
    """
    used = 0

    def first_images() -> Iterator[Tensor]:
        nonlocal used
        for batch in batches:
            images = batch[: most - used].to(model.device)
            used += len(images)
            yield images
            if used >= most:
                return

    with under(model, Condition("quantized")):
        found = count_histograms(model, layers, first_images())
    return found, f"{used} {kind} images" + (f", all that there are (--images {most})" if used < most else "")


def training_counts(
    model: CimModule, layers: Mapping[str, OnMacro], data: Any, most: int
) -> tuple[dict[str, LayerCounts], str]:
    """As `layer_counts`, for the training images of a data module, which must reach each layer."""
    found, images = layer_counts(model, layers, calibration_images_of(data, most), most, "training")
    missing = [name for name in layers if name not in found]
    if missing:
        raise ValueError(f"no training image reaches the layer {missing[0]}, so that its counts are not known")
    return found, images
