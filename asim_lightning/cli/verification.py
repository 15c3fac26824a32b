"""Engines compared on the layers of a whole network."""

from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn

from asim_lightning.classifier import CimClassifier
from asim_lightning.evaluation import Condition, under
from asim_lightning.nn.verify import Verification, verify
from asim_lightning.surgery import macro_layers


def verify_network(model: CimClassifier, data: LightningDataModule, samples: int) -> list[Verification]:
    """Verify every layer that is on a macro, on the inputs that it gets from the first test images.

    Args:
        model: Converted classifier.
        data: Data module; its first test images are used.
        samples: Number of images.

    Raises:
        ValueError: No layer is on a macro, or there is no sample.
    """
    layers = macro_layers(model.backbone)
    if not layers:
        raise ValueError("asim verify needs a network with layers on a macro, got one without; set `model.plan`")
    if samples < 1:
        raise ValueError(f"`samples` must be 1 or more, got {samples}")
    images = next(iter(data.test_dataloader()))[0][:samples]
    inputs: dict[nn.Module, tuple[Tensor, ...]] = {}

    def keep(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs.setdefault(layer, arguments)

    hooks = [layer.register_forward_pre_hook(keep) for layer in layers.values()]
    try:
        with under(model, Condition("quantized")), torch.no_grad():
            model(images.to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
    return [verify(layer, *inputs[layer], max_samples=samples) for layer in layers.values() if layer in inputs]
