"""Calls of the native library: a structure with addresses of tensors, declared alike in a C++ source."""

import ctypes as C
import warnings
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from asim_lightning.engine.native.library import library, why_missing

SomeStructure = TypeVar("SomeStructure", bound="Structure")
ADDRESS, INT64, INT32, UINT32 = C.c_void_p, C.c_int64, C.c_int32, C.c_uint32


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


def fields(*named: tuple[str, Any]) -> list[tuple[str, Any]]:
    """Fields of a structure, from names with spaces between them and their type."""
    return [(name, kind) for names, kind in named for name in names.split()]


class Structure(C.Structure):
    """A structure of a C++ source: first its size, then the same fields in the same order."""

    _fields_ = fields(("bytes", INT64))

    @classmethod
    def of(cls: type[SomeStructure], *values: Any) -> SomeStructure:
        """The structure of these values; tensors and arrays are kept alive and passed by address."""
        found = cls(C.sizeof(cls), *map(_passed, values))
        found.held = values  # type: ignore[attr-defined]
        return found

    def call(self, name: str) -> None:
        """Call a function of the library.

        Raises:
            RuntimeError: The structure has another size in the library.
        """
        if getattr(best_library(), name)(C.byref(self)):
            raise RuntimeError(f"{type(self).__name__} has another size in the native library; build it again")


def _passed(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.data_ptr()
    return C.addressof(value) if isinstance(value, C.Array) else value


def threads_for(units: int, fewest: int) -> int:
    """Threads for units of work: all of torch's from ``2 * fewest`` units on, else 1."""
    return torch.get_num_threads() if units >= 2 * fewest else 1
