"""A small network whose layers are written to folders."""

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.engine import noise_context
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.surgery import macro_layers
from tests.exploration.own_network import own_images, own_network

PLACES = [17, 3]


@pytest.fixture(scope="session")
def network() -> GivenNetwork:
    """A network with a convolution, linear layers, and products of two activations."""
    return GivenNetwork(own_network())


@pytest.fixture
def images() -> Tensor:
    """Two images."""
    return own_images(24)[0][PLACES]


def with_macro(model: GivenNetwork, macro: MacroConfig) -> None:
    """Give each layer a macro that it takes."""
    for layer in macro_layers(model.backbone).values():
        layer.macro = macro


def layer_outputs(model: GivenNetwork, name: str, images: Tensor) -> Tensor:
    """Outputs of the first call of a layer by the reference engine, without vectors. # (batch, *outputs)"""
    layer, found = macro_layers(model.backbone)[name], list[Tensor]()
    handle = layer.register_forward_hook(lambda _, inputs, y: found.append(y))
    before, layer.engine = layer.engine, "reference"
    with under(model, Condition("simulated")), noise_context(0, 0, PLACES, 0), torch.no_grad():
        model(images)
    layer.engine = before
    handle.remove()
    return found[0]
