"""Errors of jsonargparse in one line each, with similar names."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from inspect import signature
from pkgutil import resolve_name
from typing import Any, NoReturn

from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch.cli import LightningArgumentParser

from asim_lightning import data


class OneLineParser(LightningArgumentParser):
    """A parser that raises a ValueError instead of printing its usage, a tip and a tree of errors."""

    is_whole: bool = True
    """Whether all settings are parsed; if only some are, settings may be missing."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuse the user's input."""
        if not self.exit_on_error:  # jsonargparse tries one type after another
            super().error(message, ex)
        raise ValueError(one_line(message, self.get_defaults().keys())) from ex

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Check that no setting is missing or unknown, once all are parsed."""
        if self.is_whole:
            super().validate(*args, **kwargs)


_KEY = re.compile(r"Parser key \"([\w.+]+)\"")
_NO_OPTION = re.compile(r"(?:unrecognized arguments: --|(?:does not accept option|Option) ')([\w.+-]+)")
_MISSING = re.compile(r"the following arguments are required: (\w+)")
_CLASS = re.compile(r"Problem with given class_path '([\w.]+)'")
_NO_FILE = re.compile(r"Unable to load config '(.*?)'\s+- (.*)", re.S)
_EXPECTED = re.compile(r"Expected (?!a path but)(?:an? )?(<class .+?>|.+?)(?:\. Got value.*|: .*)?$", re.M)
_GIVEN = re.compile(r"(?:Got value|Given value|path string): (.*)")
_IMPORT = "dot import path string"
_REASON = re.compile(r"^\s*- (?!Expected|Does not validate|Problem|Not a valid|a class|a dict)(\S.*)$", re.M)


def one_line(message: str, known: Iterable[str] = ()) -> str:
    """An error of jsonargparse, which may be a tree of many lines, in one line.

    The three most frequent errors get this package's words: an unknown setting, a value of a wrong type, and a class
    without a needed argument, such as the folder of a data module.
    """
    name, kind = ".".join(dict.fromkeys(_KEY.findall(message))), _CLASS.search(message)
    if found := _NO_FILE.search(message):  # the value for a group of settings
        if "Unable to load config" in found[2]:
            return f"`{name}` must be a mapping of settings, or a YAML file of one, got {found[1]}"
        return f"{found[1]}: {one_line(found[2], known) if _KEY.search(found[2]) else ' '.join(found[2].split())}"
    of_class = f"{name}.init_args" if name == "data" else name
    if kind and (found := _MISSING.search(message)):
        return f"`{name}` {kind[1].rpartition('.')[2]} needs {found[1]}, as in --{of_class}.{found[1]} VALUE"
    if found := _NO_OPTION.search(message):
        if kind:
            arguments = signature(resolve_name(kind[1])).parameters
            return no_setting(f"{of_class}.{found[1]}", [f"{of_class}.{each}" for each in arguments])
        group = re.search(r"Group '([\w.]+)' does not accept", message)
        return no_setting(".".join(part for part in (name, group and group[1], found[1]) if part), known)
    reasons, given = _REASON.findall(message), _GIVEN.findall(message)
    if not name or not given:
        refused = reasons and "Does not validate against any" in message  # by the constructor of a class
        return reasons[0] if refused else " ".join(message.split())
    kinds = (re.sub(r"<class '(?:\w+\.)*(\w+)'>|typing\.", r"\1", each) for each in _EXPECTED.findall(message))
    allowed = " or ".join(dict.fromkeys(kinds)).replace("NoneType", "null").replace(_IMPORT, "a class's import path")
    allowed = re.sub(r"Literal\[(.*?)\]", r"one of \1", allowed)
    known = re.findall(r"'([\w.-]+)'", allowed) + (_classes() if "path" in message else [])
    words = (word for word in re.findall(r"[\w-]+", given[-1]) if word not in known)
    near = list(dict.fromkeys(each for word in words for each in get_close_matches(word, known, n=2)))
    meant = f"; nearest: {', '.join(near)}" if near else ""
    said = f"must be {allowed}, got {given[-1]}" if allowed not in ("", "null") else f"cannot be {given[-1]}"
    return f"`{name}` {said}{meant}" + (f": {reasons[0]}" if reasons else "")


def no_setting(given: str, known: Iterable[str]) -> str:
    """An error that a full name, such as model.plan.macro.adc_bit, is not a setting, with the nearest settings."""
    known, last = list(known), given.split(".")[-1]
    same = [name for name in known if name.split(".")[-1] == last]  # the right name in the wrong group
    near = get_close_matches(given, known, n=3, cutoff=0.8) or same[:3]
    return f"`{given}` is no setting" + (f"; nearest: {', '.join(near)}" if near else "")


def _classes() -> list[str]:
    """Names of the classes for which settings have short names."""
    from asim_lightning import callbacks  # imports matplotlib, which no other message needs

    return [*data.__all__, *callbacks.__all__, *lightning_callbacks.__all__]
