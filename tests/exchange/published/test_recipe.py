"""A published config.py becomes a recipe that the command line takes."""

import re
from pathlib import Path
from typing import Any

import pytest

from asim_lightning.circuit import MacroConfig
from asim_lightning.exchange.published.names import CNN, COMMON, KNOWN
from asim_lightning.exchange.published.names import VIT as VIT_KEYS
from asim_lightning.exchange.published.recipe import NETWORKS, recipe_of
from tests.commands import parsed as parsed_alone
from tests.exchange.published.configs import VIT, config_text
from tests.exchange.published.conftest import FAMILIES, Made, Recipe, macros, values


def parsed(recipe: Recipe, command: str) -> Any:
    Path("recipe.yaml").write_text(recipe.text)
    return parsed_alone([command, "-c", "recipe.yaml"])


@pytest.mark.parametrize(
    ("family", "command"), [*((family, "validate") for family in FAMILIES), ("resnet", "sweep"), ("resnet", "fit")]
)
def test_command_line_takes_the_recipe(made: Made, family: str, command: str) -> None:
    settings = parsed(made(**FAMILIES[family]), command)
    assert settings.model.backbone.name == NETWORKS[FAMILIES[family].get("model_name", "ResNet-18")]
    assert settings.model.fidelity == "simulated"
    assert settings.trainer.max_epochs == 200
    assert settings.data.init_args.batch_size == 128
    if command == "sweep":
        assert settings.axes.random_noise[-1] == 0.2  # as in the published figures


def test_resnet(made: Made) -> None:
    found = values(made(task="CIFAR-10", train_dir="sets/cifar10/train", test_dir="sets/cifar10/test"))
    assert found["model"]["backbone"] == {"name": "resnet18", "small": True, "image_size": 32}
    assert found["model"]["plan"]["pact"] is True
    assert "rules" not in found["model"]["plan"]
    assert found["model"]["optimizer"] == {
        "name": "sgd",
        "lr": 0.01,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "schedule": "multistep",
        "milestones": [0.6, 0.9],
        "gamma": 0.1,
    }
    assert found["data"]["class_path"] == "asim_lightning.data.CIFAR10"
    data = found["data"]["init_args"]
    assert (data["root"], data["augment"], data["held_out"]) == ("sets/cifar10", "published", 0)
    assert "normalize" not in data
    assert found["trainer"]["log_every_n_steps"] == 10


def test_large_images_give_the_large_network(made: Made) -> None:
    recipe = made(task="ImageNet", cls_num=1000, image_size=224, model_name="ResNet-50", train_dir="D:\\in\\train")
    found = values(recipe)
    assert found["model"]["backbone"] == {"name": "resnet50", "image_size": 224}
    assert found["data"]["init_args"]["root"] == "D:/in"
    assert found["data"]["init_args"]["augment"] == "published"
    assert not any("transforms" in note for note in recipe.notes)


def test_transformer(made: Made) -> None:
    recipe = made(**VIT)
    backbone = values(recipe)["model"]["backbone"]
    assert backbone["name"] == "vit_base_patch32_224"
    assert (backbone["attention_scale"], backbone["norm_eps"]) == ("embed_dim", 1e-5)
    assert backbone["kwargs"] == {"pos_drop_rate": 0.1, "attn_drop_rate": 0.1, "proj_drop_rate": 0.1}
    nine = MacroConfig(input_bits=9)
    assert macros(recipe) == {"": MacroConfig(), "qk": nine, "qkv": nine, "proj": nine}
    optimizer = values(recipe)["model"]["optimizer"]
    assert (optimizer["name"], optimizer["weight_decay"]) == ("adam", 0)
    assert "pact" not in values(recipe)["model"]["plan"]
    other = values(made(**{**VIT, "image_size": 256}))["model"]["backbone"]
    assert other["kwargs"]["img_size"] == 256


@pytest.mark.parametrize(
    ("conv", "linear", "noise", "fidelity", "command"),
    [
        ("Simulation", "Simulation", 0.0, "simulated", "validate"),
        ("Inference", "Inference", 0.0, "quantized", "validate"),
        ("Inference", "Inference", 50.0, "estimated", "validate"),
        ("Train", "Train", 50.0, "quantized", "fit"),
        ("Simulation", "Train", 0.0, "simulated", "validate"),
        ("Train", "Inference", 0.0, "quantized", "validate"),
    ],
)
def test_modes(made: Made, conv: str, linear: str, noise: float, fidelity: str, command: str) -> None:
    modes = {"asim_conv_mode": conv, "asim_linear_mode": linear}
    recipe = made(**modes, asim_conv_trim_noise=noise, asim_linear_trim_noise=noise)
    model = values(recipe)["model"]
    assert (model["fidelity"], model["train_noise"]) == (fidelity, noise)
    assert recipe.text.splitlines()[1] == f"# asim {command} -c recipe.yaml"
    noted = [note for note in recipe.notes if "mode = 'Train'" in note or "mode = 'Inference'" in note]
    assert len(noted) == 1 + (conv != linear)


def test_training_settings(made: Made) -> None:
    found = values(
        made(
            **{"label_smooth": True, "label_smooth_eps": 0.09, "mixup": True, "mixup_alpha": 0.4, "max_epoch": 90},
            **{"milestones": [30, 60, 80], "factor": 0.5, "lr_init": 1e-05, "momentum": 0, "weight_decay": 0.0},
        )
    )
    assert found["model"]["mixup"] == 0.4
    assert found["model"]["label_smoothing"] == pytest.approx(0.1)  # torch gives a tenth of it to the right class
    optimizer = found["model"]["optimizer"]
    assert [round(part * 90) for part in optimizer["milestones"]] == [30, 60, 80]
    assert (optimizer["gamma"], optimizer["lr"], optimizer["momentum"]) == (0.5, 1e-5, 0)


@pytest.mark.parametrize(
    ("device", "accelerator", "noted"),
    [("cuda", "auto", False), ("cpu", "cpu", False), ("cpu:1", "cpu", True), ("xpu", "auto", True)],
)
def test_device(made: Made, device: str, accelerator: str, noted: bool) -> None:
    recipe = made(device=device)
    assert values(recipe)["trainer"]["accelerator"] == accelerator
    found = [note for note in recipe.notes if note.startswith("cfg.device = ")]
    assert len(found) == noted
    assert all(f"trainer.accelerator: {accelerator}`" in note for note in found)


def test_milestones_after_the_end_have_no_effect_there(made: Made) -> None:
    recipe = made(max_epoch=7, milestones=[4, 6, 9])
    assert [round(part * 7) for part in values(recipe)["model"]["optimizer"]["milestones"]] == [4, 6]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"asim_conv_wbit": 1}, "`macro.weight_bits` must be 2..16, got 1"),
        ({"asim_conv_mode": "Test"}, "cfg.asim_conv_mode must be one of Train, Inference, Simulation, got 'Test'"),
        ({"model_name": "ResNet18"}, "cfg.model_name must be one of ResNet-18, "),
    ],
)
def test_values_out_of_range(made: Made, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=rf"^(config\.py: )?{re.escape(expected)}"):
        made(**changes)


OTHERS: dict[str, Any] = {
    "task": "ImageNet", "device": "cuda:1", "image_size": 64, "large_model": True, "train_dir": "x/train",
    "valid_dir": "x/test", "test_dir": "x/test", "pretrain_model_path": "x.pkl", "milestones": [3],
    "transforms_train": "T.Compose([])", "transforms_valid": "T.Compose([])", "transforms_test": "T.Compose([])",
    "asim_linear_layer": "proj",
}  # fmt: skip

OF_NO_EFFECT = {"mixup_alpha", "label_smooth_eps"}  # while mixup and label smoothing are off


def other(name: str, value: Any) -> Any:
    """Another value that is allowed."""
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(value, bool):
        return not value
    if name.endswith("_mode"):
        return "Inference"
    return 2 if value is None else value / 2 if isinstance(value, float) and value else value + 1


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_every_setting_changes_the_recipe_or_is_noted(made: Made, family: str) -> None:
    given = {"task": "ImageNet", "cls_num": 1000, **FAMILIES[family]}
    given |= {"vit_quant_conv_proj": True} if family == "vit" else {}
    before = made(**given)
    own = {**COMMON, **(CNN if family == "resnet" else VIT_KEYS)}
    for name in set(own) - OF_NO_EFFECT - ({"large_model"} if family == "vit" else set()) - {"task", "model_name"}:
        value = given.get(name, KNOWN[name])
        recipe = made(**{**given, name: other(name, value)})
        assert recipe != before, name
        noted = any(note.startswith(f"cfg.{name} = ") for note in recipe.notes)
        assert recipe.text != before.text or noted, name


def test_unknown_and_missing_settings_are_noted(made: Made) -> None:
    text = config_text() + "cfg.asim_conv_wbits = 4\n"
    text = text.replace("cfg.momentum = 0.9", "").replace("cfg.asim_conv_nrow = 255", "").replace("cfg.device", "x")
    Path("config.py").write_text(text)
    recipe = Recipe(*recipe_of("config.py"))
    notes = "\n".join(recipe.notes)
    assert "cfg.asim_conv_wbits = 4: the published config.py has no such setting" in notes
    assert "values taken: device (cuda), momentum (0.9), asim_conv_nrow (255)" in notes
    assert values(recipe) == values(made())
