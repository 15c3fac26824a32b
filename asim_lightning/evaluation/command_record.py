"""Commands that worked in the folder of a run: what was written, on which machine, with which versions, how long."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from asim_lightning.evaluation.whole_file import write_whole

_FOLDER = "commands"
_DAMAGED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What a torn or edited file raises."""


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

    def write(self, folder: Path) -> None:
        """Keep the command in the folder of a run, in a file of its own, so that two processes may do so at once."""
        text = json.dumps(asdict(self), indent=2, default=str) + "\n"
        write_whole(_path(folder, self.command), lambda file: file.write(text.encode()))

    def ended(self, seconds: float) -> "CommandRecord":
        """The same command after a call that took so many seconds."""
        return replace(self, seconds=(self.seconds or 0.0) + seconds)


def called_again(record: CommandRecord, folder: Path, say: Callable[[str], None]) -> CommandRecord:
    """A command that is called, with the calls and seconds that the folder already has of it.

    Args:
        record: The command.
        folder: Folder of the run.
        say: Takes a line where what the folder has is torn or edited.
    """
    path = _path(folder, record.command)
    try:
        before = _read(path)
        seconds = None if before.seconds is None else float(before.seconds)
        return replace(record, seconds=seconds, calls=before.calls + 1)
    except FileNotFoundError:
        pass
    except (OSError, *_DAMAGED):
        say(f"{path} was torn or edited after it was written, and counts calls and seconds from here")
    return record


def read_commands(folder: Path) -> tuple[CommandRecord, ...]:
    """The commands that a folder has, the one that was started first at the head.

    Raises:
        ValueError: A file is torn or edited.
    """
    found = []
    for path in sorted((folder / _FOLDER).glob("*.json")):
        try:
            found.append(_read(path))
        except _DAMAGED:
            again = "delete it, or call the command again"
            raise ValueError(f"{path} must be the record of a command, and is torn or edited; {again}") from None
    return tuple(sorted(found, key=lambda each: (each.started, each.command)))


def _read(path: Path) -> CommandRecord:
    values = json.loads(path.read_bytes())
    values["differences"] = {name: (before, after) for name, (before, after) in values["differences"].items()}
    return CommandRecord(**values)


def _path(folder: Path, command: str) -> Path:
    return folder / _FOLDER / f"{hashlib.sha256(command.encode(errors='surrogateescape')).hexdigest()[:8]}.json"
