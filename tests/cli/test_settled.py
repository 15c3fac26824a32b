"""What settings decide of each other: a flag its axis, pretrained weights the pictures."""

from typing import Any

import pytest
from jsonargparse import Namespace

from asim_lightning.backbone import BackboneConfig
from asim_lightning.cli.settled import settle_axes, settle_pretrained
from tests.cli.conftest import Asim, Write
from tests.commands import by_flags

NOISE = "--model.plan.macro.random_noise"
RECIPE = {"random_noise": [0, 0.1, 0.2], "adc_bits": [6, 8], "rows": None}
MODEL = {
    "plan": {"macro": {"random_noise": "0.3 lsb", "adc_bits": 7, "rows": 64, "column_args": {"alpha": 0.1}}},
    "chip": 3,
}


@pytest.mark.parametrize(
    ("flags", "settled"),
    [
        ([], {}),
        ([f"{NOISE}=0.3 lsb"], {"random_noise": ["0.3 lsb"]}),
        (
            ["--model.plan.macro", "{random_noise: 0.3 lsb, adc_bits: 7}"],
            {"random_noise": ["0.3 lsb"], "adc_bits": [7]},
        ),
        (["--model={plan: {macro: {adc_bits: 7}}}"], {"adc_bits": [7]}),
        (["--model.plan.preset", "cr_cim_2024"], {"random_noise": ["0.3 lsb"], "adc_bits": [7]}),
        (["--model.plan.macro.rows", "64"], {}),
        ([NOISE, "0.3 lsb", "--axes.random_noise+=1"], {}),
        ([NOISE, "0.3 lsb", "--axes.adc_bits", "[8]"], {"random_noise": ["0.3 lsb"]}),
    ],
    ids=str,
)
def test_which_axes_a_flag_replaces(flags: list[str], settled: dict[str, Any]) -> None:
    found, said = settle_axes(by_flags(*flags), RECIPE, MODEL)
    assert found == settled
    assert bool(said) == bool(settled)


def test_the_default_grid_and_arguments_of_a_column_are_replaced_too() -> None:
    assert settle_axes(by_flags(NOISE, "0.3 lsb"), {"random_noise": None}, MODEL)[0] == {"random_noise": ["0.3 lsb"]}
    flags = ["--model.plan.macro.column_args.alpha", "0.1"]
    assert settle_axes(by_flags(*flags), {"column_args": [{"alpha": 0}]}, MODEL)[0] == {"column_args": [{"alpha": 0.1}]}


def test_a_flag_for_the_chip_takes_the_place_of_the_axis_of_chips() -> None:
    settled, said = settle_axes(by_flags("--model.chip", "3"), {"chip": [0, 1]}, MODEL)
    assert (settled, said) == ({"chip": [3]}, "chip 3 by its flag, not the 2 values of its axis")
    assert settle_axes(by_flags("--model.chip", "3", "--axes.chip", "[4]"), {"chip": [4]}, MODEL)[0] == {}


def test_a_sweep_takes_the_flag_and_says_so(asim: Asim, written: Write) -> None:
    path = written(axes={"random_noise": [0, 0.1, 0.2], "adc_bits": [8]}, trials=1, model__plan__macro__adc_bits=6)
    answer = asim("sweep", NOISE, "0.3 lsb", "-c", path, "--progress", "false")
    lines = answer.out.splitlines()
    assert lines[0] == "axes     random_noise 0.3 lsb by its flag, not the 3 values of its axis"
    (row,) = [line for line in lines if line.startswith("simulated")]
    assert row.split()[1:4] == ["8", "0.3", "lsb"]  # of one file, the axis counts


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


def test_what_the_user_wrote_small_networks_and_random_weights_change_no_pictures() -> None:
    settings = settings_of("a1_in1k", None)
    for given in ({"init_args": {"normalize": "published"}}, {"normalize": "published"}):
        assert settle_pretrained(settings, {"data": given}, "fit") == ""
    assert "pretrained_cfg" not in settings.data.init_args
    assert settle_pretrained(settings_of("a1_in1k", None, small=True), {}, "fit") == ""
    assert settle_pretrained(settings_of(False, None), {}, "fit") == ""
