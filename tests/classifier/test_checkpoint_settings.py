"""A checkpoint's settings are those of the classifier, each of its kind."""

from dataclasses import asdict
from typing import Any

import pytest

from asim_lightning import CimClassifier, MacroConfig, Plan, Rule
from asim_lightning.classifier import BackboneConfig, OptimizerConfig
from asim_lightning.classifier.checkpoint_settings import settings_of

CLASS = {"class_path": "a.B"}


def read(settings: Any, named: Any = None, **others: Any) -> dict[str, Any]:
    return settings_of("x.ckpt", {"hyper_parameters": settings, **others}, CimClassifier.argument_types(), named)


def test_what_a_classifier_saves_comes_back() -> None:
    rules = [Rule(r"re:layer[34]\.\d+.*", {"adc_bits": 9}), Rule("head", MacroConfig(rows=64))]
    macro = MacroConfig(random_noise="0.5 lsb", column="current", column_args={"alpha": 1e-9})
    settings = {
        "backbone": asdict(BackboneConfig("resnet18.a1_in1k", {"depth": 4, "channels": (8, 16), "x": {"y": None}})),
        "plan": asdict(Plan(macro, rules, ["layer2.*"])),
        "optimizer": asdict(OptimizerConfig()),
        "train_noise": 1,
        "train_noise_args": None,
        "max_elements": 2**20,
    }
    assert read(settings) == settings
    assert read(settings, hparams_name="settings") == settings


def test_what_lightning_adds_is_left_out() -> None:
    assert read({"trial": 1, "_instantiator": "lightning.pytorch.cli.instantiate_module"}) == {"trial": 1}


WRONG = {
    "near": ({"trail": 1}, "`model.trail` is no setting; nearest: trial"),
    "dots": ({"plan.macro.column": "a.B"}, "`model.plan.macro.column` is no setting"),
    "number as a key": ({"plan": {1: 2}}, "`model.plan.1` is no setting"),
    "file of a group": ({"plan": "plan.yaml"}, "`model.plan` must be no text, got 'plan.yaml'"),
    "file of a list": ({"plan": {"rules": "rules.yaml"}}, "`model.plan.rules` must be no text, got 'rules.yaml'"),
    "file in a tuple": ({"plan": {"rules": ("rules.yaml",)}}, "`model.plan.rules` must be no text, got 'rules.yaml'"),
    "name in a list": ({"plan": {"rules": [{"mach": "x"}]}}, "`model.plan.rules.mach` is no setting; nearest: match"),
    "file in a list": ({"plan": {"rules": [{"match": "x", "macro": "x.yaml"}]}}, "`model.plan.rules.macro` must be no"),
    "class for a group": ({"optimizer": CLASS}, "`model.optimizer.class_path` is no setting"),
}


@pytest.mark.parametrize(("settings", "message"), WRONG.values(), ids=WRONG)
def test_anything_else_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(settings)
    assert str(caught.value).startswith("The settings in x.ckpt do not fit: `model.")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"plan": {"macro": {"column": "a.B"}}}, "model.plan.macro.column"),
        ({"plan": {"rules": [{"match": "x", "macro": {"column": "a.B"}}]}}, "model.plan.rules.macro.column"),
        ({"train_noise_args": {"a": [{"b": CLASS}]}}, "model.train_noise_args.a.b"),
        ({"backbone": {"kwargs": {"a": "{b: {class_path: a.B}}"}}}, "model.backbone.kwargs.a.b"),
        ({"backbone": {"network": CLASS}}, "model.backbone.network"),
    ],
)
def test_a_class_is_named_by_the_user_too(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=rf"^x.ckpt names the class a.B for `{name}`"):
        read(settings)


@pytest.mark.parametrize("settings", [None, [1], "abc"])
def test_settings_have_names(settings: Any) -> None:
    with pytest.raises(ValueError, match=r"^x\.ckpt must hold its settings by name as hyper_parameters, got "):
        read(settings)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"plan": {"rules": [{"macro": {"column": "a.B"}}]}}, {"plan": {"macro": {"column": "a.B"}}}),
        ({"train_noise_model": "a.B"}, {"train_noise_model": "a.B"}),
    ],
    ids=["column of a rule", "noise model"],
)
def test_what_the_user_says_too_is_trusted(settings: dict[str, Any], named: dict[str, Any]) -> None:
    assert read(settings, named) == settings
    with pytest.raises(ValueError, match="names the class"):
        read(settings, {"label_smoothing": 0.1, "fidelity": "a.B"})
