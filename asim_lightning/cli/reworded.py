"""What Lightning and jsonargparse say of classes that a user names, in this project's words."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module

from lightning.fabric.utilities.exceptions import MisconfigurationException

from asim_lightning.circuit import MacroConfig
from asim_lightning.evaluation.results import KINDS

_EARLY = "Early stopping conditioned on metric"
_TWICE = "Found more than one stateful callback"
_MONITORS = (
    (
        re.compile(r"`(\w+)\(monitor='([^']*)'\)` could not find the monitored key in the returned metrics: \[(.*?)\]"),
        "'",
    ),
    (
        re.compile(r"Early stopping conditioned on (metric) `([^`]*)` which is not available.* following: (.*)", re.S),
        "`",
    ),
)
_OWN_MODEL = re.compile(
    r"(?:option|Option) '(?:model\.)?(?:class_path|init_args)\b"
    r"|unrecognized arguments: --model\.(?:class_path|init_args)"
    r"|Parser key \"model\":\s+Unable to load config '(?!\S*\.ya?ml')"
)
_CLASS = re.compile(r"Problem with given class_path '([\w.]+)':\s+(\S.*)", re.S)
_NO_PACKAGE = re.compile(r"`(\w+)` is not installed|requires `(\w+)` to be installed")
_RULES, _COMPARE = "model.plan.rules", "compare"
_FIELDS = {_RULES: ("match", "macro", "signed_input"), _COMPARE: ("fidelity", "macro", "layers", "chip", "rules")}
_ALLOWED = {
    _RULES: "a list of mappings, such as {match: head, macro: {adc_bits: 10}}",
    _COMPARE: f"a list of {', '.join(KINDS)} or mappings, such as [float, {{macro: {{adc_bits: 7}}}}]",
}
_UNKNOWN = re.compile(r"Option '([\w.+-]+)' is not accepted")
_PLAIN = re.compile(r"Expected a dot import path string: (.*)")
_GIVEN = re.compile(r"(?:Given|Got) value: (.*)")
_LONGEST = 200


def is_refusal(error: Exception) -> bool:
    """Whether an error is about what the user wrote, has not installed or has no memory for, so that its message says
    enough."""
    if isinstance(error, RuntimeError):  # Lightning's for an unknown metric or a callback given twice have no class
        return str(error).startswith((_EARLY, _TWICE))
    return isinstance(error, (ValueError, OSError, MemoryError, MisconfigurationException, ModuleNotFoundError))


def reworded(message: str, key: str) -> str | None:
    """A message about a class of the user's choice in one sentence; None where it is about something else.

    Args:
        message: The message of Lightning or jsonargparse, which may have many lines.
        key: Full name of the setting that it is about; empty where it names none.
    """
    if _OWN_MODEL.search(message) and key in ("", "model"):
        return (
            "`model` is always a CimClassifier, which takes the timm network of `model.backbone.name` and puts it on "
            "macros; a network or LightningModule of your own does so in Python, by convert_ (README, In Python)"
        )
    if said := _entry(message, key):
        return said
    for pattern, quote in _MONITORS:
        if found := pattern.search(message):
            kind = "EarlyStopping" if found[1] == "metric" else found[1]
            return unknown_monitor(kind, found[2], re.findall(f"{quote}([^{quote}]+){quote}", found[3]))
    if found := _CLASS.search(message):
        return _class(found[1], found[2], key)
    if (found := _NO_PACKAGE.search(message)) and "pip install" not in message:
        said = " ".join(message.split()).split(". ")[0].removesuffix(".")
        return f"{said}: pip install {found[1] or found[2]}"
    if "cannot represent an object" in message and "Interval.step" in message:
        return "`trainer.callbacks` Timer needs its interval in words: --trainer.callbacks.interval step"
    return None


def unknown_monitor(kind: str, given: str, metrics: Sequence[str]) -> str:
    """That a callback monitors a metric that nothing logs.

    Args:
        kind: Name of the callback's class.
        given: Its monitor.
        metrics: What is logged.
    """
    near = get_close_matches(given, metrics, n=1, cutoff=0.5)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"`monitor` of {kind} must be a metric that is logged ({', '.join(metrics)}), got {given!r}{meant}"


def _folder(path: str, argument: str) -> str:
    """What an argument of a data module is, as far as its class says so."""
    module, _, name = path.rpartition(".")
    flag = f"--data.init_args.{argument}"
    try:
        tree = getattr(import_module(module), name).tree("FOLDER") if argument == "root" else ""
    except (ImportError, AttributeError):  # not one of ours
        tree = ""
    return f"{flag} FOLDER, with {tree}" if tree else f"{flag} VALUE"


def _class(path: str, problem: str, key: str) -> str | None:
    name = path.split(".")[-1]
    if found := re.match(r"the following arguments are required: ([\w, ]+)", problem):
        first = found[1].split(",")[0]
        if key == "data":
            return f"`data.init_args.{first}` is missing, which {name} needs: {_folder(path, first)}"
        return f"`{key}` {name} needs {found[1]}, as in --{key}.{first} VALUE"
    if found := re.match(r"Requirement '([^']+)' not met", problem):
        return f"{name} needs a package that is not installed: pip install '{found[1]}'"
    return None


def _entry(message: str, key: str) -> str | None:
    """What is wrong with an entry of `model.plan.rules` or `compare`, whose types jsonargparse takes for classes."""
    if key not in _FIELDS:
        return None
    if found := _UNKNOWN.search(message):
        return _unknown_field(key, found[1])
    given = _PLAIN.search(message) or _GIVEN.search(message)
    if given is None:
        return None
    value = given[1] if len(given[1]) <= _LONGEST else f"{given[1][:_LONGEST]}..."
    near = get_close_matches(value, KINDS, n=1, cutoff=0.75) if key == _COMPARE else []
    meant = f"; did you mean {f'[{value}]' if value in KINDS else near[0]}?" if near else ""
    return f"`{key}` must be {_ALLOWED[key]}, got {value}{meant}"


def _unknown_field(key: str, given: str) -> str:
    macro = {field.name: getattr(MacroConfig(), field.name) for field in fields(MacroConfig)}
    if given in macro:
        example = "match: head, " if key == _RULES else ""
        shown = f"{{{example}macro: {{{given}: {json.dumps(macro[given])}}}}}"
        return f"`{key}.{given}` is no setting: fields of a macro stand under `macro`, as in {shown}"
    names = _FIELDS[key]
    near = get_close_matches(given, names, n=1, cutoff=0.6)
    within = [f"macro.{name}" for name in get_close_matches(given, macro, n=2, cutoff=0.6)]
    return f"`{key}.{given}` is no setting; {_nearest(near or within, names)}"


def _nearest(near: Iterable[str], names: Iterable[str]) -> str:
    return f"nearest: {', '.join(near)}" if near else f"an entry has {', '.join(names)}"
