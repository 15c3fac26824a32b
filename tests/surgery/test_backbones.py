"""On ideal 16-bit macros every converted network gives its float output."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, convert_
from asim_lightning.nn.calibration import calibrate_

IDEAL = MacroConfig(weight_bits=16, input_bits=16, adc_bits=None)
SHALLOW: dict[str, tuple[int, dict[str, Any], int]] = {  # image size, arguments, layers with products
    "resnet18": (64, {"layers": (1, 1, 1, 1)}, 13),
    "resnet34": (64, {"layers": (1, 1, 1, 1)}, 13),
    "resnet50": (64, {"layers": (1, 1, 1, 1)}, 18),
    "resnet101": (64, {"layers": (1, 1, 1, 1)}, 18),
    "resnet152": (64, {"layers": (1, 1, 2, 1)}, 21),
    "vgg11": (32, {"mlp_ratio": 1 / 16}, 11),
    "vgg13_bn": (32, {"mlp_ratio": 1 / 16}, 13),
    "vit_base_patch16_224": (224, {"depth": 1}, 8),
    "vit_base_patch32_224": (224, {"depth": 2}, 14),
    "vit_large_patch16_224": (224, {"depth": 1}, 8),
    "vit_large_patch32_224": (224, {"depth": 1}, 8),
    "vit_huge_patch14_224": (224, {"depth": 1}, 8),
    "deit_tiny_patch16_224": (224, {"depth": 3}, 20),
    "convnext_tiny": (64, {"depths": (1, 1, 2, 1)}, 20),
    "efficientnet_lite0": (64, {}, 50),
    "tf_efficientnet_lite0": (64, {}, 50),
    "mobilenetv2_100": (64, {}, 53),
}
FULL = {
    "resnet18": 64, "resnet34": 64, "resnet50": 64, "resnet101": 64, "resnet152": 64, "vgg11": 64, "vgg13": 64,
    "vgg16": 64, "vgg19": 64, "vgg11_bn": 64, "vgg13_bn": 64, "vgg16_bn": 64, "vgg19_bn": 64,
    "vit_base_patch16_224": 224, "vit_base_patch32_224": 224, "vit_large_patch16_224": 224,
    "vit_large_patch32_224": 224, "vit_huge_patch14_224": 224, "deit_tiny_patch16_224": 224, "convnext_tiny": 224,
    "efficientnet_lite0": 224, "tf_efficientnet_lite0": 224, "mobilenetv2_100": 224,
}  # fmt: skip


def prepared(name: str, size: int, **kwargs: Any) -> tuple[nn.Module, Tensor]:
    """A network with random weights whose BatchNorms have the statistics of a random batch, and another batch."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=7, **kwargs)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            model.train()(torch.randn(4, 3, size, size))
    return model.eval(), torch.randn(2, 3, size, size)


def difference(model: nn.Module, x: Tensor) -> tuple[float, int]:
    """Largest difference of converted and float logits, of the largest logit; and the number of layers on macros."""
    with torch.no_grad():
        expected = model(x)
        report = convert_(model, Plan(IDEAL))
        calibrate_(model, [x])
        got = model(x)
    return float((got - expected).abs().max() / expected.abs().max()), len(report)


@pytest.mark.parametrize("name", list(SHALLOW))
def test_shallow_network_keeps_its_output(name: str) -> None:
    size, kwargs, layers = SHALLOW[name]
    model, x = prepared(name, size, **kwargs)
    keys = set(model.state_dict())
    error, converted = difference(model, x)
    assert error < 1e-2
    assert converted == layers
    assert keys <= set(model.state_dict())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(FULL))
def test_full_network_keeps_its_output(name: str) -> None:
    error, _ = difference(*prepared(name, FULL[name]))
    assert error < 1e-2
