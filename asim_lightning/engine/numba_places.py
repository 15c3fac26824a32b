"""Elements of an array at the places of 16 lanes, in Numba kernels."""

from typing import Any

from llvmlite import ir
from numba.core import types

from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.numba_features import compiles_for
from asim_lightning.engine.numba_lanes import INTEGER_VECTOR, integer_lanes, intrinsic

_INT, _LONG = ir.IntType(32), ir.IntType(64)
_LONG_VECTOR = ir.VectorType(_LONG, LANES)
HAS_WINDOWS = compiles_for("avx512f")
"""Whether an instruction takes elements from any places of two registers."""


@intrinsic
def distances(typing_context: Any, places: Any, first: Any) -> Any:
    """``places[first + lane] - places[first]`` of a contiguous array of int64, as unsigned integers of 32 bits."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.gep(data, [arguments[1]])
        nothing = ir.Constant(_LONG_VECTOR, ir.Undefined)
        own = builder.insert_element(nothing, builder.load(pointer), ir.Constant(_INT, 0))
        start = builder.shuffle_vector(own, nothing, ir.Constant(INTEGER_VECTOR, [0] * LANES))
        all_places = builder.load(builder.bitcast(pointer, _LONG_VECTOR.as_pointer()), align=8)
        return builder.trunc(builder.sub(all_places, start), INTEGER_VECTOR)

    return integer_lanes(places, types.int64), code


@intrinsic
def lane_numbers(typing_context: Any) -> Any:
    """The numbers of the lanes, 0 to 15."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(INTEGER_VECTOR, [*range(LANES)])

    return integer_lanes(), code


@intrinsic
def window(typing_context: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Elements ``array[index + lanes]``, of 32 bits, where all lanes are below 32; as many elements are read."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        halves = [builder.gep(data, [builder.add(arguments[1], ir.Constant(_LONG, at))]) for at in (0, LANES)]
        first, second = (builder.load(builder.bitcast(half, INTEGER_VECTOR.as_pointer()), align=4) for half in halves)
        name, kind = "llvm.x86.avx512.vpermi2var.d.512", ir.FunctionType(INTEGER_VECTOR, [INTEGER_VECTOR] * 3)
        if name not in builder.module.globals:
            ir.Function(builder.module, kind, name)
        return builder.call(builder.module.globals[name], [first, arguments[2], second])

    return integer_lanes(array, types.int64, lanes), code if HAS_WINDOWS else _one_by_one


def _one_by_one(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    values = ir.Constant(INTEGER_VECTOR, ir.Undefined)
    for lane in range(LANES):
        own = builder.zext(builder.extract_element(arguments[2], ir.Constant(_INT, lane)), _LONG)
        element = builder.load(builder.gep(data, [builder.add(arguments[1], own)]))
        values = builder.insert_element(values, element, ir.Constant(_INT, lane))
    return values


@intrinsic
def gather(typing_context: Any, array: Any, places: Any, first: Any, offset: Any) -> Any:
    """Elements ``array[places[first + lane] + offset]`` of contiguous arrays, of 32 bits and int64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, indices = (
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args[:2], arguments[:2], strict=True)
        )
        values = ir.Constant(INTEGER_VECTOR, ir.Undefined)
        for lane in range(LANES):
            at = builder.add(arguments[2], ir.Constant(_LONG, lane))
            index = builder.add(builder.load(builder.gep(indices, [at])), arguments[3])
            element = builder.load(builder.gep(data, [index]))
            values = builder.insert_element(values, element, ir.Constant(_INT, lane))
        return values

    return integer_lanes(array, places, types.int64, types.int64), code
