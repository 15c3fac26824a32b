"""Lines about given settings that a command does not use, and about a network that nobody named."""

from collections.abc import Iterator, Mapping
from typing import Any

from asim_lightning.cli.command_line import Arguments
from asim_lightning.cli.options import own_options

_STUDIES = ("sweep", "search", "spec", "doctor")


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
