"""What code of the user's own reads beside its arguments: globals that it names, attributes of classes, files."""

import dataclasses
import enum
import functools
import os
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from asim_lightning.exploration.sources import is_installed

_ENVIRONMENT = {"environ", "getenv"}


def named_values(code: type | FunctionType) -> Iterator[tuple[str, object]]:
    """Values that a class or function of the user's own depends on, by full name.

    Of a class: its attributes, what its methods hold, and what they name. Of a function: what it names, in its module
    and in the user's modules that it names, the environment's variables and the files among its strings. What it holds
    itself, such as default arguments, `Contents` describes.
    """
    if isinstance(code, FunctionType):
        yield from _named_by(code)
        return
    prefix = f"{code.__module__}.{code.__qualname__}"
    for name, value in list(vars(code).items()):
        if issubclass(code, enum.Enum) and name.startswith("_"):
            continue  # Python's own tables of the members
        functions = [each for each in _functions(value) if not _is_generated(each, code)]
        for number, function in enumerate(functions):
            held = (*_held(function, code), function.__defaults__, function.__kwdefaults__)
            if any(each is not None for each in held):
                yield f"{prefix}.{name}" + (f" {number}" if number else ""), held
            yield from _named_by(function)
        is_pythons = (name.startswith("__") and name.endswith("__")) or name == "_abc_impl"
        if functions or is_pythons or hasattr(type(value), "__get__") or _holds_its_code(value, _file_of(code)):
            continue
        yield f"{prefix}.{name}", value


def _functions(value: Any) -> Iterator[FunctionType]:
    """Functions behind an attribute of a class: a method, a property, what a decorator wrapped."""
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, property):
        yield from (each for each in (value.fget, value.fset) if isinstance(each, FunctionType))
    elif isinstance(value, functools.cached_property):
        yield from _functions(value.func)
    elif isinstance(value, (staticmethod, classmethod)) or hasattr(type(value), "__get__"):
        yield from _functions(getattr(value, "__wrapped__", None))


def _is_generated(function: FunctionType, owner: type) -> bool:
    """Whether a dataclass wrote it, from fields that its source has."""
    return dataclasses.is_dataclass(owner) and function.__code__.co_filename in ("<string>", dataclasses.__file__)


def _held(function: FunctionType, owner: type) -> Iterator[object]:
    for cell in function.__closure__ or ():
        try:
            if cell.cell_contents is not owner:  # which super() holds
                yield cell.cell_contents
        except ValueError:  # empty
            continue


def _named_by(function: FunctionType) -> Iterator[tuple[str, object]]:
    names, strings = _names(function.__code__)
    file = function.__code__.co_filename
    known = function.__globals__
    prefix = known.get("__name__") or ""
    if is_installed(prefix):
        return  # a package's decorator, which holds the user's function
    for name in sorted(names & known.keys()):
        value = known[name]
        if isinstance(value, ModuleType) and not is_installed(value.__name__):
            for each in sorted(names & vars(value).keys()):
                if not isinstance(vars(value)[each], ModuleType):
                    yield f"{value.__name__}.{each}", vars(value)[each]
        elif value is not os.environ and not _holds_its_code(value, file):
            yield f"{prefix}.{name}", value
    for text in sorted(strings):
        if names & _ENVIRONMENT and text in os.environ:
            yield f"os.environ.{text}", os.environ[text].encode()  # which names no file
        for path in dict.fromkeys((text, os.path.join(os.path.dirname(file), text))):
            if _is_file(path) and os.path.realpath(path) != os.path.realpath(file):
                yield f"file {path}", path


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """Names and strings in a function and in those that it defines."""
    names, strings = set(code.co_names), {each for each in code.co_consts if isinstance(each, str)}
    for each in code.co_consts:
        if isinstance(each, CodeType):
            more_names, more_strings = _names(each)
            names, strings = names | more_names, strings | more_strings
    return names, strings


def _is_file(path: str) -> bool:
    return 0 < len(path) < 4096 and "\0" not in path and os.path.isfile(path)


def _file_of(code: type) -> str | None:
    return next((each.__code__.co_filename for value in vars(code).values() for each in _functions(value)), None)


def _holds_its_code(value: object, file: str | None) -> bool:
    """Whether a value is the path of a folder that code stands in: runs and caches change it, and source counts."""
    if file is None or not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes):
        return False
    folder = os.path.realpath(os.fspath(value))
    return os.path.isdir(folder) and os.path.realpath(file).startswith(folder.rstrip(os.sep) + os.sep)
