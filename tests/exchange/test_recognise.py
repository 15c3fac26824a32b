"""Which network a state dict is of."""

import pytest
import timm
import torch
import torchvision
from torch import Tensor

from asim_lightning.backbone import BackboneConfig, build_backbone
from asim_lightning.exchange.account import imported
from asim_lightning.exchange.layouts import Network
from asim_lightning.exchange.read import WeightFile
from asim_lightning.exchange.recognise import recognise
from tests.golden_cases import cases


def on_meta(make: object, *arguments: object, **options: object) -> dict[str, Tensor]:
    with torch.device("meta"):
        return make(*arguments, **options).state_dict()  # type: ignore[operator, no-any-return]


def published(case: str = "resnet18_32px_w8a8") -> dict[str, Tensor]:
    """Keys and shapes of a network of the published code, with the stems' initial values."""
    state = {key: torch.ones(shape, device="meta") for key, shape in cases("model_keys")[case].items()}
    draw = torch.Generator().manual_seed(0)
    for stem in {"conv1.weight", "conv2.weight"} & state.keys():
        shape = state[stem].shape
        state[stem] = torch.randn(shape, generator=draw) * (2 / (shape[0] * shape[2] * shape[3])) ** 0.5
    return state


@pytest.mark.parametrize("case", cases("model_keys"))
def test_published_networks_are_known_by_their_keys(case: str) -> None:
    file, small = WeightFile("x", published(case), "model_state_dict"), "_32px" in case
    network = recognise(file, small=small)
    assert not imported(file, network).open
    name = network.backbone.name
    assert (network.layout, network.backbone.small) == ("published", small)
    assert case.startswith({"vit_base_patch32_224": "vit_b_32"}.get(name, name))
    assert network.backbone.attention_scale == ("embed_dim" if case.startswith("vit") else "head_dim")
    dropout = {"vgg": {"drop_rate": 0.5}, "vit": {"pos_drop_rate": 0.1}}.get(case[:3], {})
    assert dropout.items() <= network.backbone.kwargs.items()


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
    state = published()
    if trained is not None:
        state[f"{trained}.weight"] *= 1.5
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


def test_a_deep_stem_may_be_of_small_images() -> None:
    file = WeightFile("x", on_meta(timm.create_model, "resnet18d"))
    assert recognise(file).said == (
        "keys do not tell the stem's stride: taken is the stem for large images, --small true takes the other",
    )
    assert not any("stride" in said for said in recognise(file, small=True).said)


def test_a_network_of_other_widths_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = on_meta(timm.create_model, "resnet18")
    monkeypatch.setattr(timm, "list_models", lambda pattern: ["resnet18"])
    file = WeightFile("x", {key: value[: len(value) // 2] for key, value in whole.items() if value.shape})
    with pytest.raises(ValueError, match=r"x fits no network that its keys tell \(.*\); nearest is resnet18, with "):
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
    with pytest.raises(ValueError, match="fits no network that its keys tell"):
        recognise(WeightFile("x", state))


def test_efficientnets_of_the_package_with_tensorflows_weights() -> None:
    name = "tf_efficientnet_lite0"
    found = Network("efficientnet_pytorch", BackboneConfig(name), 1000).pairs
    assert len({pair.theirs for pair in found}) == len(found)
    state = {pair.theirs: torch.ones(pair.shape, device="meta") for pair in found}
    network = recognise(WeightFile("x", state))
    assert (network.layout, network.backbone.name) == ("efficientnet_pytorch", name)


def test_a_transformer_of_an_unknown_size() -> None:
    state = on_meta(torchvision.models.VisionTransformer, 224, 32, 12, 6, 384, 1536)
    with pytest.raises(ValueError, match="x fits no network that its keys tell"):
        recognise(WeightFile("x", state))


def test_weights_that_are_no_sound_numbers_are_named() -> None:
    state = published() | {
        "bn1.weight": torch.ones(64, dtype=torch.int8),
        "layer1.0.conv1.weight": torch.ones(64, 64, 3, 3, dtype=torch.complex64),
        "fc.bias": torch.full((10,), float("nan")),
    }
    file = WeightFile("x", state)
    account = imported(file, recognise(file, "resnet18"))
    assert {"bn1.weight", "layer1.0.conv1.weight"} == {row.target for row in account.open if row.status == "missing"}
    assert {row.why for row in account.open} == {"has no floating-point numbers"}
    assert next(row.why for row in account.rows if row.source == "fc.bias") == "holds values that are not finite"


def test_arguments_of_the_user_count_in_every_layout() -> None:
    file = WeightFile("x", published())
    assert recognise(file, "resnet18", None, {"drop_rate": 0.2}).backbone.kwargs == {"drop_rate": 0.2}
    with pytest.raises(ValueError, match=r"does not fit resnet18: .*'depth'"):
        assert recognise(file, "resnet18", None, {"depth": 4}).pairs
