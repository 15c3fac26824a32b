"""A given setting that a command does not use has a line."""

from pathlib import Path
from typing import Any

import pytest

from asim_lightning.cli.command_line import Arguments, Recipe
from asim_lightning.cli.setting_names import Names
from asim_lightning.cli.unused_settings import unused_notes, used_settings

CORNERS = Recipe(Path("r.yaml"), {"corners": {"tt": {}}})
ONE_CORNER = Recipe(Path("r.yaml"), {"corners.ss.macro.adc_bits": 7})
PLAIN = Recipe(Path("r.yaml"), {"model": {}})


@pytest.mark.parametrize(
    ("command", "recipe", "flags", "count"),
    [
        *((command, recipe, {}, 1) for command in ("validate", "test", "explain") for recipe in (CORNERS, ONE_CORNER)),
        ("cost", CORNERS, {}, 1),
        ("sweep", CORNERS, {}, 0),
        ("doctor", CORNERS, {}, 0),
        ("validate", PLAIN, {}, 0),
        ("cost", None, {}, 1),
        ("cost", PLAIN, {}, 0),
        ("cost", None, {"model": {"backbone": {"name": "resnet10t"}}}, 0),
        ("explain", None, {}, 0),
        *((command, PLAIN, {"model": {"fidelity": "estimated"}}, 1) for command in ("sweep", "search", "spec")),
        ("sweep", PLAIN, {"model": {"fidelity": "simulated"}}, 0),
        ("validate", PLAIN, {"model": {"fidelity": "estimated"}}, 0),
    ],
)
def test_lines(command: str, recipe: Recipe | None, flags: dict[str, Any], count: int) -> None:
    arguments = Arguments(command, () if recipe is None else (recipe,))
    assert len([*unused_notes(arguments, flags, "resnet10t", False)]) == count


def test_a_checkpoint_names_the_network_of_a_cost() -> None:
    assert not [*unused_notes(Arguments("cost"), {}, "resnet10t", True)]


NAMES = Names({"model.fidelity": "simulated"}, frozenset({"model"}))
OF_COST = Names({"technology.node": None}, frozenset({"technology"}))


@pytest.mark.parametrize(
    "settings", [{"technology": {"node": 28, "suply": 0.8}}, {"technology.suply": 0.8}, {"technology": {"suply": None}}]
)
def test_an_unknown_field_of_a_technology_is_refused_by_commands_that_use_none(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^`technology.suply` is no setting; nearest: technology.supply$"):
        used_settings(settings, NAMES)
    assert used_settings(settings, OF_COST) == settings  # the command refuses it


def test_settings_of_other_commands_are_left_out() -> None:
    settings = {"model": {}, "technology": {"supply": 0.8}, "trials": 2, "axes": {}}
    assert used_settings(settings, NAMES) == {"model": {}}
    assert used_settings({"modle": {}}, NAMES) == {"modle": {}}  # the parser refuses it
