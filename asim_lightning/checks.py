"""Checks of settings: each refuses a value in one sentence, with the allowed values and the given one."""

import importlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Config = TypeVar("Config", bound=DataclassInstance)

Base = TypeVar("Base")


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse a value that is not among the allowed names.

    Args:
        name: The setting's name for the user, such as "`model.fidelity`".
        value: The given value.
        allowed: The allowed names.

    Raises:
        ValueError: The value is not among them; the message gives the nearest name.
    """
    if value not in allowed:
        near = get_close_matches(value, allowed, n=1) if isinstance(value, str) else []
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}{hint}")


def check_kind(name: str, value: Any, kind: type, such_as: str) -> None:
    """Refuse a value of another class.

    Args:
        name: The argument's name for the user, such as "`plan`".
        value: The given value.
        kind: The class.
        such_as: An example of a right value, such as "Plan(macro=...)".

    Raises:
        TypeError: The value is of another class.
    """
    if not isinstance(value, kind):
        shown = repr(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
        raise TypeError(f"{name} must be a {kind.__name__}, such as {such_as}, got {shown}")


def check_flag(name: str, value: Any) -> None:
    """Refuse a value that is neither True nor False.

    Args:
        name: The setting's name for the user.
        value: The given value.

    Raises:
        ValueError: The value is something else, 0 and 1 included.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")


def check_whole(name: str, value: Any, low: int, high: int | None = None, also: str = "") -> None:
    """Refuse a value that is not a whole number in a range.

    Args:
        name: The setting's name for the user, such as "`model.trial`".
        value: The given value.
        low: Smallest allowed number.
        high: Largest allowed number; None: no limit.
        also: Words for other allowed values, such as " or null", which the caller has handled.

    Raises:
        ValueError: The value is not a whole number, or is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        allowed = f"{low} or more" if high is None else f"{low}..{high}"
        raise ValueError(f"{name} must be {allowed}{also}, got {value!r}")


def check_number(name: str, value: Any, high: float | None = None, low: float = 0, also: str = "") -> None:
    """Refuse a value that is not a finite number in a range.

    Args:
        name: The setting's name for the user, such as "`model.mixup`".
        value: The given value.
        high: Largest allowed number; None: no limit.
        low: Smallest allowed number.
        also: Words for other allowed values, such as " or null", which the caller has handled.

    Raises:
        ValueError: The value is not a number, or is out of range.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < low or (high is not None and value > high):
        allowed = f"{low:g} or more" if high is None else f"{low:g}..{high:g}"
        raise ValueError(f"{name} must be {allowed}{also}, got {value!r}")


def check_names(given: Iterable[Any], kind: "type[DataclassInstance]", where: str, what: str) -> None:
    """Refuse names that are not fields of a dataclass. Near names may also be fields of a field, such as static.trim.

    Args:
        given: The names.
        kind: The dataclass.
        where: The dataclass's name for the user, such as "macro".
        what: The right kind of name, such as "field of a macro".

    Raises:
        ValueError: A name is not a field; the message gives the nearest fields.
    """
    names = [each.name for each in fields(kind)]
    for name in given:
        if name not in names:
            inner = {
                below: f"{each.name}.{below}" for each in fields(kind) for below in _names_in(each.default_factory)
            }
            close = get_close_matches(str(name), [*names, *inner], n=2, cutoff=0.4)
            near = [inner.get(each, each) for each in close] or names
            raise ValueError(f"`{where}.{name}` is no {what}, nearest: {', '.join(near)}")


def _names_in(kind: object) -> list[str]:
    """Names of the fields of a dataclass; none for another object."""
    return [each.name for each in fields(kind)] if isinstance(kind, type) and is_dataclass(kind) else []


def named_fields(where: str, what: str, **taken: Callable[[Any], Any]) -> "Callable[[type[Config]], type[Config]]":
    """Decorator of a dataclass: its constructor refuses unknown names like `check_names`, and takes numpy's numbers
    like Python's.

    Args:
        where: The dataclass's name for the user, such as "macro".
        what: The right kind of name, such as "field of a macro".
        taken: Functions that convert the values of some fields, by name.
    """

    def decorated(kind: "type[Config]") -> "type[Config]":
        build, names = kind.__init__, [each.name for each in fields(kind)]

        def value_of(name: str, value: Any) -> Any:
            plain = value.item() if isinstance(value, np.generic) else value
            return taken[name](plain) if name in taken else plain

        @wraps(build)
        def init(self: "Config", *args: Any, **values: Any) -> None:
            check_names(values, kind, where, what)
            given = [value_of(name, value) for name, value in zip(names, args, strict=False)]
            build(self, *given, *args[len(names) :], **{name: value_of(name, value) for name, value in values.items()})

        kind.__init__ = init  # type: ignore[method-assign, assignment]
        return kind

    return decorated


def named_class(setting: str, name: Any, built_in: Mapping[str, type[Base]], base: type[Base]) -> type[Base]:
    """The class that a setting names: a built-in class, or a user's class by its import path.

    Args:
        setting: The setting's name for the user, such as "`macro.column`".
        name: A name of `built_in`, or an import path such as package.module.Class.
        built_in: Classes by name.
        base: The class that it must inherit.

    Raises:
        ValueError: There is no such class, or it does not inherit the base.
    """
    if isinstance(name, str) and name in built_in:
        return built_in[name]
    allowed = f"{', '.join(built_in)} or an import path such as package.module.Class"
    if not isinstance(name, str) or "." not in name:
        near = get_close_matches(str(name), built_in, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{setting} must be {allowed}, got {name!r}{hint}")
    module_name, _, class_name = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # the user's file may hold anything
        reason = f"{error}" if isinstance(error, (ImportError, AttributeError)) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{setting} must be {allowed}, got {name!r}, which cannot be imported: {reason}") from None
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"{setting} must be {allowed}, got {name!r}, which does not inherit {base.__name__}")
    return found


def built(kind: type[Base], supplied: Sequence[Any], arguments: Mapping[str, Any], setting: str, what: str) -> Base:
    """An object of a class that a setting names.

    Args:
        kind: The class.
        supplied: Its first arguments, which the user does not give.
        arguments: The user's arguments by name.
        setting: The name of the arguments for the user, such as "`macro.column_args`".
        what: The object's name for the user, such as "column charge".

    Raises:
        ValueError: The class does not take the arguments.
    """
    for name in check_arguments(kind, len(supplied), arguments, setting, what):
        raise ValueError(f"{setting.rstrip('`')}.{name}` must be given for {what}, got none")
    try:
        return kind(*supplied, **arguments)
    except TypeError as error:
        raise ValueError(f"{setting} does not fit {what}: {error}") from error


def check_arguments(
    kind: type[Base], supplied: int, arguments: Mapping[Any, Any], setting: str, what: str
) -> list[str]:
    """Refuse names that are no arguments of a class, see `built`; return the names of those that are missing.

    Args:
        supplied: Number of the first arguments, which the user does not give.
    """
    try:
        parameters = [*inspect.signature(kind).parameters.values()][supplied:]
    except ValueError:  # a class that is not written in Python
        return []
    open_ended = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    named = {each.name: each.default for each in parameters if each.kind not in open_ended}
    for name in arguments:
        if name not in named and len(named) == len(parameters):
            near = get_close_matches(str(name), named, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else ""
            has = ", ".join(named) or "none"
            raise ValueError(f"{setting.rstrip('`')}.{name}` is no argument of {what}, which has {has}{hint}")
    return [name for name, default in named.items() if default is inspect.Parameter.empty and name not in arguments]
