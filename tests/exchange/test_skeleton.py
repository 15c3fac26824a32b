"""Networks without values have the keys, shapes and types of those with values, and nothing fills them."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

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


class Dispatched(TorchDispatchMode):
    """Names of the operations in place on tensors without values."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if args and isinstance(args[0], Tensor) and args[0].is_meta and func._schema.name.endswith("_"):
            self.names.add(func._schema.name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "mobilenetv2_100"])
def test_nothing_is_filled(name: str) -> None:
    with Dispatched() as plain, torch.device("meta"):
        build_backbone(BackboneConfig(name), 7)
    with Dispatched() as ours:
        skeleton_of(BackboneConfig(name), 7)
    assert plain.names & {"aten::normal_", "aten::uniform_"}
    assert not ours.names


def test_what_has_values_is_filled() -> None:
    with skeleton._WithoutFilling():
        filled = torch.nn.init.constant_(torch.zeros(3, device="cpu").add_(1.0), 5.0)
    assert filled.tolist() == [5.0, 5.0, 5.0]


def test_rates_that_older_timm_asks_for_have_values() -> None:
    class Asks(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rates = [rate.item() for rate in torch.linspace(0, 1, 3)]

    with torch.device("meta"), skeleton._WithoutFilling():
        assert Asks().rates == [0.0, 0.5, 1.0]
