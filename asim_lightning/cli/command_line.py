"""The command line as given: a command, its recipes, each read once, and flags for the parser.

YAML is read by PyYAML's safe loader, changed so that it refuses repeated keys and reads 1e-3 as a number.
"""

import argparse
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from asim_lightning.resources import shipped_file, shipped_folder
from asim_lightning.whole_file import write_whole

_FILES = ("chip_file", "inl")
"""Settings with a file of a chip; `column_args.file` names a measured column."""
_MERGE = "tag:yaml.org,2002:merge"
_EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$")

_OF_STUDY = "settings.json"
"""A file in the folder of each study; its name in evaluation is not imported, because that takes time."""
_WORD = re.compile(r"[A-Za-z][\w./-]*")
_VALUES = ("true", "false", "yes", "no", "on", "off", "null")
"""Words that stand for something else."""


@dataclass(frozen=True)
class Recipe:
    """A configuration file."""

    path: Path
    settings: dict[str, Any]


@dataclass(frozen=True)
class Arguments:
    """A command line."""

    command: str
    recipes: tuple[Recipe, ...] = ()
    flags: tuple[str, ...] = ()
    """Everything except the command and recipes, as given."""
    words: tuple[str, ...] = ()
    """All words as given, the command first."""

    @property
    def saved_run(self) -> Path | None:
        """The folder runs/NAME/version_N, if the last recipe is the configuration that a fit saved there."""
        path = self.recipes[-1].path.absolute() if self.recipes else Path()
        return path.parent if path.name == "config.yaml" and path.parent.name.startswith("version_") else None

    @property
    def run_name(self) -> str:
        """Name of the run: the last recipe's, without suffix; "default" without recipes.

        A recipe that a study wrote, such as a doctor's plan-1.yaml, has the name of its folder in front of its own,
        because other doctors have a plan-1.yaml, too.
        """
        if self.saved_run is not None:
            return self.saved_run.parent.name
        if not self.recipes:
            return "default"
        path = self.recipes[-1].path.absolute()
        return f"{path.parent.name}-{path.stem}" if (path.parent / _OF_STUDY).is_file() else path.stem

    @property
    def asks_for_help(self) -> bool:
        """Whether to print the help instead of a run."""
        return any(flag == "-h" or flag.split("=")[0].endswith(("-help", ".help", "--help.all")) for flag in self.flags)


def read_arguments(given: Sequence[str]) -> Arguments:
    """Split a command line, and read the recipes that it names."""
    command, *words = given
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config", action="append", default=[])
    parser.add_argument("--runner", action="append", default=[])
    try:
        found, flags = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None
    recipes = tuple(_recipe(each) for each in found.config)
    # the name of a runner stands for its settings
    runner = ("--runner" if Path(each).is_file() or "{" in each else "--runner.name" for each in found.runner)
    flags = [f"{name}={value}" for name, value in zip(runner, found.runner, strict=True)] + flags
    return Arguments(command, recipes, tuple(flags), tuple(given))


def shorter_path(path: str | Path) -> str:
    """A path, relative to the working folder if it is inside."""
    here, full = Path.cwd(), Path(path).absolute()
    return str(full.relative_to(here) if full.is_relative_to(here) else full)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_whole(path, lambda file: file.write(text.encode()))


def _recipe(given: str) -> Recipe:
    path = shipped_file("configs", given)
    try:
        settings = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: other bytes than UTF-8, or an invalid number
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict):
        kind = "nothing" if settings is None else f"a {type(settings).__name__}"
        raise ValueError(f"{path} must hold a mapping of settings, got {kind}")
    if isinstance(runner := settings.get("runner"), str):
        settings["runner"] = {"name": runner}
    name_files_(settings, path.parent)
    return Recipe(path, settings)


def name_files_(settings: Any, folder: Path, files: Collection[str] = _FILES) -> None:
    """Make names of chip and column files that lie next to their recipe relative to the working folder, in place.

    `files` are the names of settings with files.
    """
    for each in settings if isinstance(settings, list) else ():
        name_files_(each, folder, files)
    for key, value in settings.items() if isinstance(settings, dict) else ():
        if key in files and isinstance(value, str) and (folder / value).is_file():
            shipped = folder.absolute() == shipped_folder("configs").absolute()  # its path differs by machine
            settings[key] = f"configs/{value}" if shipped else shorter_path(folder / value)
        else:
            name_files_(value, folder, ("file",) if key == "column_args" else _FILES)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads numbers like jsonargparse; refuses a key that occurs twice."""

    def flatten_mapping(self, node: Any) -> None:
        """Check the keys of a mapping once, before merged keys are added."""
        seen = set[tuple[str, str]]()
        for key in () if hasattr(node, "is_checked") else (key for key, _ in node.value):
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if (key.tag, key.value) in seen:
                    problem = f"the key {key.value!r} stands twice in one mapping"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add((key.tag, key.value))
        node.is_checked = True
        super().flatten_mapping(node)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes a text that looks like a number in quotes."""


for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def load_yaml(text: str) -> Any:
    """The content of a document; a yaml.YAMLError if a mapping has a key twice."""
    return yaml.load(text, _Loader)


def load_value(text: str) -> Any:
    """The value that a text stands for; a word stands for itself, without the loader."""
    return text if _WORD.fullmatch(text) and text.lower() not in _VALUES else load_yaml(text)


def read_text(value: Any) -> Any:
    """What a text stands for, or the text itself; other values are left as they are."""
    try:
        return load_value(value) if isinstance(value, str) else value
    except (yaml.YAMLError, ValueError):
        return value


def read_file_or_text(text: str) -> Any:
    """What the text in a file of that name stands for, or what the text stands for if there is none."""
    return read_text(Path(text).read_text(encoding="utf-8") if Path(text).is_file() else text)


def dump_yaml(value: Any) -> str:
    """A document with a value."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
