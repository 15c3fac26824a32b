"""What is written on the command line: the command, its configuration files, each read once, and its flags."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from asim_lightning.cli.strict_yaml import NotYamlError, dump_yaml, load_yaml, read_yaml
from asim_lightning.resources import MACRO, shipped_file, shipped_folder

GROUPS = (
    "axes", "data", "model", "model.backbone", "model.optimizer", "model.plan", "model.plan.macro",
    "model.plan.macro.static", "runner", "search", "technology", "trainer",
)  # fmt: skip
"""Settings that are mappings, and may stand in a file of their own."""

_RUNNER = "runner"
"""A group in whose place a text is no file: it is the name, as in --runner ray --runner.workers 2."""
_CONFIG = re.compile(r"(?:--config(?:=|$)|-c=?)(.*)", re.S)
_OPTION = re.compile(r"-(?![\d.]|$)")  # others that begin with a dash are values, such as -1


@dataclass(frozen=True)
class Config:
    """A configuration file."""

    path: Path
    settings: dict[str, Any]
    """What it holds; files that it names in place of groups of settings are read."""


@dataclass(frozen=True)
class Flag:
    """A flag, or a word that is none, which has no name."""

    name: str
    text: str | None = None
    """Its value as written; None where there is none."""
    value: Any = None
    """Its value as YAML."""


@dataclass(frozen=True)
class Arguments:
    """A command line."""

    command: str
    configs: tuple[Config, ...] = ()
    flags: tuple[Flag, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """Files that stand in place of groups of settings, by the group's full name."""
    words: tuple[str, ...] = ()
    """All of it as given, the command first."""

    @property
    def run_name(self) -> str:
        """Name of the run: the last configuration file's, without suffix; "default" where there is none."""
        if not self.configs:
            return "default"
        path = self.configs[-1].path.absolute()
        return path.parent.parent.name if _is_saved(path) else path.stem

    @property
    def checkpoint_of_run(self) -> str | None:
        """The checkpoint of the run whose saved configuration comes last: best.ckpt, else the newest; None without."""
        if not self.configs or not _is_saved(path := self.configs[-1].path.absolute()):
            return None
        found = sorted(
            (path.parent / "checkpoints").glob("*.ckpt"), key=lambda file: (file.stem == "best", file.stat().st_mtime)
        )
        return shorter_path(found[-1]) if found else None

    @property
    def by_flags(self) -> dict[str, Any]:
        """Settings that flags name, as mappings in one another."""
        found: dict[str, Any] = {}
        for flag in self.flags:
            if flag.name:
                found = _merged(found, _nested(flag.name.rstrip("+"), flag.value))
        return found

    @property
    def by_files(self) -> dict[str, Any]:
        """Settings that configuration files name, as mappings in one another; those of a later file win."""
        found: dict[str, Any] = {}
        for config in self.configs:
            found = _merged(found, config.settings)
        return found

    @property
    def written(self) -> dict[str, Any]:
        """Settings that configuration files and flags name, as mappings in one another; a later one wins."""
        return _merged(self.by_files, self.by_flags)

    def file_of(self, name: str) -> str | None:
        """The file in place of a group from which a setting comes; None where it comes from elsewhere."""
        groups = [group for group in self.files if name.startswith(f"{group}.")]
        group = max(groups, key=len, default=None)
        if group is None or any(f"{name}.".startswith(f"{flag.name}.") and flag.name > group for flag in self.flags):
            return None  # a flag for less than the group counts
        return self.files[group]

    @property
    def asks_for_help(self) -> bool:
        """Whether the help is printed in place of a run."""
        return any(flag.name.split(".")[-1] == "help" or (flag.text == "-h" and not flag.name) for flag in self.flags)

    @property
    def names_data(self) -> bool:
        """Whether the class of the data module is written."""
        data = self.written.get("data")
        return isinstance(data, str) or (isinstance(data, Mapping) and "class_path" in data)

    def text(self, name: str) -> str | None:
        """A setting that is a text, as written; None where it is not there, null or no text.

        Args:
            name: Its full name.
        """
        flag = next((each for each in reversed(self.flags) if each.name == name), None)
        if flag is not None and flag.text is not None:
            return None if flag.value is None and flag.text.strip() else flag.text
        value: Any = self.written
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return str(value) if isinstance(value, (str, date)) else None  # the parser takes a date for a text

    def for_parser(self, switches: Collection[str] = (), others: Collection[str] = ()) -> list[str]:
        """The arguments behind the command, configuration files first, as a flag wins over a file wherever it stands.

        Args:
            switches: Flags that mean true where they stand alone.
            others: Settings of other commands, which a file may have, as one serves every command.
        """
        found: list[str] = []
        for config in self.configs:
            settings = {key: value for key, value in config.settings.items() if key not in others}
            found += ["-c", dump_yaml(settings)]
        for flag in self.flags:
            if not flag.name:
                found.append(str(flag.text))
            elif flag.text is None:
                found.append(f"--{flag.name}=true" if flag.name in switches else f"--{flag.name}")
            else:
                found.append(f"--{flag.name}={flag.text}")
        return found


def read_arguments(given: Sequence[str]) -> Arguments:
    """Take a command line apart, and read the configuration files that it names.

    Args:
        given: The arguments, a command first.

    Raises:
        FileNotFoundError: There is no such configuration file or shipped recipe.
        ValueError: A file or the value of a flag is refused (`strict_yaml`), or a file holds no mapping.
    """
    command, *words = given
    configs: list[Config] = []
    flags: list[Flag] = []
    files: dict[str, str] = {}
    waiting = iter(range(len(words)))
    for place in waiting:
        word, following = words[place], words[place + 1] if place + 1 < len(words) else None
        is_value = following is not None and not _OPTION.match(following)
        if found := _CONFIG.fullmatch(word):
            path = found[1]
            if word in ("-c", "--config"):
                if not is_value:
                    raise ValueError("argument -c/--config: expected one argument")
                path = words[next(waiting)]
            configs.append(_config(path, files))
        elif word.startswith("--") and word != "--":
            name, equals, text = word[2:].partition("=")
            if not equals and is_value:
                text, equals = words[next(waiting)], "="
            flags.append(_flag(name if "." in name else name.replace("-", "_"), text if equals else None, files))
        else:
            flags.append(Flag("", word, _loaded(word, "an argument")))
    return Arguments(command, tuple(configs), tuple(flags), files, tuple(given))


def shorter_path(path: str | Path) -> str:
    """A path, from here where it is below."""
    here, full = Path.cwd(), Path(path).absolute()
    return str(full.relative_to(here) if full.is_relative_to(here) else full)


def _config(given: str, files: dict[str, str]) -> Config:
    path = shipped_file("configs", given)
    if path.stem.startswith(MACRO) and path.parent == shipped_folder("configs"):
        raise ValueError(
            f"{given} is a published macro and no recipe; --model.plan.preset {path.stem.removeprefix(MACRO)} takes it"
        )
    return Config(path, _with_files(_read(str(path)), "", path.parent, files))


def _read(path: str) -> dict[str, Any]:
    values = read_yaml(path)
    if not isinstance(values, dict):
        kind = "nothing" if values is None else f"a {type(values).__name__}"
        raise ValueError(f"{path} must hold a mapping of settings, got {kind}")
    found: dict[str, Any] = _with_columns(values, Path(path).parent)
    return found


def _with_columns(settings: Any, folder: Path) -> Any:
    """Settings where files of chips and measured columns that lie in the folder of their recipe are named from here."""
    if isinstance(settings, list):
        return [_with_columns(each, folder) for each in settings]
    if not isinstance(settings, dict):
        return settings
    found = {key: _with_columns(value, folder) for key, value in settings.items()}
    if isinstance(file := found.get("chip_file"), str) and (path := _file(folder, file)) is not None:
        found["chip_file"] = shorter_path(path)
    if isinstance(file := found.get("inl"), str) and (path := _file(folder, file)) is not None:
        found["inl"] = shorter_path(path)
    for arguments in (each for each in _as_list(found.get("column_args")) if isinstance(each, dict)):
        if isinstance(file := arguments.get("file"), str) and (path := _file(folder, file)) is not None:
            shipped = folder.absolute() == shipped_folder("configs").absolute()  # whose place differs by machine
            arguments["file"] = f"configs/{file}" if shipped else shorter_path(path)
    return found


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _flag(name: str, text: str | None, files: dict[str, str]) -> Flag:
    if text is None:
        return Flag(name)
    value = _loaded(text, f"`--{name}`")
    if name == _RUNNER and isinstance(value, str):
        return Flag(f"{name}.name", text, value)
    if name not in GROUPS:
        return Flag(name, text, value)
    group = _group(name, text if isinstance(value, str) else value, Path(), files)
    return Flag(name, text, value) if group == value else Flag(name, dump_yaml(group), group)


def _loaded(text: str, name: str) -> Any:
    """What a text says as YAML, or itself where it is none."""
    try:
        return load_yaml(text, name)
    except (NotYamlError, UnicodeEncodeError):  # the parser names the type; a path may be of other bytes than UTF-8
        return text


def _group(name: str, value: Any, folder: Path, files: dict[str, str]) -> Any:
    """What stands in place of a group of settings, read where it is a file."""
    if isinstance(value, str):
        if (path := _file(folder, value)) is None:
            return value
        files[name] = str(path)
        value, folder = _read(str(path)), path.parent
    return _with_files(value, f"{name}.", folder, files) if isinstance(value, dict) else value


def _with_files(settings: Mapping[Any, Any], above: str, folder: Path, files: dict[str, str]) -> dict[Any, Any]:
    """Settings of a group, where keys with dots, as in `model.trial: 1`, are mappings in one another."""
    found: dict[Any, Any] = {}
    for key, value in settings.items():
        found = _merged(found, _nested(key, value) if isinstance(key, str) else {key: value})
    for key, value in found.items():
        name = f"{above}{key}"
        if name not in GROUPS:
            continue
        if name == _RUNNER and isinstance(value, str):
            found[key] = {"name": value}
            continue
        if name != "data" and not isinstance(value, (dict, str)):
            hint = ", such as {keep: ['*']} for a float network" if name == "model.plan" else " of settings"
            given = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
            raise ValueError(f"`{name}` must be a mapping{hint}, got {given:.100}")
        found[key] = _group(name, value, folder, files)
    return found


def _file(folder: Path, given: str) -> Path | None:
    try:
        path = folder / given
        return path if "\0" not in given and path.is_file() else None
    except OSError:  # settings in a flag are longer than a name may be
        return None


def _nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: value}
    return value  # type: ignore[no-any-return]


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        there = found.get(key)
        if isinstance(value, Mapping) and isinstance(there, (Mapping, str)):
            # a text in place of settings is the name of a class
            found[key] = _merged({"class_path": there} if isinstance(there, str) else there, value)
        else:
            found[key] = value
    return found


def _is_saved(path: Path) -> bool:
    # a fit saves its configuration as runs/NAME/version_N/config.yaml
    return path.name == "config.yaml" and path.parent.name.startswith("version_")
