"""Which network a state dict is of."""

import pytest
import timm
import torch
import torchvision
from torch import Tensor

from asim_lightning.backbone import BackboneConfig, build_backbone
from asim_lightning.exchange.account import imported
from asim_lightning.exchange.keys import plain_relus
from asim_lightning.exchange.network import PUBLISHED_NAMES, Network
from asim_lightning.exchange.read import WeightFile
from asim_lightning.exchange.recognise import _candidates, recognise


def on_meta(make: object, *arguments: object, **options: object) -> dict[str, Tensor]:
    with torch.device("meta"):
        return make(*arguments, **options).state_dict()  # type: ignore[operator, no-any-return]


def published(name: str, small: bool, classes: int, pact: bool = True) -> dict[str, Tensor]:
    """Keys and shapes of a published network, as the key maps give them (golden/model_keys.json checks these)."""
    clips = plain_relus(name) if pact and not name.startswith("vit") else None
    found = Network("published", BackboneConfig(name, small=small), classes, clips).pairs
    state = {pair.theirs: torch.ones(pair.shape, device="meta") for pair in found}
    if name.startswith("vgg"):
        state |= {
            key: value.flatten(1) for key, value in state.items() if key.startswith("classifier.") and value.dim() == 4
        }
    if name.startswith("resnet"):
        state |= {"conv1.weight": torch.ones(64, 3, 3, 3), "conv2.weight": torch.ones(64, 3, 7, 7)}
    return state


@pytest.mark.parametrize("pact", [True, False])
@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_every_published_network_is_known_by_its_keys(name: str, pact: bool) -> None:
    for small, classes in ((False, 1000), (True, 10)):
        if small and name.startswith("vit"):
            continue
        file = WeightFile("x", published(name, small, classes, pact), "model_state_dict")
        network = recognise(file)
        found = (network.layout, network.backbone.name, network.backbone.small, network.num_classes)
        assert found == ("published", name, small, classes)
        assert (network.clips is not None) == (pact and not name.startswith("vit"))
        assert network.backbone.attention_scale == ("embed_dim" if name.startswith("vit") else "head_dim")
        assert not imported(file, network).open


TORCHVISION = {
    "resnet34": "resnet34", "resnet101": "resnet101", "wide_resnet50_2": "wide_resnet50_2", "vgg13": "vgg13",
    "resnext50_32x4d": "resnext50_32x4d", "vgg19_bn": "vgg19_bn", "vit_l_32": "vit_large_patch32_224",
    "vit_h_14": "vit_huge_patch14_224",
}  # fmt: skip


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_networks(name: str) -> None:
    file = WeightFile("x", on_meta(torchvision.models.get_model, name, num_classes=7))
    network = recognise(file)
    assert (network.backbone.name, network.num_classes) == (TORCHVISION[name], 7)
    assert not imported(file, network).open


TIMM = {
    "resnet18": {}, "resnet26d": {}, "vgg11": {}, "vit_tiny_patch16_224": {"img_size": 64}, "convnext_atto": {},
    "deit3_small_patch16_224": {}, "efficientnet_b0": {},
}  # fmt: skip


@pytest.mark.parametrize("name", TIMM)
def test_timms_networks(name: str) -> None:
    file = WeightFile("x", on_meta(timm.create_model, name, num_classes=7, **TIMM[name]))
    network = recognise(file)
    assert (network.backbone.name, network.num_classes) == (name, 7)
    assert network.backbone.kwargs == TIMM[name]
    assert not imported(file, network).open


def test_the_rates_that_older_timm_asks_for_have_values(monkeypatch: pytest.MonkeyPatch) -> None:
    def older(*_: object) -> torch.nn.Module:
        assert [rate.item() for rate in torch.linspace(0, 1, 3)] == [0.0, 0.5, 1.0]
        return torch.nn.Linear(2, 2)

    monkeypatch.setattr("asim_lightning.exchange.network.build_backbone", older)
    assert Network("timm", BackboneConfig("resnet18"), 10).skeleton.weight.is_meta


def test_networks_with_the_same_keys_and_another_function_are_named() -> None:
    file = WeightFile("x", on_meta(timm.create_model, "efficientnet_b0"))
    assert any("tf_efficientnet_b0: the same keys" in said for said in recognise(file).said)
    assert recognise(file, "tf_efficientnet_b0").backbone.name == "tf_efficientnet_b0"


def test_a_network_of_other_widths_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = on_meta(timm.create_model, "resnet18")
    assert "resnet26d" in _candidates(whole)
    monkeypatch.setattr("asim_lightning.exchange.recognise._candidates", lambda state: ["resnet18"])
    file = WeightFile("x", {key: value[: len(value) // 2] for key, value in whole.items() if value.shape})
    with pytest.raises(ValueError, match="x fits no network that its keys tell; nearest is resnet18, with "):
        recognise(file)


def test_candidates_of_families_by_their_keys() -> None:
    found = set(_candidates({"conv_stem.weight": torch.zeros(0)}))
    assert {"efficientnet_lite0", "mobilenetv2_100", "tf_mobilenetv3_small_100"} <= found


def test_a_hybrid_transformers_patches_are_of_features() -> None:
    file = WeightFile("x", on_meta(timm.create_model, "vit_small_r26_s32_224"))
    network = recognise(file, "vit_small_r26_s32_224")
    assert network.backbone.kwargs == {}
    assert not imported(file, network).open


def test_a_small_resnet_of_timms_layout() -> None:
    file = WeightFile("x", on_meta(build_backbone, BackboneConfig("resnet18", small=True), 10))
    assert recognise(file).backbone.small


def test_what_a_hub_says_about_a_file_counts() -> None:
    state = on_meta(timm.create_model, "swin_tiny_patch4_window7_224")
    assert recognise(WeightFile("x", state, architecture="swin_tiny_patch4_window7_224")).num_classes == 1000
    with pytest.raises(ValueError, match="is of no network that its keys tell"):
        recognise(WeightFile("x", state))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_b0"])
def test_efficientnets_of_the_package_with_tensorflows_weights(name: str) -> None:
    found = Network("efficientnet_pytorch", BackboneConfig(name), 1000).pairs
    assert len({pair.theirs for pair in found}) == len(found)
    state = {pair.theirs: torch.ones(pair.shape, device="meta") for pair in found}
    network = recognise(WeightFile("x", state))
    assert (network.layout, network.backbone.name) == ("efficientnet_pytorch", name)


def test_a_transformer_of_an_unknown_size() -> None:
    state = published("vit_base_patch32_224", False, 10)
    state["patch_embedding.conv_proj.weight"] = torch.ones(384, 3, 32, 32)
    with pytest.raises(ValueError, match="holds a transformer of width 384 with patches of 32; known are 768 with"):
        recognise(WeightFile("x", state))


@pytest.mark.parametrize(("dtype", "status"), [(torch.int8, "missing"), (torch.complex64, "missing")])
def test_numbers_of_another_kind_are_no_weights(dtype: torch.dtype, status: str) -> None:
    state = published("resnet18", True, 10) | {"layer1.0.conv1.weight": torch.ones(64, 64, 3, 3).to(dtype)}
    network = recognise(WeightFile("x", state))
    open_rows = imported(WeightFile("x", state), network).open
    assert {(row.status, row.why) for row in open_rows} >= {
        (status, "layer1.0.conv1.weight holds no floating-point numbers")
    }


def test_values_that_are_not_finite_are_named() -> None:
    state = published("resnet18", True, 10) | {"fc.bias": torch.full((10,), float("nan"))}
    account = imported(WeightFile("x", state), recognise(WeightFile("x", state)))
    assert next(row.why for row in account.rows if row.source == "fc.bias") == "holds values that are not finite"


def test_published_vggs_and_transformers_keep_their_dropout() -> None:
    for name, rate in (("vgg11", {"drop_rate": 0.5}), ("vit_base_patch32_224", {"pos_drop_rate": 0.1})):
        network = recognise(WeightFile("x", published(name, False, 1000), "model_state_dict"))
        assert rate.items() <= network.backbone.kwargs.items()


def test_arguments_of_the_user_count_in_every_layout() -> None:
    file = WeightFile("x", published("resnet18", True, 10))
    assert recognise(file, "resnet18", None, {"drop_rate": 0.2}).backbone.kwargs == {"drop_rate": 0.2}
    with pytest.raises(ValueError, match=r"does not fit resnet18: .*'depth'"):
        assert recognise(file, "resnet18", None, {"depth": 4}).pairs
