"""What of a network has a place in the layouts of others."""

from typing import Any

import torch
from torch import Tensor

from asim_lightning import CimClassifier, Plan
from asim_lightning.backbone import BackboneConfig
from asim_lightning.exchange.account import Account
from asim_lightning.exchange.export import exported
from asim_lightning.exchange.layouts import Network
from asim_lightning.exchange.read import WeightFile
from asim_lightning.exchange.recognise import recognise

RESNET = BackboneConfig("resnet18", small=True, image_size=32)


def account(layout: str, config: BackboneConfig = RESNET, clips: Any = None, **changed: Tensor) -> Account:
    """The export of a network whose tensors are 0, but for those that are given."""
    network = Network(layout, config, 10, clips)
    state = {pair.ours: torch.zeros(()).expand(pair.shape) for pair in network.pairs}
    return exported(state | changed, network, {})


def test_clips_that_differ_within_a_block_are_not_accounted_for() -> None:
    assert not account("published", clips=()).open
    found = account("published", clips=(), **{"layer1.0.act2.alpha": torch.tensor(5.0)})
    expected = "layer1.0.act2.alpha is unknown: differs from layer1.0.act1.alpha, but both are one tensor there"
    assert str(found.open[0]) == expected


def test_clips_of_a_vgg_that_differ_are_not_accounted_for() -> None:
    vgg = BackboneConfig("vgg11", small=True, image_size=32)
    exact = account("published", vgg, ["features.1"])
    assert not exact.open
    again = recognise(WeightFile("x", exact.state))
    assert (again.layout, again.backbone.name, again.backbone.small) == ("published", "vgg11", True)
    assert again.clips == ("features.1",)
    found = account("published", vgg, ["features.1"], **{"pre_logits.act1.alpha": torch.tensor(5.0)})
    assert "differs from features.3.alpha, but both are one tensor there" in str(found.open[0])


def test_pact_has_no_place_in_timm() -> None:
    found = account("timm", clips=())
    assert (
        str(found.open[0]) == "act1.alpha is unknown: timm has no PACT, so the network would compute another function"
    )
    assert found.notes == ("timm has no resnet18 for small images: change its first convolution first",)


def test_folded_networks_have_no_place_elsewhere() -> None:
    config = BackboneConfig("resnet18", {"channels": [8, 8, 8, 8]})
    model = CimClassifier(config, Plan(fold_batchnorm=True), 10)
    found = exported(model.backbone.state_dict(), Network("timm", config, 10), {})
    assert str(found.open[0]) == "bn1.weight is missing: the checkpoint has no bn1.weight"


def test_a_network_with_other_widths_is_not_the_one_of_its_name() -> None:
    config = BackboneConfig("resnet18", {"in_chans": 1})
    assert str(account("torchvision", config).open[0]).startswith(
        "model.backbone.kwargs.in_chans is unknown: torchvision has"
    )
    assert str(account("torchvision").open[0]).startswith(
        "model.backbone.small is unknown: torchvision has no such setting"
    )
    assert not account("timm", config).open


def test_arguments_that_change_the_function_are_not_accounted_for() -> None:
    config = BackboneConfig("resnet18", {"act_layer": "gelu"}, image_size=64)
    assert "kwargs.act_layer is unknown: torchvision has no such setting" in str(account("torchvision", config).open[0])
    assert "timm makes this network with the arguments {'act_layer': 'gelu'}" in account("timm", config).notes[0]
