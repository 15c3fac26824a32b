"""Commands that are parsed, and that run nothing."""

from typing import Any

from asim_lightning.cli.command_line import read_arguments
from asim_lightning.cli.parser import AsimCLI


class Parsed(AsimCLI):
    """A command that is parsed alone."""

    def before_instantiate_classes(self) -> None:
        """Keep the settings as they were written."""

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def after_instantiate_classes(self) -> None:
        """Load nothing."""


def parsed(words: list[str]) -> Any:
    """The settings of a command."""
    return Parsed(read_arguments(words)).config


def by_flags(*words: str) -> dict[str, Any]:
    """Settings that flags of a sweep name."""
    return Parsed(read_arguments(["sweep", *words])).by_flags
