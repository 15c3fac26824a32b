"""Sixty-four bytes as one value in Numba kernels: 16 integers of `numba_lanes`, taken byte by byte.

The instruction that looks up 16 bytes at a time in a table of 16 bytes stands behind these: x86's ``pshufb``.
"""

import platform
from typing import Any

from llvmlite import ir
from numba.core import types

from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.numba_features import compiles_for
from asim_lightning.engine.numba_lanes import INTEGER_VECTOR, integer_lanes, intrinsic

_I32 = ir.IntType(32)
_BYTES, _HALVES = ir.VectorType(ir.IntType(8), 4 * LANES), ir.VectorType(ir.IntType(16), 2 * LANES)
_FOUR = ir.VectorType(_I32, 4)
_NOTHING = 128
"""An index at which a table has 0."""


def available() -> bool:
    """Whether the processor looks up bytes, 32 or 64 at a time."""
    return platform.machine().lower() in ("x86_64", "amd64") and compiles_for("avx2")


def _looked_up(builder: Any, table: Any, index: Any) -> Any:
    """Bytes of `table` at the places that `index` holds, each 16 bytes with a table of their own."""
    width, name = (64, "llvm.x86.avx512.pshuf.b.512") if compiles_for("avx512bw") else (32, "llvm.x86.avx2.pshuf.b")
    kind, module = ir.VectorType(ir.IntType(8), width), builder.module
    if name not in module.globals:
        ir.Function(module, ir.FunctionType(kind, [kind, kind]), name)

    def part(value: Any, low: int) -> Any:
        return _shuffled(builder, value, range(low, low + width))

    parts = [builder.call(module.globals[name], [part(table, b), part(index, b)]) for b in range(0, 64, width)]
    return parts[0] if len(parts) == 1 else _shuffled(builder, parts[0], range(64), parts[1])


def _shuffled(builder: Any, value: Any, places: Any, other: Any = None) -> Any:
    mask = ir.Constant(ir.VectorType(_I32, len(places)), list(places))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined) if other is None else other, mask)


def _four(context: Any, builder: Any, array: Any, kind: Any, index: Any) -> Any:
    """Four consecutive 32-bit integers of a contiguous array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.load(builder.bitcast(builder.gep(data, [index]), _FOUR.as_pointer()), align=4)


@intrinsic
def load_four_times(typing_context: Any, array: Any, index: Any) -> Any:
    """Four consecutive 32-bit integers of a contiguous array, from a flat index, four times."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _shuffled(
            builder, _four(context, builder, arguments[0], signature.args[0], arguments[1]), [0, 1, 2, 3] * 4
        )

    return integer_lanes(array, types.int64), code


@intrinsic
def look_up_bytes(typing_context: Any, tables: Any, index: Any) -> Any:
    """Bytes of four tables of 16 bytes, at places from 0 to 15: each 16 bytes of `index` have a table of their own."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        tables, index = (builder.bitcast(argument, _BYTES) for argument in arguments)
        return builder.bitcast(_looked_up(builder, tables, index), INTEGER_VECTOR)

    return integer_lanes(tables, index), code


@intrinsic
def store_sums(typing_context: Any, tables: Any, place: Any, digits: Any, at: Any) -> Any:
    """Write four tables of the sums of any of four bytes: ``sum_b bit_b(n) * byte_b``, n from 0 to 15, at most 255.

    They are of four words of four bytes, from a flat index of `digits`, and stand from one of `tables`, 16 bytes each.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        tables, place, digits, at = arguments
        four = _four(context, builder, digits, signature.args[2], at)
        words = builder.bitcast(_shuffled(builder, four, [word for word in range(4) for _ in range(4)]), _BYTES)
        total = None
        for bit in range(4):
            places = [bit if n >> bit & 1 else _NOTHING for n in range(16)] * 4
            bytes_ = _looked_up(builder, words, ir.Constant(_BYTES, places))
            total = bytes_ if total is None else builder.add(total, bytes_)
        data = context.make_array(signature.args[0])(context, builder, tables).data
        builder.store(total, builder.bitcast(builder.gep(data, [place]), _BYTES.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(tables, types.int64, digits, types.int64), code


@intrinsic
def store_low_bytes(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write the lowest byte of 16 integers, in the order 0, 8, 1, 9, ..., from a flat index of a contiguous array of
    32-bit integers."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.VectorType(ir.IntType(8), LANES)
        order = [place // 2 + place % 2 * 8 for place in range(LANES)]
        bytes_ = builder.trunc(_shuffled(builder, arguments[2], order), kind)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        builder.store(bytes_, builder.bitcast(builder.gep(data, [arguments[1]]), kind.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, value), code


def _in_parts(build: Any, kind: Any) -> Any:
    """A function of two values that works part by part, in parts of a type of LLVM."""

    @intrinsic
    def operation(typing_context: Any, x: Any, y: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, y = (builder.bitcast(argument, kind) for argument in arguments)
            return builder.bitcast(build(builder, x, y), INTEGER_VECTOR)

        return integer_lanes(x, y), code

    return operation


add_bytes = _in_parts(lambda b, x, y: b.add(x, y), _BYTES)
add_halves = _in_parts(lambda b, x, y: b.add(x, y), _HALVES)
sub_halves = _in_parts(lambda b, x, y: b.sub(x, y), _HALVES)


def _shifted(name: str) -> Any:
    """A function that shifts each half of 16 bits by 8."""

    @intrinsic
    def shift(typing_context: Any, x: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            halves = builder.bitcast(arguments[0], _HALVES)
            return builder.bitcast(getattr(builder, name)(halves, ir.Constant(_HALVES, [8] * 32)), INTEGER_VECTOR)

        return integer_lanes(x), code

    return shift


high_bytes, to_high_bytes = _shifted("lshr"), _shifted("shl")


def _widened(fourth: int) -> Any:
    """A function of two values that takes 8 of the 32 halves of 16 bits of one, and then of the other."""

    @intrinsic
    def widen(typing_context: Any, x: Any, y: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, y = (builder.bitcast(argument, _HALVES) for argument in arguments)
            low = range(8 * fourth, 8 * fourth + 8)
            return builder.zext(_shuffled(builder, x, [*low, *(32 + place for place in low)], y), INTEGER_VECTOR)

        return integer_lanes(x, y), code

    return widen


widened_halves = tuple(_widened(fourth) for fourth in range(4))
