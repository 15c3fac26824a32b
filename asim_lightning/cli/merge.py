"""Settings merged as plain mappings: each level, such as a recipe or the flags, over those below it.

A level is a list of full names and values, each of a setting and not of a group. A value replaces the value below it. A
class with arguments keeps the arguments that are not given, if it takes them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from jsonargparse import Namespace

from asim_lightning.circuit.units import share_of_supply, supply_share
from asim_lightning.cli.command_line import load_yaml, read_file_or_text, read_text, shorter_path
from asim_lightning.cli.setting_names import Names, arguments_of, class_of

Level: TypeAlias = list[tuple[str, Any]]
_CLASS, _ARGUMENTS, _OTHERS = "class_path", "init_args", "dict_kwargs"
_CLASSES = ("data", "model")
"""Settings that may be classes, next to those of the trainer."""
_FULL_SCALE = "full_scale_mv"
_SUFFIXES = (".yaml", ".yml", ".json")


def level_of(settings: Mapping[str, Any], names: Names, folder: Path = Path(), above: str = "") -> Level:
    """The level of nested mappings, such as those of a recipe.

    Args:
        settings: Nested mappings; a group may be the name of a YAML file of its settings.
        names: The known names.
        folder: Where these files are, and YAML files in place of values.
        above: Beginning of all names, with a dot at its end.

    Raises:
        ValueError: A name is unknown, or a group is not a mapping.
    """
    found: Level = []
    for key, value in settings.items():
        name = f"{above}{key}"
        if name in names.groups:
            inside, beside = _group(name, value, folder)
            found += level_of(inside, names, beside, f"{name}.")
        else:
            names.setting_of(name.removesuffix("+"))
            found.append((name, _beside(value, folder)))
    return found


def level_of_flags(flags: Sequence[str], names: Names) -> Level:
    """The level of ``--NAME VALUE`` and ``--NAME=VALUE``; values are texts, which the parser reads.

    Raises:
        ValueError: A name is unknown, a value is missing, or a word is not an argument.
    """
    found, words = Level(), iter(flags)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            raise ValueError(f"unrecognized arguments: {word}")
        if name not in names.groups:
            names.setting_of(name.removesuffix("+"))
        if not equals and (value := next(words, "--")).startswith("--"):
            raise ValueError(f"argument --{name}: expected one argument")
        found += level_of({name: value}, names)
    return found


def merge_(settings: dict[str, Any], level: Level, names: Names) -> None:
    """Put a level over nested settings, in place."""
    for name, value in level:
        setting, inside = names.setting_of(name.removesuffix("+"))
        *groups, last = setting.split(".")
        place = settings
        for group in groups:
            place = place.setdefault(group, {})
        below, is_class = place.get(last), setting in _CLASSES or groups == ["trainer"]
        if inside:
            place[last] = _with_part(below, inside, value, is_class)
        elif name.endswith("+"):
            place[last] = [*_listed(below), *_listed(value)]
        else:
            place[last] = _over(below, value) if is_class else value


def value_at(settings: Mapping[str, Any], name: str) -> Any:
    """The value of a full name in nested mappings; None if there is none."""
    found: Any = settings
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def plain(value: Any) -> Any:
    """A value with texts of flags as the numbers, lists and mappings that they stand for."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else read_text(value)


def _group(name: str, value: Any, folder: Path) -> tuple[Mapping[str, Any], Path]:
    """The settings of a group, from a mapping, its text or its file, and the folder of files in them."""
    given, file = value, folder / value if isinstance(value, str) else folder
    try:
        if isinstance(value, str):
            value = load_yaml(file.read_text(encoding="utf-8") if file.is_file() else value)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"`{name}` {given} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, Mapping):
        got = "null" if given is None else given
        raise ValueError(f"`{name}` must be a mapping of settings, or a YAML file of one, got {got!s:.100}")
    return value, file.parent if isinstance(given, str) and file.is_file() else folder


def _beside(value: Any, folder: Path) -> Any:
    """A value with YAML files that are in a folder relative to the working folder."""
    if isinstance(value, Mapping):
        return {key: _beside(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [_beside(each, folder) for each in value]
    is_file = isinstance(value, str) and value.endswith(_SUFFIXES) and (folder / value).is_file()
    return shorter_path(folder / value) if is_file else value


def _over(below: Any, value: Any) -> Any:
    """A value over another one; a class keeps the arguments that are not given, if it takes them."""
    if isinstance(value, Mapping) and _CLASS not in value and isinstance(below, str):
        below = _class_of_text(below)
    if not isinstance(below, Mapping) or _CLASS not in below:
        return value
    value = _class_of_text(value) if isinstance(value, str) else value
    if not isinstance(value, Mapping) or not isinstance(value.get(_ARGUMENTS) or {}, Mapping):
        return value  # the parser may refuse it
    if not {_CLASS, _ARGUMENTS, _OTHERS} & value.keys():
        value = {_ARGUMENTS: value}
    before, after = below[_CLASS], value.get(_CLASS, below[_CLASS])
    arguments = dict(below.get(_ARGUMENTS) or {})
    if before != after and class_of(before) is not (kind := class_of(after)):
        known = arguments_of(kind) if isinstance(kind, type) else [*arguments]  # the parser refuses no class
        below, arguments = {}, {name: each for name, each in arguments.items() if name in known}
    for name, each in (value.get(_ARGUMENTS) or {}).items():
        arguments[name] = _over(arguments.get(name), each)
    return {**below, **value, _CLASS: after, _ARGUMENTS: arguments}


def _class_of_text(text: str) -> Any:
    """A class with arguments, from its name, its mapping as a text, or a file of it; another text is left as it is."""
    value = read_file_or_text(text)
    return {_CLASS: value} if isinstance(value, str) and ("." in value or class_of(value)) else value


def _with_part(below: Any, parts: list[str], value: Any, is_class: bool) -> Any:
    """A setting's value with another part, named by the parts of its name; of a list, in the last entry."""
    if isinstance(below, list) and below:
        return [*below[:-1], _with_part(below[-1], parts, value, is_class)]
    if isinstance(below, str):
        below = _class_of_text(below) if is_class else read_text(below)
    inside = dict(below) if isinstance(below, Mapping) else {}
    if not (is_class or _CLASS in inside):
        name, *rest = parts
        inside[name] = _with_part(inside.get(name), rest, value, False) if rest else read_text(value)
        return inside
    if parts[0] not in (_CLASS, _ARGUMENTS, _OTHERS):
        parts = [_ARGUMENTS, *parts]
    if len(parts) == 1:
        return _over(inside, {parts[0]: value if parts[0] == _CLASS else read_text(value)})
    where, name, *rest = parts
    arguments = dict(inside.get(where) or {})
    before = arguments.get(name)
    arguments[name] = _with_part(before, rest, value, False) if rest else _over(before, value)
    return inside | {where: arguments}


def _listed(value: Any) -> list[Any]:
    """The entries that a value adds to a list."""
    found = read_text(value)
    if isinstance(found, list):
        return found
    return [] if found is None else [found if isinstance(found, Mapping) else value]


def settle_full_scale(config: Namespace, recipes: Sequence[Mapping[str, Any]], preset: str) -> None:
    """Give the macro its full scale in place: the first one of an axis, because noise in mV needs one before a point
    gives its own, and the supply of a share such as "0.8 supply".

    Args:
        config: All settings of a command.
        recipes: Settings of the recipes, whose technology counts for commands without one.
        preset: Name of the technology by default.
    """
    search, macro = config.get("search"), config.model.plan.macro
    for axes in (config.get("axes"), search and search.space):
        values = (axes or {}).get(_FULL_SCALE)
        if values and macro.get(_FULL_SCALE) is None:  # the study refuses other values
            macro[_FULL_SCALE] = values.get("low") if isinstance(values, Mapping) else next(iter(values))
    share = supply_share(macro.get(_FULL_SCALE))
    if share is not None and share[1] is None:
        from asim_lightning.cost import Technology  # few recipes give a share of a supply

        own, given = config.get("technology"), {"preset": preset}
        for key, value in (pair for recipe in recipes for pair in recipe.items()):
            root, _, name = str(key).partition(".")
            if root == "technology":
                given.update({name: value} if name else value or {})
        technology = own.as_dict() if isinstance(own, Namespace) else given
        macro[_FULL_SCALE] = share_of_supply(share[0], Technology(**technology).volts)
