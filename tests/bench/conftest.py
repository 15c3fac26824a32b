"""A network with two layers on macros, and a folder that looks like the published code."""

from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning import CimClassifier, Plan
from asim_lightning.backbone import BackboneConfig
from asim_lightning.bench.images import BenchImages
from asim_lightning.circuit import MacroConfig

LAYER = '''
from module.basic import NAME
from tools.common import seed

import torch
from torch import nn


class {name}(nn.{base}):
    """Notes how it was built, and computes as torch does."""

    built = []

    def __init__(self, *sizes, {geometry}bias, **macro):
        super().__init__(*sizes, {given}bias=bias)
        self.built.append(({geometry_dict}, macro))
        assert seed() == NAME
{more}
'''


def write_published(folder: Path, more: str = "") -> Path:
    """A folder with the modules and tools of the published code that its layers are imported from."""
    for name, content in {
        "module/basic.py": "NAME = 7",
        "tools/common.py": "def seed():\n    return 7",
        "module/asim_conv.py": LAYER.format(
            name="ASiMConv2d",
            base="Conv2d",
            geometry="kernel_size, stride, padding, ",
            given="kernel_size, stride, padding, ",
            geometry_dict="dict(kernel_size=kernel_size, stride=stride, padding=padding)",
            more=more,
        ),
        "module/asim_linear.py": LAYER.format(
            name="ASiMLinear", base="Linear", geometry="", given="", geometry_dict="{}", more=""
        ),
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write_published(tmp_path / "published")


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
