"""A backbone starts from a file, or from a tag of timm's weights."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from asim_lightning import CimClassifier, Plan
from asim_lightning.backbone import BackboneConfig
from asim_lightning.exchange.pretrained import check_tag, read_pretrained, timm_weights

KWARGS = {"stem_width": 4, "channels": [8, 16, 32, 64]}
FLOAT = Plan(keep=["*"])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    torch.save(timm.create_model("resnet10t", num_classes=12, **KWARGS).state_dict(), tmp_path / "given.pth")
    return tmp_path / "given.pth"


def classifier(weights: object, classes: int, **more: Any) -> CimClassifier:
    return CimClassifier(BackboneConfig("resnet10t", KWARGS, str(weights), **more), FLOAT, classes)


def state(path: Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=True)  # type: ignore[no-any-return]


def test_all_of_it_where_class_counts_agree(weights: Path) -> None:
    model = classifier(weights, 12)
    assert all(torch.equal(value, model.backbone.state_dict()[key]) for key, value in state(weights).items())
    assert model.pretrained == (f"{weights}: {len(state(weights))} of {len(state(weights))} tensors",)
    assert str(model.report).endswith(model.pretrained[0])


def test_the_head_alone_is_new_where_they_differ_and_the_report_says_so(weights: Path) -> None:
    model = classifier(weights, 5)
    own = model.backbone.state_dict()
    differing = [key for key, value in state(weights).items() if value.shape != own[key].shape]
    assert differing == ["fc.weight", "fc.bias"]
    assert all(torch.equal(value, own[key]) for key, value in state(weights).items() if key not in differing)
    new = "fc.weight, fc.bias: new, with random weights, because the file has 12 classes and the data 5"
    assert new in str(model.report)


def test_a_checkpoint_brings_its_own_weights(weights: Path) -> None:
    model = classifier(weights, 12)
    checkpoint = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    path = weights.with_name("own.ckpt")
    torch.save({**checkpoint, "pytorch-lightning_version": "2.6.6"}, path)
    weights.unlink()
    again = CimClassifier.load_from_checkpoint(path)
    assert torch.equal(again.backbone.state_dict()["fc.weight"], model.backbone.state_dict()["fc.weight"])


def test_a_stem_that_is_made_small_is_new(tmp_path: Path) -> None:
    narrow = {"channels": [8, 8, 8, 8]}
    torch.save(timm.create_model("resnet18", **narrow).state_dict(), tmp_path / "given.pth")
    config = BackboneConfig("resnet18", narrow, str(tmp_path / "given.pth"), small=True, image_size=32)
    model = CimClassifier(config, FLOAT, 1000)
    assert any(note.startswith("first convolution: new") for note in model.pretrained)
    assert torch.equal(model.backbone.state_dict()["bn1.weight"], state(tmp_path / "given.pth")["bn1.weight"])


def test_weights_of_another_network(weights: Path) -> None:
    with pytest.raises(ValueError, match=r"given.pth does not fit resnet14t as `model.backbone` describes it: layer"):
        CimClassifier(BackboneConfig("resnet14t", KWARGS, str(weights)), FLOAT, 12)


def test_a_missing_file_is_said_before_the_network_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asim_lightning.classifier.module.build_backbone", lambda *_: pytest.fail("made too early"))
    with pytest.raises(FileNotFoundError, match=r"There is no file 'nosuch\.pth'"):
        classifier("nosuch.pth", 12)


def test_a_published_checkpoint_is_for_import(tmp_path: Path) -> None:
    from tests.golden_cases import reference_state

    torch.save({"model_state_dict": reference_state("resnet18_32px_w8a8", 1)}, tmp_path / "given.pkl")
    config = BackboneConfig("resnet18", pretrained=str(tmp_path / "given.pkl"), small=True)
    with pytest.raises(ValueError, match=r"is a checkpoint of the published simulator.*; asim import "):
        CimClassifier(config, FLOAT, 10)


def test_a_checkpoint_of_ours_is_for_ckpt_path(tmp_path: Path) -> None:
    torch.save({"state_dict": {"backbone.conv1.weight": torch.ones(1)}}, tmp_path / "own.ckpt")
    with pytest.raises(ValueError, match=r"own\.ckpt is a checkpoint of this package, .* use it with --ckpt_path"):
        classifier(tmp_path / "own.ckpt", 12)


def test_tags_are_checked_without_a_download() -> None:
    check_tag(BackboneConfig("resnet18", pretrained="a1_in1k"))
    check_tag(BackboneConfig("resnet18", pretrained=True))
    check_tag(BackboneConfig("resnet18.a1_in1k", pretrained=True))
    with pytest.raises(ValueError, match=r"resnet18 has the tags a1_in1k, .*, got 'a9_in1k'; nearest: a"):
        check_tag(BackboneConfig("resnet18", pretrained="a9_in1k"))
    with pytest.raises(ValueError, match=r"`model.backbone.pretrained`: resnet18 has the tags a1_in1k, .*got 'nosuch'"):
        check_tag(BackboneConfig("resnet18", pretrained="nosuch"))


def test_a_download_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(*_: object, **__: object) -> None:
        raise OSError("no route to the hub\nmore")

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(ValueError, match=r"resnet18.a1_in1k could not be downloaded \(no route to the hub\); "):
        read_pretrained(BackboneConfig("resnet18", pretrained="a1_in1k"))


def test_a_download_counts_as_a_file_does(monkeypatch: pytest.MonkeyPatch) -> None:
    made, create = [], timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> Any:
        made.append((name, pretrained))
        return create(name.split(".")[0], **options)

    monkeypatch.setattr(timm, "create_model", offline)
    model = CimClassifier(BackboneConfig("resnet10t", KWARGS, pretrained=True), FLOAT, 5)
    assert made[0] == ("resnet10t", True)  # before the network is made
    assert not any(pretrained for _, pretrained in made[1:])
    assert "because the file has 1000 classes and the data 5" in model.pretrained[1]


def test_which_pictures_weights_expect(tmp_path: Path) -> None:
    assert timm_weights(BackboneConfig("resnet18", pretrained=True)) == "resnet18"
    assert timm_weights(BackboneConfig("resnet18.a1_in1k", pretrained="a2_in1k")) == "resnet18.a2_in1k"
    assert timm_weights(BackboneConfig("resnet18", pretrained="resnet18.a2_in1k")) == "resnet18.a2_in1k"
    torch.save({"encoder.pos_embedding": torch.ones(1)}, tmp_path / "torchvision.pth")
    assert timm_weights(BackboneConfig("vit_base_patch16_224", pretrained=str(tmp_path / "torchvision.pth"))) is None
    assert timm_weights(BackboneConfig("resnet18")) is None
