"""A published config.py becomes a recipe that the command line takes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from asim_lightning.circuit import MacroConfig
from asim_lightning.exchange.published.given_settings import NETWORKS
from asim_lightning.exchange.published.recipe import scalar
from tests.commands import parsed as parsed_alone
from tests.exchange.published.configs import VIT
from tests.exchange.published.conftest import FAMILIES, Made, Recipe, macros, values


def parsed(recipe: Recipe, command: str) -> Any:
    Path("recipe.yaml").write_text(recipe.text)
    return parsed_alone([command, "-c", "recipe.yaml"])


@pytest.mark.parametrize("family", FAMILIES)
def test_recipe_is_written_as_the_shipped_ones(made: Made, family: str) -> None:
    recipe = made(**FAMILIES[family], pretrain_model_path=r"D:\models\net.pkl", asim_cnn_hybrid_levels=2)
    lines = recipe.text.splitlines()
    assert lines[1] == "# asim validate -c recipe.yaml"
    for line in lines:
        key = re.match(r"\s*(- )?(\w+): *([^#\s].*)?$", line)
        assert key is None or key[3] is None or "  # " in line, line
        assert len(line) <= 120, line
    assert any(note.startswith(r"cfg.pretrain_model_path = 'D:\\models\\net.pkl': ") for note in recipe.notes)
    assert values(recipe)["data"]["init_args"]["root"] == "data"


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


TEXTS = ["a: b", "#", "null", "1.0", "", "it's", "\u2028", "a\nb", "yes", "- x", "{", "ß", "x "]
NUMBERS = [0, 1.0, 1e-5, 2.5e-7, 1e16, 1.5e300, 0.1, -3, True, None, [0.5, [1]], {"a": [1]}]


@pytest.mark.parametrize("value", [*TEXTS, *NUMBERS])
def test_values_of_a_recipe_are_read_as_they_were_written(value: Any) -> None:
    assert yaml.safe_load(f"key: {scalar(value)}  # comment") == {"key": value}
