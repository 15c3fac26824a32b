"""Calls of the native library: a structure with addresses of tensors, as the C++ sources declare it."""

import ctypes as C
import re
import warnings
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from asim_lightning.engine.native.backend import sources
from asim_lightning.engine.native.library import library, why_missing

SomeStructure = TypeVar("SomeStructure", bound="Structure")
_NUMBERS: dict[str, Any] = {
    "int64_t": C.c_int64, "int32_t": C.c_int32, "uint32_t": C.c_uint32, "float": C.c_float, "double": C.c_double,
}  # fmt: skip


@lru_cache(maxsize=1)
def best_library() -> C.CDLL | None:
    """The library of the processor's best level; None, with one warning, if there is none."""
    why = why_missing()
    if why is not None:
        warnings.warn(f"torch's operations simulate instead of C++ kernels, many times slower: {why}", stacklevel=2)
        return None
    return library()


def is_there(x: Tensor) -> bool:
    """Whether the library can compute with a tensor."""
    return x.device.type == "cpu" and best_library() is not None


@lru_cache(maxsize=1)
def _all_sources() -> str:
    return re.sub("//.*", "", "".join(path.read_text() for path in sources()))


def declared(structure: str, **inner: type[C.Structure]) -> list[tuple[str, Any]]:
    """Fields of a structure, in order: its lines ``type name, *name, name[number];`` in the C++ sources.

    Args:
        structure: Its name there.
        inner: Structures inside it, by their names there.
    """
    found: list[tuple[str, Any]] = []
    _, *rest = _all_sources().split(f"struct {structure} {{")
    if len(rest) != 1:
        raise ValueError(f"the C++ sources must declare the structure {structure} once, and do so {len(rest)} times")
    for kind, names in re.findall(r"(?:const )?(\w+)([^;]+);", re.split("[{}]", rest[0])[0]):
        for name, size in re.findall(r"(\**\s*\w+)(?:\[(\d+)\])?", names):
            own = C.c_void_p if "*" in name else (_NUMBERS | inner)[kind]
            found.append((name.strip("* "), own * int(size) if size else own))
    return found


class Structure(C.Structure):
    """A structure of the C++ sources."""

    @classmethod
    def of(cls: type[SomeStructure], *values: Any) -> SomeStructure:
        """The structure of these values; tensors and arrays are kept alive and passed by address."""
        found = cls(*map(_passed, values))
        found.held = values  # type: ignore[attr-defined]
        return found

    def call(self, name: str, level: str | None = None) -> None:
        """Call a function of the library of a level; None: the best one."""
        getattr(best_library() if level is None else library(level), name)(C.byref(self))


@lru_cache
def _structure(name: str) -> type[Structure]:
    return type(name, (Structure,), {"_fields_": declared(name)})


def call(function: str, structure: str, *values: Any) -> Structure:
    """Call a function of the best library with a structure, whose fields have these values; gives the structure."""
    job = _structure(structure).of(*values)
    job.call(function)
    return job


def _passed(value: Any) -> Any:
    if isinstance(value, int):  # most are, and the next question takes longest
        return value
    if isinstance(value, Tensor):
        return value.data_ptr()
    return C.addressof(value) if isinstance(value, C.Array) else value


def threads_for(units: int, fewest: int) -> int:
    """Threads for units of work: all of torch's from ``2 * fewest`` units on, else 1."""
    return torch.get_num_threads() if units >= 2 * fewest else 1
