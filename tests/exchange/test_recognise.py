"""Which network a state dict is of."""

from functools import cache

import pytest
import timm
import torch
import torchvision
from torch import Tensor

from asim_lightning.backbone import BackboneConfig, build_backbone
from asim_lightning.exchange.account import imported
from asim_lightning.exchange.keys import Pair, plain_relus
from asim_lightning.exchange.network import Network
from asim_lightning.exchange.read import WeightFile
from asim_lightning.exchange.recognise import _candidates, recognise
from tests.golden_cases import cases


def on_meta(make: object, *arguments: object, **options: object) -> dict[str, Tensor]:
    with torch.device("meta"):
        return make(*arguments, **options).state_dict()  # type: ignore[operator, no-any-return]


@cache
def pairs_of(name: str, small: bool, classes: int, clips: tuple[str, ...] | None) -> tuple[Pair, ...]:
    return Network("published", BackboneConfig(name, small=small), classes, clips).pairs


def published(name: str, small: bool, classes: int, pact: bool = True) -> dict[str, Tensor]:
    """Keys and shapes of a published network, as the key maps give them (golden/model_keys.json checks these)."""
    clips = plain_relus(name) if pact and not name.startswith("vit") else None
    found = pairs_of(name, small, classes, clips)
    state = {pair.theirs: torch.ones(pair.shape, device="meta") for pair in found}
    if name.startswith("vgg"):
        state |= {
            key: value.flatten(1) for key, value in state.items() if key.startswith("classifier.") and value.dim() == 4
        }
    if name.startswith("resnet"):
        state |= {"conv1.weight": torch.ones(64, 3, 3, 3), "conv2.weight": torch.ones(64, 3, 7, 7)}
    return state


@pytest.mark.parametrize(
    ("name", "small", "pact"),
    [
        ("resnet18", True, False), ("resnet50", False, True), ("vgg13", True, True), ("vgg16_bn", False, False),
        ("vgg11_bn", True, True), ("vit_base_patch32_224", False, False), ("vit_large_patch16_224", False, False),
    ],
)  # fmt: skip
def test_published_networks_are_known_by_their_keys(name: str, small: bool, pact: bool) -> None:
    classes = 10 if small else 1000
    file = WeightFile("x", published(name, small, classes, pact), "model_state_dict")
    network = recognise(file)
    found = (network.layout, network.backbone.name, network.backbone.small, network.num_classes)
    assert found == ("published", name, small, classes)
    assert (network.clips is not None) == pact
    assert network.backbone.attention_scale == ("embed_dim" if name.startswith("vit") else "head_dim")
    dropout = {"vgg": {"drop_rate": 0.5}, "vit": {"pos_drop_rate": 0.1}}.get(name[:3], {})
    assert dropout.items() <= network.backbone.kwargs.items()
    assert not imported(file, network).open


@pytest.mark.parametrize("case", cases("model_keys"))
def test_every_key_of_the_published_code_has_its_place(case: str) -> None:
    state = {key: torch.ones(shape, device="meta") for key, shape in cases("model_keys")[case].items()}
    file = WeightFile("x", state, "model_state_dict")
    assert not imported(file, recognise(file, small="_32px" in case)).open


@pytest.mark.parametrize(
    ("stepped", "trained", "small", "taken"),
    [
        ({0, 2}, None, None, "3x3 (conv1), for images of about 32 pixels: the optimizer's state has moved no other"),
        ({1, 2}, None, None, "7x7 (conv2), for large images: the optimizer's state has moved no other"),
        (None, "conv1", None, "3x3 (conv1), for images of about 32 pixels: the other one still has its initial dist"),
        (None, "conv2", None, "7x7 (conv2), for large images: the other one still has its initial distribution"),
        (None, "conv1", False, "7x7 (conv2), for large images: --small says so"),
    ],
)
def test_the_stem_in_use(stepped: set[int] | None, trained: str | None, small: bool | None, taken: str) -> None:
    state, draw = published("resnet18", True, 10), torch.Generator().manual_seed(0)
    for name in ("conv1", "conv2"):  # as the published code draws them
        shape = state[f"{name}.weight"].shape
        drawn = torch.randn(shape, generator=draw) * (2 / (shape[0] * shape[2] * shape[3])) ** 0.5
        state[f"{name}.weight"] = drawn * (1.5 if name == trained else 1.0)
    file = WeightFile("x", state, "model_state_dict", None if stepped is None else frozenset(stepped))
    network = recognise(file, small=small)
    assert f"taken is {taken}" in network.said[0]
    assert network.backbone.small == taken.startswith("3x3")


TORCHVISION = {
    "resnet34": "resnet34", "wide_resnet50_2": "wide_resnet50_2", "vgg13": "vgg13", "vit_l_32": "vit_large_patch32_224",
}  # fmt: skip


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_networks(name: str) -> None:
    file = WeightFile("x", on_meta(torchvision.models.get_model, name, num_classes=7))
    network = recognise(file)
    assert (network.backbone.name, network.num_classes) == (TORCHVISION[name], 7)
    assert not imported(file, network).open


TIMM = {"resnet18": {}, "vit_tiny_patch16_224": {"img_size": 64}, "convnext_atto": {}, "deit3_small_patch16_224": {}}


@pytest.mark.parametrize("name", TIMM)
def test_timms_networks(name: str) -> None:
    file = WeightFile("x", on_meta(timm.create_model, name, num_classes=7, **TIMM[name]))
    network = recognise(file)
    assert (network.backbone.name, network.num_classes) == (name, 7)
    assert network.backbone.kwargs == TIMM[name]
    assert not imported(file, network).open


def test_networks_with_the_same_keys_and_another_function_are_named() -> None:
    file = WeightFile("x", on_meta(timm.create_model, "resnet18"))
    assert any("resnetblur18: the same keys" in said for said in recognise(file).said)
    assert recognise(file, "resnetblur18").backbone.name == "resnetblur18"


def test_a_network_of_other_widths_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = on_meta(timm.create_model, "resnet18")
    assert "resnet26d" in _candidates(whole)
    found = set(_candidates({"conv_stem.weight": torch.zeros(0)}))
    assert {"efficientnet_lite0", "mobilenetv2_100", "tf_mobilenetv3_small_100"} <= found
    monkeypatch.setattr("asim_lightning.exchange.recognise._candidates", lambda state: ["resnet18"])
    file = WeightFile("x", {key: value[: len(value) // 2] for key, value in whole.items() if value.shape})
    with pytest.raises(ValueError, match="x fits no network that its keys tell; nearest is resnet18, with "):
        recognise(file)


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


def test_efficientnets_of_the_package_with_tensorflows_weights() -> None:
    name = "tf_efficientnet_lite0"
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


def test_weights_that_are_no_sound_numbers_are_named() -> None:
    state = published("resnet18", True, 10) | {
        "bn1.weight": torch.ones(64, dtype=torch.int8),
        "layer1.0.conv1.weight": torch.ones(64, 64, 3, 3, dtype=torch.complex64),
        "fc.bias": torch.full((10,), float("nan")),
    }
    file = WeightFile("x", state)
    account = imported(file, recognise(file, "resnet18"))
    whys = {f"{name} has no floating-point numbers" for name in ("bn1.weight", "layer1.0.conv1.weight")}
    assert whys <= {row.why for row in account.open if row.status == "missing"}
    assert next(row.why for row in account.rows if row.source == "fc.bias") == "holds values that are not finite"


def test_arguments_of_the_user_count_in_every_layout() -> None:
    file = WeightFile("x", published("resnet18", True, 10))
    assert recognise(file, "resnet18", None, {"drop_rate": 0.2}).backbone.kwargs == {"drop_rate": 0.2}
    with pytest.raises(ValueError, match=r"does not fit resnet18: .*'depth'"):
        assert recognise(file, "resnet18", None, {"depth": 4}).pairs
