"""A published config.py becomes a recipe that the command line takes, and every setting of it is accounted for."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from asim_lightning.backbone import BackboneConfig
from asim_lightning.circuit import MacroConfig
from asim_lightning.classifier import CimClassifier
from asim_lightning.cli import main
from asim_lightning.cli.configs import resolve_configs
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.exchange.published.known_settings import AV, CNN, COMMON, FC, KNOWN, MLP, NETWORKS, PROJ, QK
from asim_lightning.exchange.published.known_settings import VIT as VIT_KEYS
from asim_lightning.exchange.published.recipe import Recipe, recipe_of
from asim_lightning.surgery import Plan
from tests.data.published_layouts import CIFAR10_CLASSES, noisy, write_class_folders
from tests.exchange.published.configs import VGG, VIT, config_text

FAMILIES: dict[str, Any] = {"resnet": {}, "vgg": VGG, "vit": VIT}

Made = Callable[..., Recipe]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.chdir(tmp_path)

    def make(**changes: Any) -> Recipe:
        Path("config.py").write_text(config_text(**changes), encoding="utf-8")
        return recipe_of("config.py")

    return make


class Parsed(AsimCLI):
    """A command that is parsed alone."""

    def before_instantiate_classes(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        pass

    def after_instantiate_classes(self) -> None:
        pass

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def values(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(recipe.text)
    return found


def parsed(recipe: Recipe, command: str) -> Any:
    Path("recipe.yaml").write_text(recipe.text)
    return Parsed(resolve_configs([command, "-c", "recipe.yaml"])).config[command]


def refusal(made: Made, **changes: Any) -> str:
    with pytest.raises(ValueError) as error:
        made(**changes)
    assert "\n" not in str(error.value)
    return re.sub(r"^config\.py, line \d+: ", "", str(error.value))


def macros(recipe: Recipe) -> dict[str, MacroConfig]:
    """The macro of the plan ("") and of each rule."""
    plan = Plan(**values(recipe)["model"]["plan"])
    found = {"": plan.macro}
    for rule in plan.rules:
        assert isinstance(rule.macro, dict)
        found[rule.match] = plan.macro.with_fields(**rule.macro)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_recipe_is_written_as_the_shipped_ones(made: Made, family: str) -> None:
    recipe = made(**FAMILIES[family], pretrain_model_path=r"D:\models\net.pkl", asim_cnn_hybrid_levels=2)
    lines = recipe.text.splitlines()
    assert lines[1] == "# asim validate -c recipe.yaml"
    for line in lines:
        key = re.match(r"\s*(- )?(\w+): *([^#\s].*)?$", line)
        assert key is None or key[3] is None or "  # " in line, line
        assert len(line) <= 120, line
    assert '# asim import "D:\\models\\net.pkl" --to net.ckpt' in lines
    assert "# --ckpt_path net.ckpt" in lines
    assert values(recipe)["data"]["init_args"]["root"] == "data"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("command", ["validate", "sweep", "fit"])
def test_command_line_takes_the_recipe(made: Made, family: str, command: str) -> None:
    settings = parsed(made(**FAMILIES[family]), command)
    assert settings.model.backbone.name == NETWORKS[FAMILIES[family].get("model_name", "ResNet-18")]
    assert settings.model.fidelity == "simulated"
    assert settings.trainer.max_epochs == 200
    assert settings.data.init_args.batch_size == 128


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sweep_of_the_recipe_ends_at_the_noise_of_the_published_figures(made: Made, family: str) -> None:
    assert parsed(made(**FAMILIES[family]), "sweep").axes.random_noise[-1] == 0.2


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
    assert found["data"]["init_args"]["root"] == "D:\\in"
    assert found["data"]["init_args"]["augment"] == "published"
    assert not any("transforms" in note for note in recipe.notes)


def test_vgg_has_rules_for_its_linear_layers(made: Made) -> None:
    recipe = made(**VGG, asim_linear_adc_prec=10, asim_linear_xbit=6, asim_linear_act_enc=2)
    assert values(recipe)["model"]["backbone"]["kwargs"] == {"drop_rate": 0.5}
    linear = MacroConfig(adc_bits=10, input_bits=6, encoding_bits=2)
    assert macros(recipe) == {"": MacroConfig(), "pre_logits.*": linear, "head": linear}


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


def test_backbone_takes_what_a_transformers_recipe_says(made: Made) -> None:
    backbone = BackboneConfig(**values(made(**VIT))["model"]["backbone"])
    assert (backbone.name, backbone.attention_scale) == (NETWORKS[VIT["model_name"]], "embed_dim")


def test_each_attention_product_has_its_macro(made: Made) -> None:
    changes: dict[str, Any] = {}
    wanted: dict[str, MacroConfig] = {}
    for place, (matches, keys) in enumerate(
        [(("",), MLP), (("qk",), QK), (("av",), AV), (("qkv", "proj"), PROJ), (("head",), FC)]
    ):
        fields_of = {
            "weight_bits": 4 + place,
            "input_bits": 5 + place,
            "adc_bits": 6 + place,
            "random_noise": 0.1 * (1 + place),
            "nonlinear_noise": 0.01 * (1 + place),
            "encoding_bits": 1 + place,
            "rows": 100 if keys in (QK, AV, PROJ) else 200 + place,
        }
        changes |= {keys[field]: value for field, value in fields_of.items()}
        macro = MacroConfig(**fields_of, digital_levels=3, digital_adc=True)
        wanted |= dict.fromkeys(matches, macro)
    recipe = made(**{**VIT, **changes}, asim_vit_hybrid_levels=3)
    assert macros(recipe) == wanted
    assert "as published: digital cycles pass the ADC" in recipe.text
    assert values(recipe)["axes"]["random_noise"] == [0, 0.05, 0.1, 0.15, 0.2]


def test_stem_keeps_its_bits(made: Made) -> None:
    stem = {"match": "stem", "macro": {"weight_bits": 6, "input_bits": 2, "encoding_bits": 1}}
    recipe = made(quant_conv_wbit=6, quant_conv_xbit=2, asim_act_enc=4, asim_linear_act_enc=4)
    assert values(recipe)["model"]["plan"]["rules"] == [stem]
    plan = values(made(**VIT, vit_quant_conv_proj=True, asim_vit_quant_conv_wbit=10))["model"]["plan"]
    assert plan["stem"] == "quantized"
    assert plan["rules"][-1] == {"match": "stem", "macro": {"weight_bits": 10}}
    model = CimClassifier(plan=Plan(rules=[stem]))
    assert (model.backbone.conv1.weight_bits, model.backbone.conv1.input_bits) == (6, 2)


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
    [("cuda", "auto", ""), ("cpu", "cpu", ""), ("cpu:1", "cpu", "[1] asks"), ("xpu", "auto", "NAME asks")],
)
def test_device(made: Made, device: str, accelerator: str, noted: str) -> None:
    recipe = made(device=device)
    assert values(recipe)["trainer"]["accelerator"] == accelerator
    found = [note for note in recipe.notes if note.startswith("cfg.device = ")]
    assert len(found) == bool(noted)
    assert all(f"trainer.accelerator: {accelerator}`" in note and noted in note for note in found)


def test_milestones_after_the_end_are_noted(made: Made) -> None:
    recipe = made(max_epoch=7, milestones=[4, 6, 9])
    assert [round(part * 7) for part in values(recipe)["model"]["optimizer"]["milestones"]] == [4, 6]
    assert any(note.startswith("cfg.milestones = [4, 6, 9]: ") for note in recipe.notes)


def test_pictures(made: Made) -> None:
    other = "T.Compose([T.Resize((size, size)), T.ToTensor(), T.Normalize(mean=(.5, .5, .5), std=(.25, .25, 1))])"
    everywhere = dict.fromkeys(("transforms_train", "transforms_valid", "transforms_test"), other)
    recipe = made(**everywhere)
    data = values(recipe)["data"]["init_args"]
    assert data["normalize"] == {"mean": [0.5] * 3, "std": [0.25, 0.25, 1]}
    assert data["augment"] == "none"
    assert not any("transforms" in note for note in recipe.notes)
    flip = "T.Compose([T.RandomCrop(size, padding=4), T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(mean, std)])"
    assert values(made(transforms_train=flip))["data"]["init_args"]["augment"] == "crop_flip"
    noted = made(transforms_train="T.Compose([T.RandAugment()])", transforms_test="T.Compose([T.ToTensor()])").notes
    assert sum("transforms_" in note for note in noted) == 3
    noted = made(**VIT, transforms_train=None).notes
    assert not any("transforms_" in note for note in noted)


def test_folders(made: Made) -> None:
    def root(**folders: str | None) -> tuple[str, int]:
        recipe = made(**folders)
        noted = [note for note in recipe.notes if re.match(r"cfg\.\w+_dir = ", note)]
        return values(recipe)["data"]["init_args"]["root"], len(noted)

    assert root(train_dir=r"E:\c\train", valid_dir=r"E:\c\test", test_dir=r"E:\c\test") == (r"E:\c", 0)
    assert root(train_dir="/c/train", valid_dir="/c/val", test_dir="/c/test") == ("/c", 1)
    assert root(train_dir="/c/training", test_dir="/d/test") == ("/d", 1)
    assert root(train_dir="/c/training", test_dir="/d/testing") == ("data", 2)
    assert root(train_dir="it's: a #\n\x85'/train") == ("it's: a #\n\x85'", 0)
    hundred = made(**VGG, train_dir="c/train_images", valid_dir="c/test_images", test_dir="c/test_images")
    assert values(hundred)["data"]["init_args"]["root"] == "c"


@pytest.mark.parametrize("path", ["a\nmodel: {}", "a'; rm -rf x #.pkl", "\u2028x: 1", 'D:\\a"b\\$(x).pkl', "a b.pkl"])
def test_a_path_cannot_leave_its_comment(made: Made, path: str) -> None:
    expected = values(made())
    recipe = made(pretrain_model_path=path)
    assert values(recipe) == expected
    assert sum(line.startswith("# asim import ") or "asim import" in line for line in recipe.text.splitlines()) == 1
    assert all("\n" not in note for note in recipe.notes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"asim_conv_wbit": 1}, "cfg.asim_conv_wbit does not fit: `macro.weight_bits` must be 2..16, got 1"),
        ({"asim_conv_nrow": "x"}, "cfg.asim_conv_nrow does not fit: `macro.rows` must be 1..1048576, got 'x'"),
        ({"asim_linear_adc_prec": 17}, "cfg.asim_linear_adc_prec does not fit: `macro.adc_bits` must be 1..16 or null"),
        ({"asim_act_enc": 9}, "cfg.asim_act_enc does not fit: `macro.encoding_bits` must be 1..8 (input_bits), got 9"),
        ({"asim_cnn_hybrid_levels": -1}, "cfg.asim_cnn_hybrid_levels does not fit: `macro.digital_levels` must be 0"),
        ({"asim_conv_rand_noise_sigma": [1]}, "cfg.asim_conv_rand_noise_sigma does not fit: "),
        ({**VIT, "asim_vit_attn_qk_k_enc": 12}, "cfg.asim_vit_attn_qk_k_enc does not fit: "),
        (
            {**VIT, "asim_vit_attn_qk_k_enc": 9},
            "cfg.asim_vit_attn_qk_k_enc does not fit: `macro.encoding_bits` must be 1..8 ",
        ),
        ({"model_name": "ResNet18"}, "cfg.model_name must be one of ResNet-18, "),
        (
            {"task": "CIFAR10"},
            "cfg.task must be one of CIFAR-10, CIFAR-100, ImageNet, got 'CIFAR10'; nearest: CIFAR-10",
        ),
        ({"cls_num": 12}, "cfg.cls_num must be 10, as in CIFAR10, got 12"),
        ({"task": "ImageNet", "cls_num": 1}, "cfg.cls_num must be a whole number of 2 or more, got 1"),
        ({"PACT": 1}, "cfg.PACT must be True or False, got 1"),
        ({"asim_conv_mode": "Test"}, "cfg.asim_conv_mode must be one of Train, Inference, Simulation, got 'Test'"),
        ({"asim_conv_trim_noise": -1}, "cfg.asim_conv_trim_noise must be 0 or more, got -1"),
        ({"test_bs": 0}, "cfg.test_bs must be a whole number of 1 or more, got 0"),
        ({"lr_init": 0}, "cfg.lr_init must be above 0, got 0"),
        ({"quant_conv_wbit": 17}, "cfg.quant_conv_wbit must be 2..16, got 17"),
        ({"momentum": 2}, "cfg.momentum must be 0..1, got 2"),
        ({"milestones": [0.6]}, "cfg.milestones must be a list of epochs, 0 or more, got [0.6]"),
        ({"label_smooth": True, "label_smooth_eps": 0.95}, "cfg.label_smooth_eps must be 0..0.9, got 0.95"),
        ({"train_dir": 3}, "cfg.train_dir must be a text or None, got 3"),
        ({**VIT, "image_size": 16}, "cfg.image_size must be 32 or more, a patch of ViT-B-32, got 16"),
        ({"transforms_test": "T.ToTensor()"}, "cfg.transforms_test must be transforms.Compose([...]) of transforms"),
        ({"transforms_test": "T.Compose([T.Normalize(0.5, 0.5)])"}, "cfg.transforms_test must normalise with a mean"),
    ],
)
def test_values_out_of_range(made: Made, changes: dict[str, Any], expected: str) -> None:
    assert refusal(made, **changes).startswith(expected)


OTHERS: dict[str, Any] = {
    "task": "ImageNet", "device": "cuda:1", "image_size": 64, "large_model": True, "train_dir": "x/train",
    "valid_dir": "x/test", "test_dir": "x/test", "pretrain_model_path": "x.pkl", "milestones": [3],
    "transforms_train": "T.Compose([])", "transforms_valid": "T.Compose([])", "transforms_test": "T.Compose([])",
    "asim_linear_layer": "proj",
}  # fmt: skip
OF_NO_EFFECT = {"mixup_alpha", "label_smooth_eps"}  # while mixup and label smoothing are off
ONLY_CNN = {"large_model"}
DIGITAL_PATCH = {"vit_quant_conv_proj": True}


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
    given |= DIGITAL_PATCH if family == "vit" else {}
    before = made(**given)
    own = {**COMMON, **(CNN if family == "resnet" else VIT_KEYS)}
    for name in set(own) - OF_NO_EFFECT - (ONLY_CNN if family == "vit" else set()) - {"task", "model_name"}:
        value = given.get(name, KNOWN[name])
        recipe = made(**{**given, name: other(name, value)})
        assert recipe != before, name
        noted = any(note.startswith(f"cfg.{name} = ") for note in recipe.notes)
        assert recipe.text != before.text or noted, name
    idle = next(note for note in before.notes if " settings of " in note)
    assert idle.startswith(f"{len(VIT_KEYS if family == 'resnet' else CNN)} settings of ")


def test_unknown_and_missing_settings_are_noted(made: Made) -> None:
    text = config_text() + "cfg.asim_conv_wbits = 4\ncfg.asim_conv_voting_levels = 3\ncfg.weight_var = 5\n"
    text = text.replace("cfg.momentum = 0.9", "").replace("cfg.asim_conv_nrow = 255", "").replace("cfg.device", "x")
    Path("config.py").write_text(text)
    recipe = recipe_of("config.py")
    notes = "\n".join(recipe.notes)
    assert "cfg.asim_conv_wbits = 4: the published config.py has no such setting" in notes
    assert "nearest: cfg.asim_conv_wbit\n" in notes
    assert "cfg.asim_conv_voting_levels = 3: a setting of an extension: `model.plan.macro.vote_levels`" in notes
    assert "column_args.cell_sigma" in notes
    assert "values taken: device (cuda), momentum (0.9), asim_conv_nrow (255)" in notes
    assert values(recipe) == values(made())


def test_few_lines_are_enough(made: Made) -> None:
    Path("config.py").write_text("cfg.task = 'ImageNet'\ncfg.model_name = 'ViT-L-16'\ncfg.cls_num = 1000\n")
    found = values(recipe_of("config.py"))
    assert found["model"]["backbone"]["image_size"] == 224
    assert found["data"]["init_args"]["root"] == "data/imagenet"
    assert found["model"]["optimizer"]["milestones"] == [0.6, 0.9]


def test_recipe_runs(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = noisy(20, 10)
    for half in ("train", "test"):
        write_class_folders(Path("sets") / half, pictures, CIFAR10_CLASSES)
    bits = {name: 2 for name in KNOWN if re.fullmatch(r"asim_(conv|linear)_[wx]bit", name)}
    recipe = made(train_dir="sets/train", test_dir="sets/test", **bits, test_workers=0, device="cpu")
    Path("recipe.yaml").write_text(recipe.text)
    narrow = ["--model.backbone.kwargs", "{channels: [4, 4, 8, 8]}", "--data.init_args.test_images", "4"]
    command = [sys.executable, "-m", "asim_lightning", "explain", "-c", "recipe.yaml"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "first convolution: digital" in said
    assert "20 layers, unsigned input: layer1.0.conv1" in said
    main(["validate", "-c", "recipe.yaml", *narrow])
    assert "of 4 images)" in capsys.readouterr().out.splitlines()[-1]
