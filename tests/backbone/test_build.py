"""A timm network by name, with a stem for small images."""

import pytest
import torch
from torch import nn

from asim_lightning.backbone import image_channels
from asim_lightning.classifier import BackboneConfig, CimClassifier, build_backbone
from tests.classifier.conftest import KWARGS


def test_name_arguments_and_classes() -> None:
    model = build_backbone(BackboneConfig("resnet10t", KWARGS), num_classes=7)
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize(("kwargs", "channels"), [({}, 3), ({"in_chans": 1}, 1)], ids=str)
def test_channels_of_images(kwargs: dict[str, int], channels: int) -> None:
    config = BackboneConfig("resnet10t", kwargs)
    with torch.device("meta"):
        assert image_channels(config, build_backbone(config, 7)) == channels
    assert image_channels(config, nn.Sequential(nn.Conv2d(channels, 8, 3))) == channels


def test_a_network_whose_first_convolution_does_not_read_the_image() -> None:
    small = {"dims": (8, 8, 16, 16), "depths": (1, 1, 2, 2), "transformer_depths": (0, 0, 1, 1)}
    model = CimClassifier(BackboneConfig("csatv2", small, image_size=64))
    assert model.in_channels == 3
    assert next(each for each in model.modules() if isinstance(each, nn.Conv2d)).in_channels == 64


def test_a_deep_stem_for_small_images_keeps_its_kernels() -> None:
    whole = build_backbone(BackboneConfig("resnet10t", KWARGS), 10).eval()
    small = build_backbone(BackboneConfig("resnet10t", KWARGS, small=True), 10).eval()
    assert {k: v.shape for k, v in whole.state_dict().items()} == {k: v.shape for k, v in small.state_dict().items()}
    images = torch.zeros(1, 1, 28, 28)
    assert small.forward_features(images).shape[-1] == 4  # type: ignore[operator]
    assert whole.forward_features(images).shape[-1] == 1  # type: ignore[operator]


def test_a_7x7_stem_becomes_3x3() -> None:
    small = build_backbone(BackboneConfig("resnet18", {"in_chans": 3}, small=True), 10)
    assert small.conv1.kernel_size == (3, 3)
    assert small.conv1.stride == (1, 1)
    assert isinstance(small.maxpool, nn.Identity)


PUBLISHED_VGGS = {  # output channels of the convolutions, M a max-pool
    "vgg11": "64 128 M 256 256 512 512 512 512 M",
    "vgg13_bn": "64 64 128 128 M 256 256 512 512 512 512 M",
    "vgg16_bn": "64 64 128 128 M 256 256 256 512 512 512 512 512 512 M",
    "vgg19": "64 64 128 128 M 256 256 256 256 512 512 512 512 512 512 512 512 M",
}


@pytest.mark.parametrize("name", PUBLISHED_VGGS)
def test_a_small_vgg_pools_as_published(name: str) -> None:
    with torch.device("meta"):
        whole, small = build_backbone(BackboneConfig(name), 7), build_backbone(BackboneConfig(name, small=True), 7)
        layers = [x for x in small.features if isinstance(x, (nn.Conv2d, nn.MaxPool2d))]
        assert [getattr(x, "out_channels", "M") for x in layers] == [
            int(x) if x.isdigit() else x for x in PUBLISHED_VGGS[name].split()
        ]
        assert small.forward_features(torch.zeros(2, 3, 32, 32)).shape == (2, 512, 7, 7)
        assert small(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    # the same weights, under the numbers that the published networks have
    assert [x.shape for x in whole.state_dict().values()] == [x.shape for x in small.state_dict().values()]
    numbers = [name.split(".")[1] for name in small.state_dict() if name.startswith("features.")]
    assert list(dict.fromkeys(numbers)) == [
        str(place) for place, x in enumerate(small.features) if isinstance(x, (nn.Conv2d, nn.BatchNorm2d))
    ]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BackboneConfig("resnet19"), r"must be a network of timm, got 'resnet19'; nearest: resnet1"),
        (BackboneConfig("resnet10t", {"foo": 1}), "does not fit resnet10t: .*'foo'.*; got foo 1$"),
        (BackboneConfig("resnet10t", {"channels": "abc"}), "does not fit resnet10t: .*; got channels 'abc'$"),
        (BackboneConfig("vit_tiny_patch16_224", {"depth": 1}, small=True), "needs a ResNet with conv1 and maxpool, or"),
    ],
)
def test_refusals(config: BackboneConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_backbone(config, 10)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "28"])
def test_image_size_is_checked(size: object) -> None:
    with pytest.raises(ValueError, match=r"`model\.backbone\.image_size` must be 1..8192 pixels or null"):
        BackboneConfig(image_size=size)  # type: ignore[arg-type]
