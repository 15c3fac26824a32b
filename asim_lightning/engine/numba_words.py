"""32-bit arithmetic for Numba kernels, on single numbers and on the 16 lanes of `numba_lanes`.

Numba widens int32 + int32 to int64, which halves the vector lanes and slows conversions to float; these intrinsics keep
every operation at 32 bits.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba.core import types

from asim_lightning.engine.numba_lanes import (
    FLOAT_VECTOR,
    INTEGER_VECTOR,
    float_lanes,
    in_lanes,
    integer_lanes,
    intrinsic,
    is_lanes,
)

_LANES_OF = {types.uint32: integer_lanes, types.int32: integer_lanes, types.float32: float_lanes}
_VECTOR_OF = {types.uint32: INTEGER_VECTOR, types.int32: INTEGER_VECTOR, types.float32: FLOAT_VECTOR}


def _operation(build: Any, target: Any, *sources: Any) -> Any:
    """An intrinsic from numbers of the types `sources` to one of the type `target`, or from and to lanes of them."""

    def typed(given: tuple[Any, ...]) -> Any:
        if not any(map(is_lanes, given)):
            return target(*sources), lambda context, builder, signature, arguments: build(builder, *arguments)
        kinds = [kind if is_lanes(kind) else source for kind, source in zip(given, sources, strict=True)]

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            parts = zip(arguments, kinds, sources, strict=True)
            return build(builder, *(in_lanes(builder, a, kind, _VECTOR_OF[source]) for a, kind, source in parts))

        return _LANES_OF[target](*kinds), code

    if len(sources) == 1:

        @intrinsic
        def unary(typing_context: Any, x: Any) -> Any:
            return typed((x,))

        return unary

    if len(sources) == 2:

        @intrinsic
        def binary(typing_context: Any, x: Any, y: Any) -> Any:
            return typed((x, y))

        return binary

    @intrinsic
    def ternary(typing_context: Any, x: Any, y: Any, z: Any) -> Any:
        return typed((x, y, z))

    return ternary


def _like(value: Any, element: Any) -> Any:
    """The type of LLVM with this element that has as many lanes as the value."""
    return ir.VectorType(element, value.type.count) if isinstance(value.type, ir.VectorType) else element


def _high_half(builder: Any, x: Any, y: Any) -> Any:
    wide = _like(x, ir.IntType(64))
    product = builder.mul(builder.zext(x, wide), builder.zext(y, wide))
    shift = ir.Constant(wide, [32] * wide.count if isinstance(wide, ir.VectorType) else 32)
    return builder.trunc(builder.lshr(product, shift), x.type)


def _function(name: str) -> Any:
    """A function of LLVM whose arguments and result have one type."""

    def build(builder: Any, *arguments: Any) -> Any:
        kind, module = arguments[0].type, builder.module
        element = "f32" if _element(kind) == ir.FloatType() else "i32"
        full = f"{name}.v{kind.count}{element}" if isinstance(kind, ir.VectorType) else f"{name}.{element}"
        if full not in module.globals:
            ir.Function(module, ir.FunctionType(kind, [kind] * len(arguments)), full)
        return builder.call(module.globals[full], arguments)

    return build


def _element(kind: Any) -> Any:
    return kind.element if isinstance(kind, ir.VectorType) else kind


def _cast(operation: str, element: Any) -> Any:
    return lambda builder, x: getattr(builder, operation)(x, _like(x, element))


def _truth(symbol: str, comparison: str) -> Any:
    return lambda builder, x, y: builder.zext(getattr(builder, comparison)(symbol, x, y), x.type)


_I, _U, _F = types.int32, types.uint32, types.float32
_I32, _F32 = ir.IntType(32), ir.FloatType()
add_u = _operation(lambda b, x, y: b.add(x, y), _U, _U, _U)
mul_u = _operation(lambda b, x, y: b.mul(x, y), _U, _U, _U)
mul_high_u = _operation(_high_half, _U, _U, _U)
xor_u = _operation(lambda b, x, y: b.xor(x, y), _U, _U, _U)
and_u = _operation(lambda b, x, y: b.and_(x, y), _U, _U, _U)
or_u = _operation(lambda b, x, y: b.or_(x, y), _U, _U, _U)
shift_left_u = _operation(lambda b, x, y: b.shl(x, y), _U, _U, _U)
rotate_left_u = _operation(lambda b, x, y: _function("llvm.fshl")(b, x, x, y), _U, _U, _U)
shift_right_u = _operation(lambda b, x, y: b.lshr(x, y), _U, _U, _U)
add_i = _operation(lambda b, x, y: b.add(x, y), _I, _I, _I)
mul_i = _operation(lambda b, x, y: b.mul(x, y), _I, _I, _I)
and_i = _operation(lambda b, x, y: b.and_(x, y), _I, _I, _I)
sub_i = _operation(lambda b, x, y: b.sub(x, y), _I, _I, _I)
shift_left_i = _operation(lambda b, x, y: b.shl(x, y), _I, _I, _I)
shift_right_i = _operation(lambda b, x, y: b.ashr(x, y), _I, _I, _I)
signed_of_u = _operation(lambda b, x: x, _I, _U)
int_of_f = _operation(_cast("fptosi", _I32), _I, _F)
float_of_u = _operation(_cast("uitofp", _F32), _F, _U)
float_of_i = _operation(_cast("sitofp", _F32), _F, _I)
bits_of_float = _operation(_cast("bitcast", _I32), _I, _F)
float_of_bits = _operation(_cast("bitcast", _F32), _F, _I)
square_root = _operation(_function("llvm.sqrt"), _F, _F)
same = _operation(_truth("==", "icmp_signed"), _I, _I, _I)
not_more = _operation(_truth("<=", "icmp_signed"), _I, _I, _I)
chosen = _operation(
    lambda b, mask, x, y: b.select(b.icmp_signed("!=", mask, ir.Constant(mask.type, None)), x, y), _I, _I, _I, _I
)
smaller = _operation(lambda b, x, y: b.select(b.fcmp_ordered("<", x, y), x, y), _F, _F, _F)
larger = _operation(lambda b, x, y: b.select(b.fcmp_ordered(">", x, y), x, y), _F, _F, _F)
_njit: Any = nb.njit
_part: dict[str, Any] = {
    "error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True
}  # fmt: skip
# inlined by LLVM: what Numba inlines itself it types again at every place, three quarters of the time of a compile
inline = _njit(forceinline=True, **_part)
called = _njit(**_part)
"""A function that kernels call rather than hold, since it is seldom needed. Neither sort makes arrays."""

MAGIC, _MAGIC_BITS = np.float32(1.5 * 2**23), np.int32(0x4B400000)


@inline
def int_of_level(level: Any) -> Any:
    """The nearest integer of a number from 0 to 2^22, the even one of two: the sum with 1.5 * 2^23 has it in its last
    bits, which takes two instructions where rounding and converting take three."""
    return sub_i(bits_of_float(level + MAGIC), _MAGIC_BITS)


def compiled(signature: str | tuple[Any, ...], function: Any, allocates: bool = True) -> Any:
    """A kernel that releases the interpreter lock, cached on disk where the package's folder or the user's cache can be
    written; else compiling takes seconds each start.

    Args:
        signature: Types of the arguments.
        function: The kernel.
        allocates: Whether the kernel makes arrays of its own; where not, Numba counts no references to arrays, which it
            otherwise does in the innermost loops.
    """
    options = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": allocates}
    kernel = _njit(**options)(function)
    try:
        kernel.enable_caching()
        # Numba knows the kernel's own file, and not those whose functions and numbers it takes
        file = kernel._cache._cache_file
        file._source_stamp = (file._source_stamp, _sources())
        kernel.compile(signature)
    except (RuntimeError, OSError, AttributeError):  # no place for the cache, no room there, or another Numba's cache
        kernel = _njit(**options)(function)
        kernel.compile(signature)
    kernel.disable_compile()
    return kernel


@lru_cache(maxsize=1)
def _sources() -> str:
    """A hash of all that engines are written in."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.blake2s(b"".join(file.read_bytes() for file in files)).hexdigest()
