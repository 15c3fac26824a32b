"""Names of settings: the ones there are, and the nearest to a wrong one."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import signature
from pkgutil import resolve_name
from typing import Any

from jsonargparse import ArgumentParser
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch import loggers

from asim_lightning import callbacks, data
from asim_lightning.cli.command_line import read_file_or_text

_SHORT = (data, callbacks, lightning_callbacks, loggers)
"""Modules whose classes have short names."""
_BY_SHORT_NAME = ("data", "trainer.callbacks")
"""Settings whose values without a dot are names of classes."""
_MOST = 3
"""Most names that a message suggests."""


@dataclass(frozen=True)
class Names:
    """Full names of the settings of a command, such as model.plan.macro.adc_bits."""

    settings: Mapping[str, Any]
    """Default of each setting."""
    groups: frozenset[str]
    """Groups of settings, such as model.plan."""

    @classmethod
    def of(cls, parser: ArgumentParser) -> "Names":
        """The names that a parser knows."""
        settings = dict(parser.get_defaults().items())
        return cls(settings, frozenset(parser.groups or ()) - settings.keys())

    @property
    def roots(self) -> set[str]:
        """First parts of the names."""
        return {name.split(".")[0] for name in self.settings}

    def setting_of(self, name: str) -> tuple[str, list[str]]:
        """The setting that a full name belongs to, and the parts of the name inside its value.

        Raises:
            ValueError: There is no such setting.
        """
        parts = name.split(".")
        for count in range(len(parts), 0, -1):
            if (setting := ".".join(parts[:count])) in self.settings:
                return setting, parts[count:]
        raise no_setting(name, self.settings)


def no_setting(given: str, known: Iterable[str]) -> ValueError:
    """The error that a full name is not a setting, with the nearest settings."""
    near = nearest(given, list(known))
    return ValueError(f"`{given}` is no setting" + (f"; nearest: {', '.join(near)}" if near else ""))


def nearest(given: str, known: list[str]) -> list[str]:
    """The known full names that are nearest to a wrong one: at most 3.

    Names of the same group that are similar in letters come first. Then come names with the same last part in another
    group; if there are none, names that have the last part as a whole word (`noise` is in random_noise); if there are
    none of these, too, names that are similar in letters.
    """
    group, _, last = given.rpartition(".")
    parts = {name: name.rpartition(".") for name in known}
    beside = {ending: name for name, (above, _, ending) in parts.items() if above == group}
    similar = [beside[each] for each in get_close_matches(last, beside, _MOST, 0.8)]
    same = [name for name in known if parts[name][2] == last]
    same = get_close_matches(given, same, len(same) or 1, 0.0)  # the nearest group first
    inside = [name for name in known if last in parts[name][2].split("_")]
    inside.sort(key=lambda name: not (group and name.startswith(f"{group}.")))  # of the same group first
    near = [*similar, *(same or inside or get_close_matches(given, known, _MOST, 0.8))]
    return list(dict.fromkeys(near))[:_MOST]


def class_of(name: str) -> Any:
    """The class of an import path, or of the short name of a class of this package or Lightning; None: not known."""
    if "." not in name:
        return next((getattr(module, name) for module in _SHORT if name in module.__all__), None)
    with suppress(ImportError, AttributeError, ValueError):
        return resolve_name(name)
    return None


def arguments_of(kind: type) -> list[str]:
    """Names of the arguments of a class, with those that it passes on to its parents."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, fail_untyped=False)
    return list(dict.fromkeys(name.split(".")[0] for name in parser.get_defaults().keys()))  # noqa: SIM118


def check_arguments(name: str, value: Any) -> None:
    """Refuse unknown classes and arguments in a setting, such as the data module or the callbacks of the trainer."""
    for spec in _specs(value):
        kind, given = class_of(path := str(spec["class_path"])), spec.get("init_args") or {}
        if kind is None and "." not in path and name in _BY_SHORT_NAME:
            near = get_close_matches(path, {each for module in _SHORT for each in module.__all__}, _MOST, 0.7)
            others = f"; nearest: {', '.join(near)}" if near else ", and other classes need their import path"
            raise ValueError(f"`{name}` knows no class {path}{others}")
        known_here = isinstance(kind, type) and isinstance(given, Mapping)  # else the parser refuses them
        if not known_here or given.keys() <= signature(kind).parameters.keys():
            continue
        above = f"{name}.init_args" if name == "data" else name
        known = arguments_of(kind)
        for each in given:
            if each not in known:
                raise no_setting(f"{above}.{each}", [f"{above}.{argument}" for argument in known])


def _specs(value: Any) -> Iterator[Mapping[str, Any]]:
    """Classes with arguments in a value; looking for a class by its short name imports it, as the parser needs it."""
    value = read_file_or_text(value) if isinstance(value, str) else value
    if isinstance(value, str) and value.isidentifier():
        yield {"class_path": value}
    elif isinstance(value, Mapping) and "class_path" in value:
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _specs(each)
