"""Values, classes and functions described by content, as plain JSON values, for the keys of trials."""

import copyreg
import dataclasses
import enum
import functools
import hashlib
import inspect
import math
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PATHS = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
_INSTALLED = tuple(each + os.sep for path in (*_PATHS, PACKAGE) for each in (path, os.path.realpath(path)))
_SITES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Contents:
    """Describes plain values, classes and functions as JSON values, and notes each value that it cannot describe."""

    def __init__(self) -> None:
        self.unknown: dict[str, None] = {}
        """Values that could not be described, such as "data: my.Data, whose code is in no file"."""
        self.packages: set[str] = set()
        """Top-level names of installed packages whose classes and functions were described."""
        self._met: dict[int, tuple[object, object]] = {}
        """By identity: a class, function or object, kept alive, and its description; its name while this is made."""

    def of(self, value: object, where: str, objects: bool = False) -> object:
        """A value by content: numbers, texts, tensors, functions, and containers and dataclasses of them.

        A value that is not plain is noted in `unknown` under `where`. With `objects`, an object is described by its
        class, its attributes, and the values that a copy of it is made of.
        """
        try:
            return self.plain(value, where, objects)
        except _NOT_PLAIN as error:
            self.unknown[f"{where}: {error}"] = None
            return {"unknown": str(error)}

    def plain(self, value: Any, where: str, objects: bool = False) -> Any:
        """The description as in `of`; raises one of `_NOT_PLAIN` if there is none."""
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else repr(float(value))
        if isinstance(value, (torch.dtype, torch.device, complex, bytes, range, slice, os.PathLike)):
            return str(value)
        if isinstance(value, enum.Enum):
            return [self.code(type(value), where), value.name]
        if isinstance(value, (Tensor, np.ndarray, np.generic)):
            return array_content(value)
        if type(value) in (list, tuple, torch.Size):
            return [self.plain(each, where, objects) for each in value]
        if isinstance(value, (set, frozenset)):
            return sorted(self.plain(list(value), where, objects), key=repr)
        if isinstance(value, Mapping) and all(type(key) is str for key in value):
            return {key: self.plain(each, f"{where}.{key}", objects) for key, each in value.items()}
        if isinstance(value, Mapping):
            return self.plain(list(value.items()), where, objects)
        if isinstance(value, (MethodType, staticmethod, classmethod)):
            return self.plain([value.__func__, getattr(value, "__self__", None)], where, objects)
        if isinstance(value, property):
            return self.plain([value.fget, value.fset], where, objects)
        if isinstance(value, functools.partial):
            return self.plain([value.func, value.args, value.keywords], where, objects)
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
            return self.code(value, where)
        if dataclasses.is_dataclass(value):
            fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
            return [self.code(type(value), where), self.plain(fields, where, objects)]
        if isinstance(value, RemovableHandle):  # its number counts the hooks of the process; modules have the hooks
            return self.code(type(value), where)
        if objects:
            return self._once(value, type(value).__qualname__, lambda: self._object(value, where))
        raise _OpaqueError(f"a {type(value).__qualname__}, which is not plain")

    def code(self, value: Any, where: str) -> object:
        """A class or function by its full name and content; its source is among the loaded files.

        A script may change the objects that a function names between two calls, and two functions may be on one line.
        So a user's function counts by its byte code and globals, a user's class by its methods and attributes.
        """
        return self._once(value, _name_of(value), lambda: self._code(value, where))

    def _once(self, value: object, name: str, describe: Callable[[], object]) -> object:
        """The description of a value, which may contain itself."""
        if id(value) not in self._met:
            self._met[id(value)] = value, name
            self._met[id(value)] = value, describe()
        return self._met[id(value)][1]

    def _code(self, value: Any, where: str) -> object:
        kinds = value.__mro__ if isinstance(value, type) else [value]
        for each in kinds:
            self._note_source(each, where)
        name = _name_of(value)
        if isinstance(value, type):
            own = [vars(kind) for kind in kinds if is_own(file_of(kind.__module__))]
            held = [
                [key, self.of(each, where, True)] for space in own for key, each in space.items() if _counts(key, each)
            ]
            return [name, held] if held else name
        if not isinstance(value, FunctionType):
            return name
        around = [each.cell_contents for each in value.__closure__ or ()]
        named = _named(value) if is_own(value.__code__.co_filename) else []
        inside = self.of([around, value.__defaults__, value.__kwdefaults__, vars(value), named], where, True)
        return [f"{name}:{value.__code__.co_firstlineno}", inside]

    def _object(self, value: Any, where: str) -> object:
        kind, held, parts = type(value), getattr(value, "__dict__", {}), list[object]()
        try:
            if not isinstance(value, nn.Module):
                # the values that a copy is made of: attributes lack slots and what C code holds
                made = copyreg.dispatch_table.get(kind, lambda each: each.__reduce_ex__(2))(value)
                parts = [made] if isinstance(made, str) else [[*x] if isinstance(x, Iterator) else x for x in made]
                is_whole = not isinstance(made, str) and not is_own(file_of(kind.__module__))
                held = {} if is_whole or any(each is held for each in parts) else held
            return [self.code(kind, where), self.plain([parts, held], where, True)]
        except (TypeError, *_NOT_PLAIN) as error:
            raise _OpaqueError(f"a {kind.__qualname__}, which is not plain") from error

    def _note_source(self, value: Any, where: str) -> None:
        """Note a class or function without a file, or its installed package."""
        module = value.__module__ or "builtins"
        if not _has_code(value, module):
            self.unknown[f"{where}: {_name_of(value)}, whose code is in no file"] = None
        elif not is_own(file_of(module)):
            self.packages.add(module.partition(".")[0])


class _OpaqueError(Exception):
    """A value is not plain."""


_NOT_PLAIN = (_OpaqueError, RuntimeError, ValueError)
"""Raised for a value that is not plain or contains itself, a compiled object, and a function still being defined."""


def _counts(name: str, value: object) -> bool:
    """Whether the user wrote an attribute of a class; Python makes some methods and tables for every class."""
    function = inspect.unwrap(value) if isinstance(value, FunctionType) else None
    return not name.startswith("__") or (function is not None and is_own(function.__code__.co_filename))


def _named(function: FunctionType) -> list[object]:
    """The byte code of a function and its inner functions, with their constants, names and globals.

    Of a user's module among the globals, only the named attributes are described.
    """
    codes = [function.__code__]
    for code in codes:
        codes += [each for each in code.co_consts if isinstance(each, CodeType)]
    names = [name for code in codes for name in code.co_names]
    named = [function.__globals__[name] for name in names if name in function.__globals__]
    modules = [each for each in named if isinstance(each, ModuleType) and is_own(file_of(each.__name__))]
    spaces = [function.__globals__, *map(vars, modules)]
    given = [[name, space[name]] for space in spaces for name in dict.fromkeys(names) if name in space]
    return [
        [code.co_code for code in codes],
        names,
        [each for code in codes for each in code.co_consts if not isinstance(each, CodeType)],
        [each for each in given if not isinstance(each[1], ModuleType)],
    ]


def _name_of(value: Any) -> str:
    return f"{value.__module__ or 'builtins'}.{value.__qualname__}"


def array_content(value: Any) -> list[object]:
    """Type, shape and digest of a tensor or array."""
    try:
        held = value.detach().cpu().contiguous() if isinstance(value, Tensor) else np.ascontiguousarray(value)
        content = held.flatten().view(torch.uint8).numpy() if isinstance(held, Tensor) else held.view(np.uint8)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise _OpaqueError(f"a {type(value).__name__} of type {value.dtype}") from error
    return [str(value.dtype), list(value.shape), hashlib.sha256(content.data).hexdigest()]


def file_of(module: str) -> str:
    """Path of a loaded module; empty if it has no file."""
    loaded = sys.modules.get(module)
    file = vars(loaded).get("__file__") if isinstance(loaded, ModuleType) else None
    return file if isinstance(file, str) and os.path.isabs(file) else ""


def is_own(file: str) -> bool:
    """Whether a file is the user's: not Python's, not in an installed package, and not in this package."""
    if not file or _SITES[0] in file or _SITES[1] in file or file.startswith(_INSTALLED):
        return False
    return os.path.isfile(file) and not os.path.realpath(file).startswith(_INSTALLED)


def _has_code(value: Any, module: str) -> bool:
    """Whether a class or function is Python's own or from the file of a loaded module."""
    if isinstance(value, FunctionType) and not os.path.isfile(value.__code__.co_filename):
        return value.__code__.co_filename.startswith("<frozen")
    if module == "builtins" and isinstance(value, type):
        return not value.__flags__ & 1 << 9  # set in classes that exec defines without a module name
    file = file_of(module)
    return os.path.isfile(file) if file else module.partition(".")[0] in sys.stdlib_module_names - {"__main__"}
