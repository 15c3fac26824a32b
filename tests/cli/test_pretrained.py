"""What a pretrained backbone decides of the pictures, whoever brings the weights."""

from typing import Any

import pytest
from jsonargparse import Namespace

from asim_lightning.backbone import BackboneConfig
from asim_lightning.cli.settled import settle_pretrained


def settings_of(pretrained: Any, ckpt_path: str | None, **backbone: Any) -> Namespace:
    config = vars(BackboneConfig("resnet18", pretrained=pretrained, **backbone))
    data = Namespace(class_path="asim_lightning.data.CIFAR10", init_args=Namespace(root="x"))
    return Namespace(model=Namespace(backbone=Namespace(**config)), data=data, ckpt_path=ckpt_path)


@pytest.mark.parametrize("pretrained", ["a1_in1k", "gone.pth"])
def test_a_checkpoint_of_a_network_that_started_from_weights_sees_the_same_pictures(pretrained: str) -> None:
    settings = settings_of(pretrained, "own.ckpt")
    said = settle_pretrained(settings, {}, "validate")
    assert settings.data.init_args.normalize == "pretrained"
    assert settings.data.init_args.pretrained_cfg == ("resnet18.a1_in1k" if "a1" in pretrained else "resnet18")
    assert "resnet18.a1_in1k expects" in said
    assert settings.model.backbone.pretrained is False  # nothing is downloaded or read for it


def test_a_file_that_is_gone_is_missed_where_it_is_needed() -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no file 'gone\.pth'"):
        settle_pretrained(settings_of("gone.pth", None), {}, "fit")


def test_what_the_user_wrote_counts() -> None:
    settings = settings_of("a1_in1k", None)
    for given in ({"init_args": {"normalize": "published"}}, {"normalize": "published"}):
        assert settle_pretrained(settings, {"data": given}, "fit") == ""
    assert "pretrained_cfg" not in settings.data.init_args


def test_small_networks_and_random_weights_change_no_pictures() -> None:
    assert settle_pretrained(settings_of("a1_in1k", None, small=True), {}, "fit") == ""
    assert settle_pretrained(settings_of(False, None), {}, "fit") == ""
