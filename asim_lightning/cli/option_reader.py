"""Options of commands that run no network: a frozen dataclass, whose docstrings are the help."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

from jsonargparse import set_parsing_settings

from asim_lightning.cli.commands import DESCRIPTIONS
from asim_lightning.cli.messages import OneLineParser

Options = TypeVar("Options")


def read_options(command: str, kind: type[Options], words: Sequence[str]) -> Options:
    """The options of a command, as they are written.

    A field without a default is given by its place, unless it is for keywords only. A field of several values, which
    has the help in its metadata, takes all that are given by place. A switch means true if no value follows it.

    Args:
        command: Name of the command.
        kind: Its options.
        words: What follows the command.

    Raises:
        UsageError: An option is unknown, is missing, or has a wrong value.
    """
    given: Any = fields(kind)  # type: ignore[arg-type]
    several = [each for each in given if each.type == list[str]]
    switches = {f"--{each.name}" for each in given if each.type is bool}
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = OneLineParser(prog=f"asim {command}", description=DESCRIPTIONS[command], allow_abbrev=False)
    parser.known_settings = [each.name for each in given]
    parser.add_class_arguments(kind, as_positional=True, skip={each.name for each in several})
    for each in several:
        parser.add_argument(each.name, type=str, nargs="*", help=each.metadata["help"])
    given_words = [
        f"{word}=true" if word in switches and after not in ("true", "false") else word
        for word, after in zip(words, [*words[1:], ""], strict=False)
    ]
    found = parser.parse_args(given_words)
    return kind(**{each.name: found[each.name] for each in given})
