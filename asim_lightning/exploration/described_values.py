"""Values, classes and functions described by content, as JSON has them, for the keys of trials."""

import dataclasses
import enum
import functools
import hashlib
import math
import os
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PATHS = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
_INSTALLED = tuple(each + os.sep for path in (*_PATHS, PACKAGE) for each in (path, os.path.realpath(path)))
_SITES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Contents:
    """Describes plain values, classes and functions as JSON has them, and notes what it cannot describe."""

    def __init__(self) -> None:
        self.unknown: dict[str, None] = {}
        """What could not be described, such as "data: my.Data, whose code is in no file"."""
        self.packages: set[str] = set()
        """Top-level names of installed packages whose classes and functions were met."""
        self._met: set[object] = set()

    def of(self, value: object, where: str) -> object:
        """A value by content: numbers, texts, tensors, functions, and containers and dataclasses of them.

        What is not plain is noted in `unknown` under the name that the user knows it by.
        """
        try:
            return self.plain(value, where)
        except _NOT_PLAIN as error:
            self.unknown[f"{where}: {error}"] = None
            return {"unknown": str(error)}

    def plain(self, value: Any, where: str) -> Any:
        """A value as `of` has it; raises one of `_NOT_PLAIN` if there is no such description."""
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else repr(float(value))
        if isinstance(value, (torch.dtype, torch.device, complex, os.PathLike)):
            return str(value)
        if isinstance(value, enum.Enum):
            return [self.code(type(value), where), value.name]
        if isinstance(value, (Tensor, np.ndarray, np.generic)):
            return array_content(value)
        if type(value) in (list, tuple, torch.Size):
            return [self.plain(each, where) for each in value]
        if isinstance(value, (set, frozenset)):
            return sorted(self.plain(list(value), where), key=repr)
        if isinstance(value, Mapping) and all(type(key) is str for key in value):
            return {key: self.plain(each, f"{where}.{key}") for key, each in value.items()}
        if isinstance(value, Mapping):
            return self.plain(list(value.items()), where)
        if isinstance(value, functools.partial):
            return self.plain([value.func, value.args, value.keywords], where)
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
            return self.code(value, where)
        if dataclasses.is_dataclass(value):
            fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
            return [self.code(type(value), where), self.plain(fields, where)]
        raise _OpaqueError(f"a {type(value).__qualname__}, which is not plain")

    def code(self, value: Any, where: str) -> object:
        """A class or function by its full name, and what a function holds; its code is among the loaded files."""
        for each in value.__mro__ if isinstance(value, type) else [value]:
            self._meet(each, where)
        name = _name_of(value)
        if not isinstance(value, FunctionType):
            return name
        held = [*(cell.cell_contents for cell in value.__closure__ or ()), value.__defaults__, value.__kwdefaults__]
        return [f"{name}:{value.__code__.co_firstlineno}", self.plain(held, where)]

    def state(self, value: object, where: str) -> object:
        """A plain value, or class and attributes of an object, noted in `unknown` if a user's class has others."""
        with suppress(*_NOT_PLAIN):
            return self.plain(value, where)
        kind = self.code(type(value), where)
        if is_own(file_of(type(value).__module__)):
            return [kind, self.of(vars(value) if hasattr(value, "__dict__") else value, where)]
        try:
            return [kind, self.plain(vars(value), where)]
        except (TypeError, *_NOT_PLAIN):  # of a library, which its version stands for
            return kind

    def _meet(self, value: Any, where: str) -> None:
        """Note a class or function without a file, or the package that has it."""
        module = value.__module__ or "builtins"
        if value not in self._met and not _has_code(value, module):
            self.unknown[f"{where}: {_name_of(value)}, whose code is in no file"] = None
        elif value not in self._met and not is_own(file_of(module)):
            self.packages.add(module.partition(".")[0])
        self._met.add(value)


class _OpaqueError(Exception):
    """A value is not plain."""


_NOT_PLAIN = (_OpaqueError, RecursionError, ValueError)
"""Of values that are not plain, that hold themselves, and of functions that are not defined to their end."""


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
    """Path of a loaded module; empty if it has none."""
    loaded = sys.modules.get(module)
    file = vars(loaded).get("__file__") if isinstance(loaded, ModuleType) else None
    return file if isinstance(file, str) and os.path.isabs(file) else ""


def is_own(file: str) -> bool:
    """Whether a file is the user's: neither of Python nor installed, which versions stand for, nor of this package."""
    if not file or _SITES[0] in file or _SITES[1] in file or file.startswith(_INSTALLED):
        return False
    return os.path.isfile(file) and not os.path.realpath(file).startswith(_INSTALLED)


def _has_code(value: Any, module: str) -> bool:
    """Whether a class or function is Python's own or from the file of a loaded module."""
    if isinstance(value, FunctionType) and not os.path.isfile(value.__code__.co_filename):
        return value.__code__.co_filename.startswith("<frozen")
    if module == "builtins" and isinstance(value, type):
        return not value.__flags__ & 1 << 9  # as classes have that exec defines in a module without a name
    file = file_of(module)
    return os.path.isfile(file) if file else module.partition(".")[0] in sys.stdlib_module_names - {"__main__"}
