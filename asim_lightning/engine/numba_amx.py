"""AMX in Numba kernels: sums of products of 16 rows of bytes with 16 columns of bytes, of Intel's servers since 2023.

A register has a number that stands in the instruction, so each function here is made for certain registers. Each holds
16 rows of 64 bytes: the left side 64 bytes of each of 16 rows, the right side 4 bytes of each of 16 columns in a row,
the sums a 32-bit integer of each row and column.
"""

import ctypes
import platform
import sys
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from asim_lightning.engine.numba_features import compiles_for
from asim_lightning.engine.numba_lanes import intrinsic

_BYTE, _LONG = ir.IntType(8), ir.IntType(64)
_POINTER = _BYTE.as_pointer()
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18
"""Linux's system call, its ARCH_REQ_XCOMP_PERM and the state that AMX needs leave to use."""


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether the processor has AMX for bytes, Numba compiles for it, and the system lets this process use it."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    if not compiles_for("amx-tile", "amx-int8"):
        return False
    return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0)


def registers(rows: tuple[int, ...]) -> np.ndarray:
    """What `configure` takes: eight registers of so many rows (1..16) of 64 bytes. Fewer rows of
    the left side take less time. # (64,)"""
    numbers = np.zeros(64, np.uint8)
    numbers[0] = 1  # the only palette
    numbers[16:32:2], numbers[48:56] = 64, rows
    return numbers


def _call(builder: Any, name: str, *arguments: Any) -> None:
    module = builder.module
    if name not in module.globals:
        ir.Function(module, ir.FunctionType(ir.VoidType(), [a.type for a in arguments]), name)
    builder.call(module.globals[name], arguments)


def _address(context: Any, builder: Any, array: Any, kind: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _POINTER)


def _moved(instruction: str, register: int) -> Any:
    @intrinsic
    def move(typing_context: Any, array: Any, index: Any, step: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _address(context, builder, arguments[0], signature.args[0], arguments[1])
            _call(builder, instruction, ir.Constant(_BYTE, register), place, arguments[2])
            return context.get_dummy_value()

        return types.void(array, types.int64, types.int64), code

    return move


def loaded(register: int) -> Any:
    """A function of an array, a flat index and the bytes from row to row, which fills a register. Rows that do not
    begin at multiples of 64 bytes take seven times as long."""
    return _moved("llvm.x86.tileloadd64", register)


def stored(register: int) -> Any:
    """A function of an array, a flat index and the bytes from row to row, which writes a register there."""
    return _moved("llvm.x86.tilestored64", register)


def cleared(register: int) -> Any:
    """A function that sets a register to zeros."""

    @intrinsic
    def clear(typing_context: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _call(builder, "llvm.x86.tilezero", ir.Constant(_BYTE, register))
            return context.get_dummy_value()

        return types.void(), code

    return clear


def multiplied(sums: int, left: int, right: int) -> Any:
    """A function that adds to a register the products of two others, of unsigned bytes."""

    @intrinsic
    def multiply(typing_context: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _call(builder, "llvm.x86.tdpbuud", *(ir.Constant(_BYTE, number) for number in (sums, left, right)))
            return context.get_dummy_value()

        return types.void(), code

    return multiply


@intrinsic
def configure(typing_context: Any, numbers: Any) -> Any:
    """Take the registers into use, with the sizes of `registers`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _address(context, builder, arguments[0], signature.args[0], ir.Constant(_LONG, 0))
        _call(builder, "llvm.x86.ldtilecfg", place)
        return context.get_dummy_value()

    return types.void(numbers), code


@intrinsic
def release(typing_context: Any) -> Any:
    """Give the registers back, so that the system need not save them."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _call(builder, "llvm.x86.tilerelease")
        return context.get_dummy_value()

    return types.void(), code
