"""What a wrong input is, what is expected of it, and how that is tried.

A row is an input and what is said of it: `Wrong(arguments, message, files)`. To add one, add it to a mapping of rows of
a test file, whose test is

    @pytest.mark.parametrize("wrong", ROWS.values(), ids=ROWS)
    def test_rows(wrong: Wrong, asim: Asim, folder: Path, run: Run) -> None:
        assert_refused(wrong, asim, folder, run)
"""

import copy
import functools
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from tests.cli.conftest import TINY, Asim, Run

Content = str | bytes | Callable[[dict[str, Any]], bytes]
"""What is in a file; a function gets a checkpoint of the tiny network, which is its own to change."""

VALIDATE = ("validate", "-c", "tiny.yaml")
FIT = ("fit", "-c", "tiny.yaml")
SWEEP = ("sweep", "-c", "tiny.yaml", "--ckpt_path", "trained.ckpt")


@dataclass(frozen=True)
class Wrong:
    """An input that is refused.

    Attributes:
        arguments: The command line. It may name tiny.yaml, the tiny recipe, and trained.ckpt, a checkpoint of it.
        message: A part of the one line that is said.
        files: What lies in the working folder, by name, beside those two or in their place.
    """

    arguments: tuple[str, ...]
    message: str
    files: Mapping[str, Content] = field(default_factory=dict)


def flag(message: str, *arguments: str, command: tuple[str, ...] = VALIDATE) -> Wrong:
    """A row of arguments behind a command that is right without them."""
    return Wrong((*command, *arguments), message)


def recipe(message: str, content: Content, command: tuple[str, ...] = VALIDATE, **files: Content) -> Wrong:
    """A row of a recipe."""
    return Wrong(command, message, {"tiny.yaml": content, **files})


def saved(value: Any) -> Callable[[dict[str, Any]], bytes]:
    """What torch.save writes of a value; a function makes it from the tiny network's checkpoint."""

    def content(checkpoint: dict[str, Any]) -> bytes:
        file = io.BytesIO()
        torch.save(value(checkpoint) if callable(value) else value, file)
        return file.getvalue()

    return content


def changed(**parts: Any) -> Callable[[dict[str, Any]], bytes]:
    """The tiny network's checkpoint with other parts."""
    return saved(lambda checkpoint: {**checkpoint, **parts})


def assert_refused(wrong: Wrong, asim: Asim, folder: Path, run: Run) -> None:
    """One line on standard error, exit code 2, no traceback, and the folder as it was."""
    files: dict[str, Content] = {"tiny.yaml": yaml.safe_dump(TINY), **wrong.files}
    if "trained.ckpt" in wrong.arguments:
        files.setdefault("trained.ckpt", run.checkpoint.read_bytes())
    for name, content in files.items():
        content = content(copy.deepcopy(_checkpoint(run.checkpoint))) if callable(content) else content
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    before = _everything(folder)
    error = asim(*wrong.arguments).error  # asserts the code, that it is one line, and that there is no traceback
    assert wrong.message in error, error
    assert len(error) < 1000, error
    assert "Traceback" not in error
    assert _everything(folder) == before


@functools.cache
def _checkpoint(path: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    return checkpoint


def _everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}
