"""32-bit arithmetic for Numba kernels.

Numba widens int32 + int32 to int64, which halves the vector lanes and slows conversions to float; these intrinsics keep
every operation at 32 bits.
"""

from typing import Any

import numba as nb
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def _binary(build: Any, kind: Any) -> Any:
    @intrinsic  # type: ignore[misc]
    def operation(typing_context: Any, x: Any, y: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return build(builder, arguments[0], arguments[1])

        return kind(kind, kind), code

    return operation


def _unary(build: Any, source: Any, target: Any) -> Any:
    @intrinsic  # type: ignore[misc]
    def operation(typing_context: Any, x: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return build(builder, arguments[0])

        return target(source), code

    return operation


def _high_half(builder: Any, x: Any, y: Any) -> Any:
    product = builder.mul(builder.zext(x, _I64), builder.zext(y, _I64))
    return builder.trunc(builder.lshr(product, ir.Constant(_I64, 32)), _I32)


add_u = _binary(lambda b, x, y: b.add(x, y), types.uint32)
mul_u = _binary(lambda b, x, y: b.mul(x, y), types.uint32)
mul_high_u = _binary(_high_half, types.uint32)
xor_u = _binary(lambda b, x, y: b.xor(x, y), types.uint32)
add_i = _binary(lambda b, x, y: b.add(x, y), types.int32)
and_i = _binary(lambda b, x, y: b.and_(x, y), types.int32)
sub_i = _binary(lambda b, x, y: b.sub(x, y), types.int32)
shift_left_i = _binary(lambda b, x, y: b.shl(x, y), types.int32)
shift_right_i = _binary(lambda b, x, y: b.ashr(x, y), types.int32)
signed_of_u = _unary(lambda b, x: x, types.uint32, types.int32)
int_of_f = _unary(lambda b, x: b.fptosi(x, _I32), types.float32, types.int32)
float_of_u = _unary(lambda b, x: b.uitofp(x, ir.FloatType()), types.uint32, types.float32)
float_of_i = _unary(lambda b, x: b.sitofp(x, ir.FloatType()), types.int32, types.float32)
bits_of_float = _unary(lambda b, x: b.bitcast(x, _I32), types.float32, types.int32)
float_of_bits = _unary(lambda b, x: b.bitcast(x, ir.FloatType()), types.int32, types.float32)
square_root = _unary(
    lambda b, x: b.call(b.module.declare_intrinsic("llvm.sqrt", [ir.FloatType()]), [x]), types.float32, types.float32
)
inline = nb.njit(inline="always", error_model="numpy")


def compiled(signature: str, function: Any) -> Any:
    """A kernel that releases the interpreter lock, cached on disk where the package's folder or the user's cache can be
    written; else compiling takes about two seconds each start."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
    try:
        return nb.njit(signature, cache=True, **options)(function)
    except RuntimeError:  # numba finds no place for its cache
        return nb.njit(signature, **options)(function)
