"""Digests of values, classes and functions by their content, for the keys of trials."""

import functools
import hashlib
import inspect
import io
import os
import pickle
import re
import sys
import sysconfig
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from torchmetrics import Metric

from asim_lightning.nn.quantized import QuantizedLayer
from asim_lightning.surgery.conversion_report import KEPT

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PATHS = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
_FOLDERS = [re.escape(each + os.sep) for path in (*_PATHS, PACKAGE) for each in (path, os.path.realpath(path))]
_INSTALLED = re.compile("|".join([r".*[\\/](site|dist)-packages[\\/]", *_FOLDERS]))
_PLAIN = {type(None), bool, int, float, complex, str, bytes, tuple, list, dict}
"""Types that stand as they are in a pickle."""
_ATTRIBUTES = {
    CodeType: ("co_code", "co_names", "co_consts"), MethodType: ("__func__", "__self__"), property: ("fget", "fset"),
    functools.cached_property: ("func",), staticmethod: ("__func__",), classmethod: ("__func__",),
    type(functools.cache(len)): ("__wrapped__",),
}  # fmt: skip
"""Attributes of values that pickle does not take, or not by content."""
_NO_LAYER_SETTING = {
    "name", "has_range", "_assignment", "_bits", "warned", "fidelity", "_train_noise", "_has_train_noise",
    "_train_noise_model", "max_elements", "engine", "_steps", "_held", "pool", "first_tile",
}  # fmt: skip
"""Attributes of our layers that a point has or sets, or that change no simulated answer."""


class Contents:
    """Digests of values by content, and a line on each value that has none.

    Python's pickle goes through containers and objects, so that an object counts by its class and by all that it
    holds. Pickle knows classes and functions by name only, and networks in too much detail; these are described here.
    """

    def __init__(self) -> None:
        self.unknown: dict[str, None] = {}
        """Values without a digest, such as "data: my.Data, whose code is in no file"."""
        self._where, self._depth = "", 0
        self._met: dict[int, tuple[object, str | int]] = {}
        """By identity: a part, kept alive, and its digest; while this is made, how deep in the whole value it is."""

    def of(self, value: object, where: str) -> str:
        """The digest of a value; a value without one is noted in `unknown` under `where`."""
        self._where, self._depth, self._met = where, 0, {}
        try:
            return self._digest((value,))
        except Exception as error:  # of any kind: objects may define their own pickling
            self.unknown[f"{where}: {type(error).__name__}: {error}"] = None
            return ""

    def part(self, value: object) -> str:
        """The digest of a value within another one, which may be within itself."""
        _, known = self._met.get(id(value), (None, None))
        if isinstance(known, str):
            return known
        if known is not None:
            return f"the value {self._depth - known} levels above"
        self._depth += 1
        self._met[id(value)] = value, self._depth
        found = self._digest(self._described(value))
        self._depth -= 1
        self._met[id(value)] = value, found
        return found

    def _digest(self, value: object) -> str:
        content = io.BytesIO()
        _Pickler(content, value, self).dump(value)
        return hashlib.sha256(content.getbuffer()).hexdigest()

    def _described(self, value: Any) -> object:
        """What a value is, for pickle: the value itself if pickle describes it by content."""
        if isinstance(value, Tensor):
            held = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
            return str(value.dtype), tuple(value.shape), hashlib.sha256(held.data).digest()
        if isinstance(value, (set, frozenset)):
            return type(value), sorted(self._digest((each,)) for each in value)
        if type(value) in _ATTRIBUTES:
            return type(value), [getattr(value, name) for name in _ATTRIBUTES[type(value)]]
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, BuiltinFunctionType):
            return self._named(value), value.__self__
        if isinstance(value, (Metric, RemovableHandle)):  # they hold sums of a test, and a number in this process
            return type(value)
        if isinstance(value, nn.Module):
            return self._module(value)
        if isinstance(value, ModuleType) and not is_own(file_of(value.__name__)):
            return value.__name__
        return str(value) if isinstance(value, (torch.dtype, torch.device)) else value

    def _class(self, value: type) -> object:
        """A class by its name, and a user's class by methods and attributes, too, because a script may change them."""
        own = [vars(kind) for kind in value.__mro__ if is_own(file_of(kind.__module__))]
        held = [[name, each] for space in own for name, each in sorted(space.items()) if _counts(name, each)]
        return list(map(self._named, value.__mro__)), held

    def _function(self, value: FunctionType) -> object:
        """A function by its name; a user's function by byte code, too, because two functions may be on one line, and by
        its globals, because a script may change them."""
        around = [each.cell_contents for each in value.__closure__ or ()]
        inside = around, value.__defaults__, value.__kwdefaults__, vars(value)
        own = [value.__code__, _globals_of(value)] if is_own(value.__code__.co_filename) else []
        return self._named(value), value.__code__.co_firstlineno, inside, own

    def _module(self, module: nn.Module) -> object:
        """A network: class, attributes, hooks, tensors and parts."""
        usual = LightningModule() if isinstance(module, LightningModule) else nn.Module()  # a trainer wraps one
        idle = {*vars(usual), KEPT, *(_NO_LAYER_SETTING if isinstance(module, QuantizedLayer) else ())}
        has_state = hasattr(module, "__getstate__") and not _is_users(module)  # a user's may leave anything out
        state = module.__getstate__() if has_state else vars(module)
        attributes = [[name, each] for name, each in sorted(state.items()) if name not in idle]
        hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        return type(module), attributes, hooks, module._parameters, module._buffers, module._modules

    def _named(self, value: Any) -> list[str]:
        """Full name of a class or function, and its package's version; one without a file is noted."""
        module = value.__module__ or "builtins"
        name = f"{module}.{value.__qualname__}"
        if not _has_code(value, module):
            self.unknown[f"{self._where}: {name}, whose code is in no file"] = None
        return [name, str(getattr(sys.modules.get(module.partition(".")[0]), "__version__", ""))]


class _Pickler(pickle.Pickler):
    """Pickles a value with digests in place of its parts."""

    def __init__(self, file: io.BytesIO, value: object, contents: Contents) -> None:
        super().__init__(file, 4)
        self.fast = True  # else bytes would depend on which equal texts are one object
        self._whole, self._contents = [value], contents

    def persistent_id(self, value: object) -> str | None:
        """The digest of a part; None if it stands as it is."""
        if type(value) in _PLAIN:
            return None
        if self._whole and value is self._whole[0]:
            self._whole = []  # it may be within itself
            return None
        return self._contents.part(value)

    def reducer_override(self, value: Any) -> Any:
        """What pickle takes for a user's object, and its attributes, which methods of its class may leave out."""
        if isinstance(value, (type, FunctionType)) or not _is_users(value):
            return NotImplemented
        made = value.__reduce_ex__(4)
        return made if isinstance(made, str) else (*made[:2], [getattr(value, "__dict__", None), *made[2:3]], *made[3:])


def _is_users(value: object) -> bool:
    return is_own(file_of(type(value).__module__))


def _counts(name: str, value: object) -> bool:
    """Whether the user wrote an attribute of a class; Python makes some methods and tables for every class."""
    function = inspect.unwrap(value) if isinstance(value, FunctionType) else None
    is_written = function is not None and is_own(function.__code__.co_filename)
    return is_written or not (name.startswith("__") or name == "_abc_impl")


def _globals_of(function: FunctionType) -> object:
    """Globals that a function and its inner functions name; of a user's module, only the named attributes."""
    codes = [function.__code__]
    for code in codes:
        codes += [each for each in code.co_consts if isinstance(each, CodeType)]
    names = sorted({name for code in codes for name in code.co_names})
    found = [(name, function.__globals__[name]) for name in names if name in function.__globals__]
    own = [vars(each) for _, each in found if isinstance(each, ModuleType) and is_own(file_of(each.__name__))]
    found += [(name, space[name]) for space in own for name in names if name in space]
    return [each for each in found if not isinstance(each[1], ModuleType)]


def file_of(module: str) -> str:
    """Path of a loaded module; empty if it has no file."""
    loaded = sys.modules.get(module)
    file = vars(loaded).get("__file__") if isinstance(loaded, ModuleType) else None
    return file if isinstance(file, str) and os.path.isabs(file) else ""


def is_own(file: str) -> bool:
    """Whether a file is the user's: not Python's, not in an installed package, and not in this package."""
    if not os.path.isfile(file) or _INSTALLED.match(file):
        return False
    return not _INSTALLED.match(os.path.realpath(file))


def _has_code(value: Any, module: str) -> bool:
    """Whether a class or function is Python's own or from the file of a loaded module."""
    if isinstance(value, FunctionType) and not os.path.isfile(value.__code__.co_filename):
        return value.__code__.co_filename.startswith("<frozen")
    if module == "builtins" and isinstance(value, type):
        return not value.__flags__ & 1 << 9  # set in classes that exec defines without a module name
    file = file_of(module)
    return os.path.isfile(file) if file else module.partition(".")[0] in sys.stdlib_module_names - {"__main__"}
