"""Networks without values have the keys, shapes and types of those with values, and cost no time to fill."""

import pytest
import torch
from torch import Tensor

from asim_lightning.backbone import BackboneConfig, build_backbone
from asim_lightning.exchange import skeleton
from asim_lightning.exchange.skeleton import skeleton_of


def described(state: dict[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {key: (value.shape, value.dtype) for key, value in state.items()}


@pytest.mark.parametrize(
    "config",
    [
        BackboneConfig("resnet18", small=True),
        BackboneConfig("vit_tiny_patch16_224", kwargs={"depth": 2}),
        BackboneConfig("mobilenetv2_100"),
        BackboneConfig("convnext_atto"),
    ],
    ids=lambda config: config.name,
)
def test_it_has_the_keys_shapes_and_types_of_the_network(config: BackboneConfig) -> None:
    network = skeleton_of(config, 7)
    assert described(network.state_dict()) == described(build_backbone(config, 7).state_dict())
    assert all(parameter.is_meta and parameter.requires_grad for parameter in network.parameters())


def test_only_what_has_no_values_is_left_unfilled() -> None:
    with skeleton._WithoutFilling():
        filled = torch.nn.init.constant_(torch.zeros(3, device="cpu").add_(1.0), 5.0)
        tensor = torch.empty(3, device="meta")
        assert torch.nn.init.normal_(tensor) is tensor
        assert tensor.clamp_(0.0, 1.0) is tensor
    assert filled.tolist() == [5.0, 5.0, 5.0]
