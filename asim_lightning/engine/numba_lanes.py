"""Sixteen 32-bit numbers as one value in Numba kernels, so that vector instructions are written and not hoped for.

Numba leaves vectorising to LLVM, which gives up on loops of unknown length with branches inside and falls back to one
number at a time in their last turns. Values of these types are LLVM vectors of 16 numbers whatever the machine: one
register of AVX-512, two of AVX2, four of NEON. Operations of `numba_words` and the operators ``+ - *`` take them, also
together with single numbers, which then serve all lanes.
"""

import operator
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.datamodel.registry import register_default
from numba.extending import intrinsic as _intrinsic
from numba.extending import overload

from asim_lightning.engine.lanes import LANES

intrinsic: Any = _intrinsic
_I32, _F32 = ir.IntType(32), ir.FloatType()
INTEGER_VECTOR, FLOAT_VECTOR = ir.VectorType(_I32, LANES), ir.VectorType(_F32, LANES)


class IntegerLanes(types.Type):
    """Numba's type of 16 integers of 32 bits, signed or not as the operation takes them."""

    def __init__(self) -> None:
        super().__init__(name="IntegerLanes")


class FloatLanes(types.Type):
    """Numba's type of 16 numbers in float32."""

    def __init__(self) -> None:
        super().__init__(name="FloatLanes")


integer_lanes, float_lanes = IntegerLanes(), FloatLanes()


@register_default(IntegerLanes)
class _IntegerModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, INTEGER_VECTOR)


@register_default(FloatLanes)
class _FloatModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOAT_VECTOR)


def is_lanes(kind: Any) -> bool:
    """Whether a type of Numba is one of 16 numbers."""
    return isinstance(kind, (IntegerLanes, FloatLanes))


def in_lanes(builder: Any, value: Any, kind: Any, vector: Any) -> Any:
    """A value of LLVM in all lanes, where it is not in lanes already."""
    if is_lanes(kind):
        return value
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_I32, 0))
    mask = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), mask)


def _float_operator(symbol: Any, build: Any) -> None:
    @intrinsic
    def operation(typing_context: Any, x: Any, y: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, y = (in_lanes(builder, a, kind, FLOAT_VECTOR) for a, kind in zip(arguments, signature.args, strict=True))
            return build(builder, x, y)

        scalar = {kind for kind in (x, y) if not isinstance(kind, FloatLanes)}
        return float_lanes(x, y) if scalar <= {types.float32} else None, code

    @overload(symbol, inline="always", strict=False)
    def of_lanes(x: Any, y: Any) -> Any:
        if isinstance(x, FloatLanes) or isinstance(y, FloatLanes):
            return lambda x, y: operation(x, y)
        return None


_float_operator(operator.add, lambda b, x, y: b.fadd(x, y))
_float_operator(operator.sub, lambda b, x, y: b.fsub(x, y))
_float_operator(operator.mul, lambda b, x, y: b.fmul(x, y))


def _pointer(builder: Any, context: Any, array: Any, kind: Any, index: Any, vector: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _vector_of(array: Any) -> Any:
    return (float_lanes, FLOAT_VECTOR) if array.dtype == types.float32 else (integer_lanes, INTEGER_VECTOR)


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """Sixteen consecutive elements of a contiguous array, from a flat index."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _vector_of(signature.args[0])[1]
        pointer = _pointer(builder, context, arguments[0], signature.args[0], arguments[1], vector)
        return builder.load(pointer, align=4)

    return _vector_of(array)[0](array, types.int64), code


@intrinsic
def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write 16 consecutive elements of a contiguous array, from a flat index."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _vector_of(signature.args[0])[1]
        pointer = _pointer(builder, context, arguments[0], signature.args[0], arguments[1], vector)
        builder.store(arguments[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, value), code


@intrinsic
def look_up(typing_context: Any, table: Any, places: Any) -> Any:
    """The elements of a contiguous float32 array at 16 places."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        values = ir.Constant(FLOAT_VECTOR, ir.Undefined)
        for lane in range(LANES):
            at = ir.Constant(_I32, lane)
            index = builder.zext(builder.extract_element(arguments[1], at), ir.IntType(64))
            values = builder.insert_element(values, builder.load(builder.gep(data, [index])), at)
        return values

    return float_lanes(table, places), code


@intrinsic
def zeros(typing_context: Any) -> Any:
    """Sixteen integers 0."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(INTEGER_VECTOR, [0] * LANES)

    return integer_lanes(), code


@intrinsic
def float_zeros(typing_context: Any) -> Any:
    """Sixteen numbers 0.0."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(FLOAT_VECTOR, [0.0] * LANES)

    return float_lanes(), code


_DOUBLE_VECTOR = ir.VectorType(ir.DoubleType(), LANES)


@intrinsic
def add_wide(typing_context: Any, array: Any, index: Any, value: Any, first: Any) -> Any:
    """Add 16 signed integers to consecutive elements of a contiguous float64 array, from a flat index; or write them
    there, where they are the first."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(builder, context, arguments[0], signature.args[0], arguments[1], _DOUBLE_VECTOR)
        value = builder.sitofp(arguments[2], _DOUBLE_VECTOR)
        total = builder.fadd(builder.load(pointer, align=8), value)
        builder.store(builder.select(arguments[3], value, total), pointer, align=8)
        return context.get_dummy_value()

    return types.void(array, types.int64, value, types.boolean), code


@intrinsic
def store_scaled(
    typing_context: Any, out: Any, index: Any, array: Any, place: Any, factor: Any, divisor: Any, other: Any
) -> Any:
    """Write ``array[place] * factor / divisor + array[other]`` of 16 consecutive elements of float64 arrays."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, index, array, place, factor, divisor, other = arguments
        kinds = signature.args
        value, added = (
            builder.load(_pointer(builder, context, array, kinds[2], at, _DOUBLE_VECTOR), align=8)
            for at in (place, other)
        )
        value = builder.fmul(value, in_lanes(builder, factor, kinds[4], _DOUBLE_VECTOR))
        value = builder.fdiv(value, in_lanes(builder, divisor, kinds[5], _DOUBLE_VECTOR))
        pointer = _pointer(builder, context, out, kinds[0], index, _DOUBLE_VECTOR)
        builder.store(builder.fadd(value, added), pointer, align=8)
        return context.get_dummy_value()

    scalars = (types.float64, types.float64, types.int64)
    return types.void(out, types.int64, array, types.int64, *scalars), code


@intrinsic
def everywhere(typing_context: Any, value: Any) -> Any:
    """One 32-bit integer in all lanes."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return in_lanes(builder, arguments[0], signature.args[0], INTEGER_VECTOR)

    return integer_lanes(value), code


@intrinsic
def element(typing_context: Any, array: Any, index: Any) -> Any:
    """One element of a contiguous array, from a flat index of 0 or more (Numba's own index checks for less)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load(builder.gep(data, [arguments[1]]))

    return array.dtype(array, types.int64), code


@intrinsic
def any_lane(typing_context: Any, value: Any) -> Any:
    """Whether any of 16 integers is not 0."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = builder.icmp_signed("!=", arguments[0], ir.Constant(INTEGER_VECTOR, [0] * LANES))
        bits = builder.bitcast(lanes, ir.IntType(LANES))
        return builder.icmp_signed("!=", bits, ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(value), code
