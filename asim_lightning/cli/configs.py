"""Configuration files: found by path or name, and one file for every command."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import yaml

from asim_lightning.cli.strict_yaml import check_yaml, read_yaml
from asim_lightning.resources import shipped_file

_FLAGS = ("-c", "--config")


def resolve_configs(args: list[str]) -> list[str]:
    """The arguments, with each ``-c NAME`` turned into the path of a file or of a shipped recipe.

    Raises:
        FileNotFoundError: There is no such recipe.
    """
    split: list[str] = []
    for argument in args:
        if argument.startswith("--config="):
            split += argument.split("=", 1)
        elif argument.startswith("-c") and len(argument) > 2:
            split += ["-c", argument[2:].removeprefix("=")]
        else:
            split.append(argument)
    for place, (flag, value) in enumerate(pairwise(split)):
        if flag in _FLAGS:
            split[place + 1] = str(shipped_file("configs", value))
    return split


def configs_first(args: list[str], command: str) -> list[str]:
    """The arguments, with a command's configuration files before its flags, each in the order given.

    Arguments count in their order, and a flag is to win over a file wherever it stands.
    """
    start = args.index(command) + 1
    files: list[str] = []
    others: list[str] = []
    waiting = iter(args[start:])
    for argument in waiting:
        if argument in _FLAGS:
            files += [argument, *islice(waiting, 1)]
        else:
            others.append(argument)
    return [*args[:start], *files, *others]


def run_name(args: list[str]) -> str:
    """Name of a run: the last configuration file's, without suffix; "default" where there is none."""
    path = _last_config(args)
    if path is None:
        return "default"
    return path.parent.parent.name if _is_saved(path) else path.stem


def checkpoint_of_run(args: list[str]) -> str | None:
    """The checkpoint of the run whose saved configuration comes last: best.ckpt, else the newest; None without one."""
    path = _last_config(args)
    if path is None or not _is_saved(path):
        return None
    folder = path.parent / "checkpoints"
    found = sorted(folder.glob("*.ckpt"), key=lambda file: (file.stem == "best", file.stat().st_mtime))
    return shorter_path(found[-1]) if found else None


def shorter_path(path: str | Path) -> str:
    """A path, from here where it is below."""
    here, full = Path.cwd(), Path(path).absolute()
    return str(full.relative_to(here) if full.is_relative_to(here) else full)


def _last_config(args: list[str]) -> Path | None:
    paths = [value for flag, value in pairwise(args) if flag in _FLAGS]
    return Path(paths[-1]).absolute() if paths else None


def _is_saved(path: Path) -> bool:
    # a fit saves its configuration as runs/NAME/version_N/config.yaml
    return path.name == "config.yaml" and path.parent.name.startswith("version_")


def names_data(args: list[str]) -> bool:
    """Whether a flag or a configuration file says which data module is used.

    Args:
        args: The arguments, configuration files by path or as YAML.
    """
    if any(each.split("=")[0] in ("--data", "--data.class_path") for each in args):
        return True
    for flag, value in pairwise(args):
        if flag in _FLAGS:
            values = yaml.safe_load(value) if "\n" in value else read_config(value)
            data = values.get("data")
            if isinstance(data, str) or (isinstance(data, dict) and "class_path" in data):
                return True
    return False


def check_values(args: list[str]) -> None:
    """Refuse values of flags that no YAML file may hold; what is no YAML is left to the parser, which names the type.

    Args:
        args: The arguments.

    Raises:
        ValueError: One is refused.
    """
    flag = ""
    for argument in args:
        name, _, value = argument.partition("=") if argument.startswith("--") else (flag, "", argument)
        flag = name
        with suppress(yaml.YAMLError, UnicodeEncodeError):  # a path may be of other bytes than UTF-8
            check_yaml(value, f"`{name}`" if name else "an argument")
        if name not in (*_FLAGS, "--to"):  # what is written may hold anything before
            _check_named_file(value)


def without_other_commands_keys(args: list[str], keys: Mapping[str, set[str]]) -> list[str]:
    """The arguments, where a configuration file's keys for other commands are left out.

    So one file serves every command: a recipe's axes are there for sweep, and do not disturb validate.

    Args:
        args: The arguments, configuration files by path.
        keys: Keys of each command that other commands may not have.

    Raises:
        ValueError: A file is not YAML or holds something other than a mapping.
    """
    mine = next((keys[word] for word in args if word in keys), set())
    others = set().union(*keys.values()) - mine
    kept = list(args)
    for place, (flag, path) in enumerate(pairwise(args)):
        if flag in _FLAGS:
            values = read_config(path)
            if others & set(values):
                values = {key: value for key, value in values.items() if key not in others}
                kept[place + 1] = yaml.safe_dump(values, sort_keys=False)
    return kept


def read_config(path: str) -> dict[str, Any]:
    """The settings in a file.

    Raises:
        ValueError: The file is not YAML, is refused (`strict_yaml`) or holds something other than a mapping.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        kind = "nothing" if values is None else f"a {type(values).__name__}"
        raise ValueError(f"{path} must hold a mapping of settings, got {kind}")
    _check_named_files(values, Path(path).parent)
    return values


def check_group_files(args: list[str], groups: Collection[str]) -> None:
    """Refuse files that stand in place of groups of settings, as in --model.plan FILE, and hold something else.

    The parser says of none which it is.

    Args:
        args: The arguments, configuration files by path.
        groups: Full names of the settings that may be files.

    Raises:
        ValueError: One is refused; it is named.
    """
    flag = ""
    for argument in args:
        name, equals, value = argument.partition("=") if argument.startswith("-") else (flag, "", argument)
        flag = "" if equals else argument
        if name in _FLAGS:
            if Path(value).is_file():
                _check_groups_in(read_config(value), "", Path(value).parent, groups)
        elif name.removeprefix("--") in groups:
            _check_group_file(value)


def _check_groups_in(settings: dict[str, Any], above: str, folder: Path, groups: Collection[str]) -> None:
    for key, value in settings.items():
        name = f"{above}{key}"
        if isinstance(value, dict):
            _check_groups_in(value, f"{name}.", folder, groups)
        elif isinstance(value, str) and name in groups:
            _check_group_file(str(folder / value))


def _check_group_file(path: str) -> None:
    with suppress(OSError):  # settings in a flag are longer than a name may be
        if "\0" in path or not Path(path).is_file():
            return
        read_config(path)


def _check_named_files(value: Any, folder: Path) -> None:
    """Refuse files that settings name, such as `model: {plan: plan.yaml}`, as the parser says of none which it is."""
    if isinstance(value, str):
        _check_named_file(value)
        _check_named_file(str(folder / value))
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            _check_named_files(each, folder)


def _check_named_file(path: str) -> None:
    if path.endswith((".yaml", ".yml")) and "\0" not in path and Path(path).is_file():
        read_yaml(path)
