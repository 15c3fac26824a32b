"""What of a network has a place in the layouts of others."""

from typing import Any

from asim_lightning import CimClassifier, Plan
from asim_lightning.backbone import BackboneConfig
from asim_lightning.exchange.account import Account
from asim_lightning.exchange.export import exported
from asim_lightning.exchange.network import Network
from asim_lightning.nn import PACT

RESNET = BackboneConfig("resnet18", small=True, image_size=32)


def made(config: BackboneConfig = RESNET, **plan: Any) -> CimClassifier:
    return CimClassifier(config, Plan(**plan), 10)


def account(model: CimClassifier, layout: str, config: BackboneConfig = RESNET) -> Account:
    plan = model.hparams["plan"]
    clips = tuple(plan["pact_keep"]) if plan["pact"] else None
    return exported(model.backbone.state_dict(), Network(layout, config, 10, clips), {})


def why(found: Account) -> str:
    """The first row that is not accounted for, in words."""
    row = found.open[0]
    return f"{row.source or row.target} is {row.status}: {row.why}"


def test_clips_that_differ_within_a_block_are_not_accounted_for() -> None:
    model = made(pact=True)
    assert not account(model, "published").open
    model.backbone.layer1[0].act2.alpha.data.fill_(5.0)
    expected = "layer1.0.act2.alpha is unknown: differs from layer1.0.act1.alpha, with which it is one tensor there"
    assert why(account(model, "published")) == expected


def test_clips_of_a_vgg_that_differ_are_not_accounted_for() -> None:
    config = BackboneConfig("vgg11", small=True, image_size=32)
    model = made(config, pact=True, pact_keep=["features.1"])
    assert not account(model, "published", config).open
    [module for module in model.modules() if isinstance(module, PACT)][3].alpha.data.fill_(5.0)
    assert "the published VGG has one clip for all" in why(account(model, "published", config))


def test_pact_has_no_place_in_timm() -> None:
    found = account(made(pact=True), "timm")
    assert why(found) == "act1.alpha is unknown: timm has no PACT, so that the network would compute another function"
    assert found.notes == ("timm has no resnet18 for small images: change its first convolution before",)


def test_folded_networks_have_no_place_elsewhere() -> None:
    config = BackboneConfig("resnet18")
    found = account(made(config, fold_batchnorm=True), "torchvision", config)
    assert why(found) == "bn1.weight is missing: the checkpoint has no bn1.weight"


def test_a_network_with_other_widths_is_not_the_one_of_its_name() -> None:
    config = BackboneConfig("resnet18", {"in_chans": 1})
    model = made(config)
    expected = "conv1.weight is unknown: resnet18 has the shape 64x3x7x7 there"
    assert why(account(model, "torchvision", config)) == expected
    assert not account(model, "timm", config).open


def test_arguments_that_change_the_function_are_not_accounted_for() -> None:
    config = BackboneConfig("resnet18", {"act_layer": "gelu"}, image_size=64)
    model = made(config)
    assert "kwargs.act_layer is unknown: torchvision has no such setting" in why(account(model, "torchvision", config))
    assert "timm makes this network with the arguments {'act_layer': 'gelu'}" in account(model, "timm", config).notes[0]
