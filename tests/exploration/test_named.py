"""What code of a user's own reads beside its arguments is told, also where it stands in no argument or attribute."""

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from asim_lightning.exploration.contents import Contents
from asim_lightning.exploration.named import named_values
from tests.exploration.conftest import Load

CODE = """
import functools
import logging
import os
from os import environ
from pathlib import Path
import numpy as np
import other
from other import scaled

HERE = Path(__file__).parent
LOG = logging.getLogger(__name__)
TABLE = [1]
UNUSED = [1]
CALLS = []

def deep(x):
    LOG.info("called")
    return x * TABLE[0]

def keeping(function):
    @functools.wraps(function)
    def kept(*arguments):
        return function(*arguments)
    return kept

class Base:
    MEAN = 0.0

    def __init__(self, gain=[1]):
        self.gain = gain

class Mine(Base):
    options = {"a": [1]}

    def one(self):
        return [deep(x) for x in other.VALUES]

    @property
    def two(self):
        return scaled(np.loadtxt(HERE / "curve.txt"))

    @staticmethod
    @keeping
    def three(limit=[1]):
        return os.environ.get("ASIM_LIMIT", environ)

    @functools.lru_cache
    def four(self):
        CALLS.append(self)
        return Mine
"""
OTHER = """
VALUES = [1]
FACTOR = [1]
UNUSED = [1]

def scaled(x):
    return x * FACTOR[0]
"""


@pytest.fixture
def module(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "curve.txt").write_text("1")
    monkeypatch.setenv("ASIM_LIMIT", "1")
    monkeypatch.setenv("ASIM_UNUSED", "1")
    load("other", OTHER)
    return load("mine", CODE)


def named(value: Any) -> dict[str, object]:
    contents = Contents()
    contents.of(value, "data")
    found = contents.named()
    assert not contents.unknown
    return found


def change(module: Any, what: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if what == "file":
        (folder / "curve.txt").write_text("2")
    elif what == "environment":
        monkeypatch.setenv("ASIM_LIMIT", "2")
    elif what == "unused environment":
        monkeypatch.setenv("ASIM_UNUSED", "2")
    elif what == "unused file":
        (folder / "unused.txt").write_text("2")
    elif what == "class attribute":
        module.Base.MEAN = 1.0
    else:
        place = {
            "class table": module.Mine.options["a"],
            "global of a function": module.TABLE,
            "global of a module": module.other.VALUES,
            "global of an imported function": module.other.FACTOR,
            "default argument": module.Base.__init__.__defaults__[0],
            "default argument of a decorated function": module.Mine.three.__wrapped__.__defaults__[0],
            "unused": module.UNUSED,
            "unused elsewhere": module.other.UNUSED,
        }[what]
        place[0] = 2


@pytest.mark.parametrize(
    "what",
    [
        "file", "environment", "class attribute", "class table", "global of a function", "global of a module",
        "global of an imported function", "default argument", "default argument of a decorated function",
    ],
)  # fmt: skip
def test_what_is_named_counts(what: str, module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = named(module.Mine())
    assert named(module.Mine()) == before
    change(module, what, tmp_path, monkeypatch)
    assert named(module.Mine()) != before


@pytest.mark.parametrize("what", ["unused", "unused elsewhere", "unused file", "unused environment"])
def test_what_is_not_named_does_not(what: str, module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = named(module.Mine())
    change(module, what, tmp_path, monkeypatch)
    assert named(module.Mine()) == before


def test_the_order_in_which_code_is_met_does_not_matter(module: Any) -> None:
    module.CALLS.append(module.deep)
    values = [module.Mine(), module.deep, module.scaled]
    assert named(values) == named(values[::-1])


def test_code_of_packages_is_told_by_its_version(module: Any) -> None:
    contents = Contents()
    contents.of(module.Mine, "data")
    assert not any("numpy" in name or "logging" in name for name in contents.named())
    assert "numpy" in contents.packages


def test_code_of_a_notebook_names_values_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("curve.txt").write_text("1")
    scope: dict[str, Any] = {"__name__": "notebook", "GAIN": 1}
    exec("class Mine:\n    def one(self): return GAIN, open('curve.txt')", scope)
    found = dict(named_values(scope["Mine"]))
    assert found["notebook.GAIN"] == 1
    assert found["file curve.txt"] == "curve.txt"


@dataclass
class Settings:
    mean: float = 0.5
    names: list[str] = field(default_factory=list)


class Pair(NamedTuple):
    first: int = 1


class Guarded:
    @torch.no_grad()
    def one(self) -> object:
        return Colour


class Colour(enum.Enum):
    RED = 1


def test_what_python_writes_into_classes_is_left_out() -> None:
    contents = Contents()
    contents.of([Settings(), Guarded()], "data")
    names = {name.removeprefix(f"{__name__}.") for name in contents.named()}
    assert names == {"Colour", "Colour.RED", "Guarded.one", "Settings.mean"}
    contents.of(Pair(), "data")
    contents.named()
    assert not contents.unknown


def test_what_cannot_be_told_is_noted(module: Any) -> None:
    module.TABLE = (x for x in ())
    contents = Contents()
    contents.of(module.deep, "data")
    contents.named()
    assert tuple(contents.unknown) == ("mine.TABLE: a generator, whose state cannot be read",)
