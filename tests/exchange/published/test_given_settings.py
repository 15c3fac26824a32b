"""Settings that a config.py gives are used, noted or refused by name."""

from pathlib import Path
from typing import Any

import pytest

from asim_lightning.exchange.published.given_settings import CNN, COMMON, KNOWN
from asim_lightning.exchange.published.given_settings import VIT as VIT_KEYS
from asim_lightning.exchange.published.recipe import recipe_of
from tests.exchange.published.configs import VIT, config_text
from tests.exchange.published.conftest import FAMILIES, Made, Recipe, refusal, values


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"asim_conv_wbit": 1}, "cfg.asim_conv_wbit does not fit: `macro.weight_bits` must be 2..16, got 1"),
        ({"asim_act_enc": 9}, "cfg.asim_act_enc does not fit: `macro.encoding_bits` must be 1..8 (input_bits), got 9"),
        ({"asim_cnn_hybrid_levels": -1}, "cfg.asim_cnn_hybrid_levels does not fit: `macro.digital_levels` must be 0"),
        ({"asim_conv_rand_noise_sigma": [1]}, "cfg.asim_conv_rand_noise_sigma does not fit: "),
        (
            {**VIT, "asim_vit_attn_qk_k_enc": 9},
            "cfg.asim_vit_attn_qk_k_enc does not fit: `macro.encoding_bits` must be 1..8 ",
        ),
        ({"model_name": "ResNet18"}, "cfg.model_name must be one of ResNet-18, "),
        ({"task": "CIFAR10"}, "cfg.task must be one of ['CIFAR-10', 'CIFAR-100', 'ImageNet'], got 'CIFAR10'"),
        ({"asim_conv_mode": "Test"}, "cfg.asim_conv_mode must be one of Train, Inference, Simulation, got 'Test'"),
        ({"transforms_test": "T.ToTensor()"}, "cfg.transforms_test must be transforms.Compose([...]) of transforms"),
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
    assert "nearest: cfg.asim_conv_wbit" in notes
    assert "values taken: device (cuda), momentum (0.9), asim_conv_nrow (255)" in notes
    assert values(recipe) == values(made())
