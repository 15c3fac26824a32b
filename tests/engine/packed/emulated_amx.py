"""AMX in plain arithmetic, so that the kernel that uses it is tested on processors that have none."""

import ctypes
import importlib.util
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import numba as nb
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from asim_lightning.engine import numba_amx
from asim_lightning.engine.openmp import openmp
from asim_lightning.engine.packed import conversion_amx

_MOST_THREADS = 256
_REGISTERS = np.zeros((_MOST_THREADS, 8, 16, 16), np.uint32)
_SIZE = _REGISTERS[0, 0].size
_njit: Any = nb.njit
_part = _njit(_nrt=False, error_model="numpy")


def _word(builder: Any, place: Any) -> Any:
    address = builder.add(ir.Constant(ir.IntType(64), _REGISTERS.ctypes.data), builder.mul(place, place.type(4)))
    return builder.inttoptr(address, ir.IntType(32).as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def _read(typing_context: Any, place: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_word(builder, arguments[0]))

    return types.uint32(types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def _write(typing_context: Any, place: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[1], _word(builder, arguments[0]))
        return context.get_dummy_value()

    return types.void(types.int64, types.uint32), code


def available() -> bool:
    """Whether threads can be told from each other, each of which has registers of its own."""
    return openmp() is not None


@lru_cache(maxsize=1)
def _number() -> Any:
    """A function that gives the number of the thread that calls it."""
    library = openmp()
    assert library is not None
    return ctypes.CFUNCTYPE(ctypes.c_int)(library.number_address)


def loaded(register: int) -> Any:
    number = _number()

    @_part
    def load(array: Any, index: int, step: int) -> None:
        own = (number() * 8 + register) * _SIZE
        for row in range(16):
            for word in range(16):
                _write(own + row * 16 + word, array[index + row * (step // 4) + word])

    return load


def stored(register: int) -> Any:
    number = _number()

    @_part
    def store(array: Any, index: int, step: int) -> None:
        own = (number() * 8 + register) * _SIZE
        for row in range(16):
            for word in range(16):
                array[index + row * (step // 4) + word] = _read(own + row * 16 + word)

    return store


def cleared(register: int) -> Any:
    number = _number()

    @_part
    def clear() -> None:
        own = (number() * 8 + register) * _SIZE
        for place in range(own, own + _SIZE):
            _write(place, 0)

    return clear


def multiplied(sums: int, left: int, right: int) -> Any:
    number, byte = _number(), np.uint32(255)

    @_part
    def multiply() -> None:
        own = number() * 8
        for row in range(16):
            for column in range(16):
                place = (own + sums) * _SIZE + row * 16 + column
                total = _read(place)
                for word in range(16):
                    one = _read((own + left) * _SIZE + row * 16 + word)
                    other = _read((own + right) * _SIZE + word * 16 + column)
                    for shift in range(0, 32, 8):
                        total += ((one >> np.uint32(shift)) & byte) * ((other >> np.uint32(shift)) & byte)
                _write(place, np.uint32(total))

    return multiply


@_part
def _nothing(registers: Any) -> None:
    pass


@_part
def _released() -> None:
    pass


_EMULATED = {
    "loaded": loaded, "stored": stored, "cleared": cleared, "multiplied": multiplied, "configure": _nothing,
    "release": _released,
}  # fmt: skip


def _compiled(signature: str, function: Any, allocates: bool = True) -> Any:
    """A kernel that is not kept on disk, where the real one would be taken for it."""
    kernel = _njit(nogil=True, error_model="numpy", _nrt=allocates)(function)
    kernel.compile(signature)
    kernel.disable_compile()
    return kernel


@lru_cache(maxsize=1)
def kernel() -> Any:
    """The packed engine's kernel, from a copy of its module that takes this for AMX."""
    spec = importlib.util.spec_from_file_location("emulated_conversion_amx", conversion_amx.__file__)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    with patch.multiple(numba_amx, **_EMULATED):
        spec.loader.exec_module(module)
    module.compiled = _compiled
    return module.kernel()
