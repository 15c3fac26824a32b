"""A network with two layers on macros."""

from typing import Any

import pytest
import torch

from asim_lightning import CimClassifier, Plan
from asim_lightning.backbone import BackboneConfig
from asim_lightning.bench.images import BenchImages
from asim_lightning.circuit import MacroConfig


def classifier(**macro: Any) -> CimClassifier:
    """A tiny ResNet on a macro of 4 bits, with input ranges of its own first images."""
    kwargs = {"in_chans": 1, "stem_width": 4, "channels": [4, 4, 4, 8], "layers": [1, 1, 1, 1]}
    plan = Plan(macro=MacroConfig(weight_bits=4, input_bits=4, **macro))
    torch.manual_seed(0)
    model = CimClassifier(BackboneConfig("resnet10t", kwargs, small=True, image_size=16), plan).eval()
    model.calibrate([some_images(4).images])
    return model


def some_images(number: int) -> BenchImages:
    """Random images of one grey value range."""
    images = torch.rand(number, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    return BenchImages(images, torch.arange(number) + 100, f"{number} made for a test")


@pytest.fixture
def model() -> CimClassifier:
    return classifier()
