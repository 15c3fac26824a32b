"""The parser's errors in one line: what is wrong, what is allowed, what was given, near names."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from typing import Any, NoReturn

from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch.cli import LightningArgumentParser

from asim_lightning import data
from asim_lightning.cli.reworded import reworded

_TYPE = re.compile(r"<class '[^']*'>|[\w.]+\[(?:[^\[\]]|\[(?:[^\[\]]|\[[^\[\]]*\])*\])*\]|[\w.]+")
_BASE = re.compile(r"\n\s*- Problem with given class_path 'lightning\.Callback':\n.*?(?=\n\s*- )", re.S)
"""What jsonargparse says of the base class, to which it turns when a callback of the user's choice is refused."""
_INNER = re.compile(r"Problem with given class_path '[\w.]+':\n\s+(Parser key .*?\n\s*Given value: [^\n]*)", re.S)
_GROUP = re.compile(r"^Parser key .*?Unable to load config '.*'\n\s+- (Parser key (?!\S+ Unable to).*)", re.S)
"""What jsonargparse says of a group where one of its settings is refused."""
_WORDS = {
    "NoneType": ("null", "null"),
    "None": ("null", "null"),
    "int": ("an integer", "integers"),
    "float": ("a number", "numbers"),
    "bool": ("true or false", "true or false"),
    "str": ("a text", "texts"),
    "list": ("a list", "lists"),
    "dict": ("a mapping", "mappings"),
    "Namespace": ("a mapping", "mappings"),
    "Comparison": ("a mapping", "mappings"),
}
"""Types as a user knows them: one, and several."""
_LONGEST = 200
"""Most characters of a value that a message repeats."""


class UsageError(Exception):
    """What the user wrote cannot be used; the message is one line."""


class OneLineParser(LightningArgumentParser):
    """A parser that raises `UsageError` where others print their usage, a tip and a tree of errors."""

    known_settings: Sequence[str] = ()
    """Full names of all settings, for near names."""
    file_of: Callable[[str], str | None] = staticmethod(lambda name: None)
    """Gives the file, if any, that stands in place of a group and has a setting."""

    def _print_message(self, message: str, file: Any = None) -> None:
        # of help and version; argparse's own passes over an output that cannot be written
        print(message, end="", file=file or sys.stderr, flush=True)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuse what the user wrote.

        Raises:
            UsageError: Always.
        """
        if not self.exit_on_error:  # jsonargparse tries one type after another
            super().error(message, ex)
        message = _GROUP.sub(r"\1", message)
        file, said = self.file_of(_key(message)), one_line(message, self.known_settings)
        raise UsageError(f"{file}: {said}" if file else said)


def one_line(message: str, known: Iterable[str] = ()) -> str:
    """A message of jsonargparse or argparse, which may be a tree of many lines, in one readable line.

    Args:
        message: The message.
        known: Full names of all settings.
    """
    if message.startswith("Caught ") and (errors := re.findall(r"\n\w*Error: (.+)", message)):
        return one_line(errors[-1], known)  # a worker's traceback ends with what is wrong
    if said := reworded(message, _key(message)):
        return said
    if found := re.search(r"Key must be a string, got: (.*)\.", message):
        return f"A key of settings must be a text, got {found[1]}"
    if found := re.search(r"unrecognized arguments: (\S+)", message):
        given = found[1].split("=")[0]
        if given.startswith("--"):
            return no_setting(given[2:], known, "--")
        return f"{given!r} is no option: options look like --model.fidelity float"
    message = _BASE.sub("", message)
    return _wrong_key(message, known) or _wrong_value(message) or _reason(message) or " ".join(message.split())


def no_setting(given: str, known: Iterable[str], prefix: str = "") -> str:
    """That a name is no setting, and the names that it may have been, or that its group has.

    Args:
        given: Full name, such as model.plan.macro.adc_bit.
        known: Full names of all settings.
        prefix: What the user writes before a name.
    """
    known = list(known)
    group, parts = "", given.split(".")
    for part in parts:
        names = list(dict.fromkeys(n.removeprefix(group).split(".")[0] for n in known if n.startswith(group)))
        if part in names:
            group += part + "."
            continue
        near = [prefix + group + name for name in get_close_matches(part, names, n=3, cutoff=0.6)]
        if not near:  # the right name in the wrong place
            near = [prefix + name for name in known if name.split(".")[-1] == parts[-1]][:3]
        what = f"; nearest: {', '.join(near)}" if near else ""
        if not near and names:
            what = f"; {prefix}{group[:-1]} has {', '.join(names)}" if group else f"; there are {', '.join(names)}"
        return f"`{prefix}{given}` is no setting{what}"
    return f"`{prefix}{given}` cannot be set as a whole"


def _wrong_key(message: str, known: Iterable[str]) -> str | None:
    found = re.search(r"(?:does not accept option|Option) '([\w.+-]+)'", message)
    if not found:
        return None
    group = re.search(r"Group '([\w.]+)' does not accept", message)
    name = ".".join(part for part in (_key(message), group and group[1], found[1]) if part)
    paths = re.findall(r"Problem with given class_path '([\w.]+)'", message)
    if paths:  # a class of the user's choice, such as a data module: its arguments are the settings
        base = _key(message) + ".init_args."
        return no_setting(base + found[1].split(".")[-1], [base + argument for argument in _arguments(paths[-1])])
    return no_setting(name, known)


def _wrong_value(message: str) -> str | None:
    name = _key(message)
    if found := _INNER.search(message):  # the value of one argument of a class
        message = found[1]
    if not name:
        return None
    if found := re.search(r"Unable to load config '(.*)'", message):
        return f"`{name}` must be a mapping, or a YAML file of one, got {found[1]}"
    types, given = re.search(r"^ *Subtypes: \[(.*)\]$", message, re.M), re.findall(r"Given value: (.*)", message)
    if not types:
        types = re.search(r"Expected an? (?!path)(.*?)\. Got value: ", message) or re.search(
            r"Not a valid subclass of (\w+)", message
        )
        given = re.findall(r"Got value: (.*)", message)
    if not types or not given:
        return None
    nested = re.fullmatch(r"NestedArg\(key='.*?', val=(.*)\)", given[-1])
    value = nested[1] if nested else given[-1]
    value = "null" if value == "None" else value
    value = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
    reason = re.search(r"No module named .*|module '.*' has no attribute .*|Import path .* does not .*", message)
    words = list(dict.fromkeys(_words(kind) for kind in _TYPE.findall(types[1])))
    if len(words) > 1 and words[-1] == "null" and words[-2].endswith(" or null"):
        words.pop()
    allowed = " or ".join(words)
    near = _near_classes(name, value)
    meant = f"; nearest: {', '.join(near)}" if near else ""
    return f"`{name}` must be {allowed}, got {value}" + (f": {reason[0]}" if reason else "") + meant


def _near_classes(name: str, value: str) -> list[str]:
    """Classes that a setting takes and that may be meant, as they are written there."""
    if name == "data":
        known = {each: f"asim_lightning.data.{each}" for each in data.__all__}
    elif name == "trainer.callbacks":
        from asim_lightning import callbacks  # with matplotlib, which no other message needs

        known = {each: each for each in (*callbacks.__all__, *lightning_callbacks.__all__)}
    else:
        return []
    written = re.search(r"'class_path': '([\w.]+)'", value)
    given = (written[1] if written else value).split(".")[-1]
    return [known[each] for each in get_close_matches(given, known, n=2, cutoff=0.6)]


def _reason(message: str) -> str | None:
    """The reason that a class of several gave, where its values were refused."""
    reasons = re.findall(r"^\s*- (?!Expected|Does not validate|Problem)(.*)$", message, re.M)
    return reasons[0] if "Does not validate against any" in message and reasons else None


def _key(message: str) -> str:
    return ".".join(dict.fromkeys(re.findall(r"Parser key \"([\w.+]+)\"", message)))


def _words(kind: str, several: bool = False) -> str:
    name = kind.removeprefix("<class '").removesuffix("'>")
    if name.startswith("typing.Literal["):
        return "one of " + name[len("typing.Literal[") : -1].replace("'", "")
    if name.lower().startswith(("list[", "typing.list[")):
        return "a list of " + _inner_words(name)
    if name.startswith("typing.Union["):
        return _inner_words(name)
    name = name.split("[")[0].split(".")[-1]
    one, many = _WORDS.get(name, (f"a {name} (by its import path)", f"{name}s"))
    return many if several else one


def _inner_words(name: str) -> str:
    return " or ".join(_words(part, True) for part in _TYPE.findall(name[name.index("[") + 1 : -1]))


def _arguments(path: str) -> list[str]:
    module, _, name = path.rpartition(".")
    try:
        found: Any = getattr(import_module(module), name)
        return list(signature(found).parameters)
    except (ImportError, AttributeError, ValueError, TypeError):
        return []
