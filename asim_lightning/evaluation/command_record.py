"""Commands that worked on a run: what was written, on which machine, with which versions, how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CommandRecord:
    """A command line, and what a reader needs to repeat and to judge what it gave."""

    command: str
    """As written, such as "asim sweep -c quickstart"."""
    recipe: str = ""
    """Name of the last configuration file; empty where there is none."""
    differences: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Settings that flags name: in the recipe (None: not there), and in the command."""
    preset: str | None = None
    """Name of the published macro that was asked for."""
    macro: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the plan's macro."""
    images: int | None = None
    """Test images that the data has, of which a run may take fewer; None: not known."""
    seeds: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    started: str = ""
    """When it was started last, as in ISO 8601."""
    seconds: float | None = None
    """Wall time of all its calls that ended, together; None where none did."""
    calls: int = 1
    """How often it was called."""

    @classmethod
    def of_json(cls, given: Mapping[str, Any]) -> "CommandRecord":
        """The record that `dataclasses.asdict` gave, from JSON."""
        differences = {name: (before, after) for name, (before, after) in given["differences"].items()}
        return cls(**{**given, "differences": differences})
