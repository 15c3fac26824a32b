"""A network is measured before it is made, by the file that describes it."""

import time
from typing import Any

import pytest
from torch import nn

from asim_lightning.classifier import BackboneConfig
from asim_lightning.classifier.network_size import SizeLimits, check_size
from tests.classifier.conftest import KWARGS

SMALL = SizeLimits("x.ckpt", 200_000, 60)
VIT = {"embed_dim": 3, "num_heads": 1}


@pytest.mark.parametrize(
    ("config", "room"),
    [
        (BackboneConfig("resnet10t", KWARGS, small=True, image_size=28), SMALL),
        (BackboneConfig("resnet18"), SizeLimits("x.ckpt", 23_000_000, 122)),  # of half precision
        (BackboneConfig("resnet18", small=True, image_size=64), SizeLimits("x.ckpt", 45_000_000, 122)),
        (BackboneConfig("vit_small_patch16_384"), SizeLimits("x.ckpt", 88_000_000, 152)),
        (BackboneConfig("vgg11", small=True, image_size=32), SizeLimits("x.ckpt", 515_000_000, 32)),
    ],
)
def test_networks_as_they_are(config: BackboneConfig, room: SizeLimits) -> None:
    check_size(config, 10, room)


LARGE: dict[str, tuple[BackboneConfig, int, str]] = {
    "depth": (BackboneConfig("vit_tiny_patch16_224", {**VIT, "depth": 8192}), 10, "it has more than 8000 parts"),
    "width": (BackboneConfig("vit_tiny_patch16_224", {"embed_dim": 8190}), 10, "values, and the file 200000 bytes"),
    "window": (
        BackboneConfig("swin_tiny_patch4_window7_224", {"window_size": 4096, "img_size": 8192}),
        10,
        "values, and the file 200000 bytes",
    ),
    "classes": (BackboneConfig("resnet18"), 10**6, "values, and the file 200000 bytes"),
    "image": (BackboneConfig("resnet10t", KWARGS, image_size=8192), 10, "an image of 8192 pixels takes more than"),
    "image of its own": (
        BackboneConfig("vit_tiny_patch16_224", {**VIT, "img_size": 8192}),
        10,
        "an image of 8192 pixels takes more than",
    ),
    "patches": (
        BackboneConfig(
            "vit_tiny_patch16_224",
            {**VIT, "img_size": 16, "patch_size": 1, "dynamic_img_size": True},
            image_size=1024,
        ),
        10,
        "an image of 1024 pixels takes more than",
    ),
}


@pytest.mark.parametrize("name", list(LARGE))
def test_a_large_network_of_a_small_file(name: str) -> None:
    config, classes, message = LARGE[name]
    start = time.perf_counter()
    with pytest.raises(ValueError) as caught:
        check_size(config, classes, SMALL)
    assert str(caught.value).startswith(f"x.ckpt does not fit {config.name} as `model.backbone` describes it: ")
    assert message in str(caught.value)
    assert time.perf_counter() - start < 20


def test_what_does_not_run_is_not_let_through() -> None:
    with pytest.raises(ValueError, match=r"The network does not run on an input of shape \(1, 3, 32, 32\): "):
        check_size(BackboneConfig("vit_tiny_patch16_224", image_size=32), 10, SizeLimits("x.ckpt", 23_000_000, 152))
    with pytest.raises(ValueError, match=r"`model.backbone.kwargs` does not fit resnet18: "):
        check_size(BackboneConfig("resnet18", {"depth": 3}), 10, SMALL)


def test_nothing_is_counted_afterwards() -> None:
    with pytest.raises(ValueError):
        check_size(BackboneConfig("resnet18"), 10**6, SMALL)
    counted: Any = nn.modules.module
    assert not counted._global_parameter_registration_hooks
    assert not counted._global_buffer_registration_hooks
    assert not counted._global_module_registration_hooks
