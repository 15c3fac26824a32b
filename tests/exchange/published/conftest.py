"""A published config.py on disk, and what its recipe says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from asim_lightning.circuit import MacroConfig
from asim_lightning.exchange.published.recipe import recipe_of
from asim_lightning.surgery import Plan
from tests.exchange.published.configs import VGG, VIT, config_text

FAMILIES: dict[str, Any] = {"resnet": {}, "vgg": VGG, "vit": VIT}


class Recipe(NamedTuple):
    """A recipe and its notes."""

    text: str
    notes: tuple[str, ...]


Made = Callable[..., Recipe]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Makes the recipe of a config.py with some settings changed, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def make(**changes: Any) -> Recipe:
        Path("config.py").write_text(config_text(**changes), encoding="utf-8")
        return Recipe(*recipe_of("config.py"))

    return make


def values(recipe: Recipe) -> dict[str, Any]:
    """The settings of a recipe."""
    found: dict[str, Any] = yaml.safe_load(recipe.text)
    return found


def macros(recipe: Recipe) -> dict[str, MacroConfig]:
    """The macro of the plan ("") and of each rule."""
    plan = Plan(**values(recipe)["model"]["plan"])
    found = {"": plan.macro}
    for rule in plan.rules:
        assert isinstance(rule.macro, dict)
        found[rule.match] = plan.macro.with_fields(**rule.macro)
    return found
