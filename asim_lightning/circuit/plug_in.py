"""Classes that a setting names: a built-in class, or a user's own by its import path."""

import importlib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any, TypeVar

Base = TypeVar("Base")


def named_class(setting: str, name: Any, built_in: Mapping[str, type[Base]], base: type[Base]) -> type[Base]:
    """The class that a setting names.

    Args:
        setting: What the user calls the setting, such as "`macro.column`".
        name: A name of `built_in`, or an import path such as package.module.Class.
        built_in: Classes by name.
        base: What the class must inherit.

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


def misfit(kind: type[Any], given: Iterable[str], supplied: int, error: TypeError) -> str:
    """Why a constructor does not take arguments: the arguments that it takes or needs, and what was given.

    Args:
        kind: The class.
        given: Names of the user's arguments.
        supplied: First parameters, which the user does not give.
        error: What Python said.
    """
    parameters = list(signature(kind).parameters.values())[supplied:]
    named = {p.name: p for p in parameters if p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)}
    unknown = [name for name in given if name not in named]
    if unknown and len(named) == len(parameters):
        return f"it takes {', '.join(named) or 'no arguments'}, got {unknown[0]!r}"
    missing = [name for name, p in named.items() if p.default is Parameter.empty and name not in given]
    return f"it needs {', '.join(missing)}, got {', '.join(given) or 'no arguments'}" if missing else str(error)
