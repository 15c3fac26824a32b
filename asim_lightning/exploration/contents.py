"""Values of any kind as JSON by what is in them, so that equal ones give one text and others another."""

import copyreg
import enum
import functools
import hashlib
import json
import math
import os
import random
import sys
import threading
from collections.abc import Mapping, Set
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from asim_lightning.exploration.files import SMALL, file_content, folder_content
from asim_lightning.exploration.named import named_values
from asim_lightning.exploration.sources import NoSourceError, is_installed, source_content

_MOST_PATHS = 10_000
"""Strings of one record that are tried as paths: a list of a million file names has a folder that counts."""
_MOST_READ = 2**28
"""Bytes of such files that are read; beyond it, their sizes and times count."""
_LONG = 1000
"""Entries of a list or mapping beyond which its digest stands for it."""
_DEEPEST = 100
_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_LOADER = ("dataset", "batch_sampler", "sampler", "collate_fn", "drop_last")


class Contents:
    """Describes values by content, never by address, and notes what it cannot describe.

    Args:
        leave_out: Folder that does not count where it lies in one that does: that of the run itself.
    """

    def __init__(self, leave_out: str | Path | None = None) -> None:
        self.leave_out = leave_out
        self.unknown: dict[str, None] = {}
        """What could not be described, such as "data.transform: a function without source"."""
        self.packages: dict[str, None] = {}
        """Top-level names of installed packages whose classes and functions were met."""
        self._met: list[type | FunctionType] = []  # of the user's own, in the order met
        self._found: dict[int, object] = {}
        self._kept: list[object] = []  # or another object would get an address of before
        self._depth = 0
        self._paths = self._read = 0

    def described_elsewhere(self, value: object, name: str) -> None:
        """Stand for a value by a name wherever it is met."""
        self._kept.append(value)
        self._found[id(value)] = {"the": name}

    def named(self) -> dict[str, object]:
        """What all code of the user's own that was met reads beside its arguments, by full name; see `named_values`.

        It stands beside the code and not in it, so that a description does not depend on which code was met first.
        """
        found: dict[str, object] = {}
        for code in self._met:  # grows on the way
            for name, value in named_values(code):
                if name in found:
                    continue
                module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
                if isinstance(value, (ModuleType, type, FunctionType)) and is_installed(module or ""):
                    self._source(module or "", name)  # for its version
                else:
                    found[name] = self.of(value, name)
        return found

    def of(self, value: Any, where: str) -> object:
        """A value as JSON has it.

        Args:
            value: Any value.
            where: What the user calls it, for `unknown`.
        """
        if value is None or (isinstance(value, (bool, int)) and not isinstance(value, enum.Enum)):
            return value if value is None or type(value) in (bool, int) else int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else repr(float(value))
        if isinstance(value, (str, os.PathLike)) and not isinstance(value, enum.Enum):
            return self._text(os.fspath(value), where)
        if isinstance(value, (bytes, bytearray)):
            return {"bytes": _sha(bytes(value))}
        if isinstance(value, (torch.dtype, torch.device, torch.Size, complex, slice, range, type(...))):
            return repr(value)
        if isinstance(value, enum.Enum):
            return {**self._class(type(value), where), "member": value.name}
        if (type(value) is np.ndarray or isinstance(value, np.generic)) and value.dtype != object:
            return {"array": [str(value.dtype), list(value.shape), _sha(np.ascontiguousarray(value).tobytes())]}
        if id(value) not in self._found:
            self._kept.append(value)
            self._found[id(value)] = {"again": self._depth}  # where it holds itself
            if self._depth == _DEEPEST:
                return self._note(where, f"values within each other, more than {_DEEPEST} deep")
            self._depth += 1
            self._found[id(value)] = _shortened(self._structure(value, where))
            self._depth -= 1
        return self._found[id(value)]

    def _structure(self, value: Any, where: str) -> object:
        if isinstance(value, torch.Tensor):
            return self._tensor(value, where)
        if type(value) in (list, tuple):
            return [self.of(item, where) for item in value]
        if type(value) in (dict, MappingProxyType):
            return self._mapping(value, where)
        if isinstance(value, Set):
            return {"set": sorted((self.of(item, where) for item in value), key=repr)}
        if isinstance(value, type):
            return self._class(value, where)
        if isinstance(value, ModuleType):
            return {"module": value.__name__, **self._source(value.__name__, where)}
        if isinstance(value, FunctionType):
            return self._function(value, where)
        if isinstance(value, MethodType):
            return {"method": value.__name__, "of": self.of(value.__self__, where)}
        if isinstance(value, BuiltinFunctionType):
            return {"function": f"{value.__module__}.{value.__qualname__}"}
        if isinstance(value, functools.partial):
            return {"partial": [self.of(part, where) for part in (value.func, value.args, value.keywords)]}
        if isinstance(value, torch.Generator):
            return {"generator": self.of(value.get_state(), where)}
        if isinstance(value, random.Random):
            return {"random": _sha(repr(value.getstate()).encode())}
        if isinstance(value, _LOCKS):
            return {"lock": type(value).__name__}
        if isinstance(value, DataLoader):
            parts = {name: getattr(value, name, None) for name in _LOADER}
            return {**self._class(type(value), where), "state": self._mapping(parts, where)}
        if isinstance(value, torch.nn.Module):
            # torch's own attributes are empty in most modules
            parts = {k: v for k, v in vars(value).items() if not (k.startswith("_") and _is_empty(v))}
            return {**self._class(type(value), where), "state": self._mapping(parts, where)}
        return self._object(value, where)

    def _text(self, text: str | bytes, where: str) -> object:
        """A string, with what is behind it where it names a file, a folder or code of the user's own."""
        if isinstance(text, bytes):
            return {"bytes": _sha(text)}
        module, _, attribute = text.rpartition(".")
        code = getattr(sys.modules.get(module), attribute, None) if module else None
        if isinstance(code, (type, FunctionType)) and not is_installed(module):
            return {"name": text, "code": self.of(code, where)}
        if not 0 < len(text) < 4096 or "\n" in text or "\0" in text or self._paths >= _MOST_PATHS:
            return text
        self._paths += 1
        try:
            if os.path.isfile(text):
                self._read += min(os.path.getsize(text), SMALL)
                return {"path": text, **file_content(text, SMALL if self._read <= _MOST_READ else 0)}
            if os.path.isdir(text):
                return {"path": text, **folder_content(text, self.leave_out)}
        except OSError as error:
            self._note(where, f"{text}, which cannot be read ({error.strerror})")
        return text

    def _mapping(self, value: Mapping[Any, Any], where: str) -> object:
        if all(type(key) is str for key in value):
            return {key: self.of(item, f"{where}.{key}") for key, item in value.items()}
        return {"items": [[self.of(key, where), self.of(item, where)] for key, item in value.items()]}

    def _tensor(self, value: torch.Tensor, where: str) -> object:
        try:
            plain = value.detach().cpu().contiguous().flatten()
            content = _sha(plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
        except (RuntimeError, NotImplementedError, TypeError):
            return self._note(where, f"a tensor of layout {value.layout} on {value.device}")
        return {"tensor": [str(value.dtype), list(value.shape), content]}

    def _class(self, value: type, where: str) -> dict[str, object]:
        found: dict[str, object] = {"class": f"{value.__module__}.{value.__qualname__}"}
        for each in value.__mro__:
            found.update(self._source(each.__module__, where))
            self._meet(each)
        return found

    def _meet(self, code: type | FunctionType) -> None:
        if not is_installed(code.__module__ or "") and not any(code is each for each in self._met):
            self._met.append(code)

    def _source(self, module: str, where: str) -> dict[str, object]:
        if is_installed(module):
            self.packages[module.partition(".")[0]] = None
            return {}
        try:
            return {f"source of {module}": source_content(module)}
        except NoSourceError:
            self._note(where, f"of {module}, which has no source file")
        except OSError as error:
            self._note(where, f"of {module}, whose source cannot be read ({error.strerror})")
        return {}

    def _function(self, value: FunctionType, where: str) -> object:
        module = value.__module__ or ""
        if not is_installed(module) and not os.path.isfile(value.__code__.co_filename):
            return self._note(where, f"the function {value.__qualname__}, which has no source file")
        found: dict[str, object] = {"function": f"{module}.{value.__qualname__}", **self._source(module, where)}
        self._meet(value)
        # a module may hold several functions of one name, such as <lambda>
        found["code"] = self._code(value.__code__, where)
        try:
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
        except ValueError:
            return self._note(where, "a function whose closure is empty yet")
        found["holds"] = [
            self.of(part, where) for part in (cells, value.__defaults__, value.__kwdefaults__, vars(value))
        ]
        return found

    def _code(self, code: CodeType, where: str) -> object:
        constants = [self._code(c, where) if isinstance(c, CodeType) else self.of(c, where) for c in code.co_consts]
        return [_sha(code.co_code), list(code.co_names), constants]

    def _object(self, value: Any, where: str) -> object:
        """Class and state, as pickle takes them."""
        kind = self._class(type(value), where)
        try:
            registered = copyreg.dispatch_table.get(type(value))  # of compiled patterns and numpy's functions
            reduced = registered(value) if registered else value.__reduce_ex__(4)
        except Exception:  # whatever a class of a user's own raises
            return self._note(where, f"a {type(value).__qualname__}, whose state cannot be read")
        if isinstance(reduced, str):
            # what stands before a function, such as a cache of its answers
            return {**kind, "global": reduced, "function": self.of(getattr(value, "__wrapped__", None), where)}
        made, arguments, *rest = reduced
        state, items, pairs = (*rest, None, None, None)[:3]
        if type(value) is object:
            return self._note(where, f"a {type(value).__qualname__}, which has no state but its address")
        name = getattr(made, "__qualname__", repr(type(made)))
        parts = [name, self.of(tuple(arguments or ()), where), self._state(state, where)]
        parts += [self.of(list(each), where) for each in (items, pairs) if each is not None]
        return {**kind, "state": parts}

    def _state(self, state: Any, where: str) -> object:
        return self._mapping(state, where) if type(state) is dict else self.of(state, where)

    def _note(self, where: str, what: str) -> object:
        self.unknown[f"{where}: {what}"] = None
        return {"unknown": what}


def _shortened(content: object) -> object:
    """A long list or mapping by its digest, since a data set may hold a million names."""
    if isinstance(content, (list, dict)) and len(content) > _LONG:
        return {"entries": len(content), "sha256": _sha(json.dumps(content, sort_keys=True).encode())}
    return content


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, (dict, set)) and not value)


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
