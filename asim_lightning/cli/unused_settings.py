"""Settings of a recipe that a command does not use: left out, checked, and said in lines; a network nobody named."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from asim_lightning.cli.command_line import Arguments
from asim_lightning.cli.commands import COMMANDS, OPTIONS_OF_STUDIES
from asim_lightning.cli.options import own_options
from asim_lightning.cli.setting_names import Names, no_setting

_STUDIES = ("sweep", "search", "spec", "doctor")
_TECHNOLOGY = "technology"


def used_settings(settings: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """The settings of a recipe that a command uses; a recipe serves all commands, so it has options of others.

    Args:
        settings: Settings of the recipe.
        names: Names of the command's settings.

    Raises:
        ValueError: A field of a technology that the command does not use is unknown.
    """
    roots = {key: str(key).split(".")[0] for key in settings}
    foreign = set(roots.values()) - names.roots - OPTIONS_OF_STUDIES
    for name, command in COMMANDS.items():
        if foreign and command.runs_network:  # imports the command
            foreign -= own_options(name).keys()
    if _TECHNOLOGY not in names.roots | {each.split(".")[0] for each in names.groups}:
        _check_technology(settings)
    return {key: value for key, value in settings.items() if roots[key] in names.roots | foreign}


def _check_technology(settings: Mapping[str, Any]) -> None:
    """Refuse unknown fields of a technology, nested or by their full names."""
    group = settings.get(_TECHNOLOGY)
    given = [str(key) for key in settings if str(key).startswith(f"{_TECHNOLOGY}.")]
    given += [f"{_TECHNOLOGY}.{key}" for key in group] if isinstance(group, Mapping) else []
    if given:
        from asim_lightning.cost.technology import Technology  # few recipes have a technology

        known = [f"{_TECHNOLOGY}.{each.name}" for each in fields(Technology)]
        for name in given:
            if name not in known:
                raise no_setting(name, known)


def unused_notes(arguments: Arguments, flags: Mapping[str, Any], name: str | None, has_weights: bool) -> Iterator[str]:
    """A line for each setting without effect on a command.

    Args:
        arguments: The command line.
        flags: Settings in flags, as nested mappings.
        name: Name of the network's backbone.
        has_weights: Whether the command starts from a checkpoint, which names a network, too.
    """
    command, model = arguments.command, flags.get("model", {})
    roots = {str(key).split(".")[0] for recipe in arguments.recipes for key in recipe.settings}
    if "corners" in roots and "corners" not in own_options(command):
        yield f"note     asim {command} takes the macro as configured; `corners` are for studies"
    if command == "cost" and not (arguments.recipes or has_weights or "backbone" in model or name is None):
        yield f"note     no network is named, so this is the default one, {name}; -c CONFIG names another"
    fidelity = model.get("fidelity", "simulated")
    if command in _STUDIES and fidelity != "simulated":
        yield f"note     asim {command} simulates its points, whatever `model.fidelity` says, got {fidelity}"
