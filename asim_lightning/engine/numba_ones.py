"""Ones in 16 words, added up word by word, in Numba kernels.

Newer processors with AVX-512 count the ones of a 32-bit number by one instruction. Others count those of bytes, by
look-ups or, on ARM, by an instruction, and take as long again to add a number's bytes: here totals stay in bytes.
"""

from typing import Any

from llvmlite import ir

from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.numba_features import compiles_for
from asim_lightning.engine.numba_lanes import INTEGER_VECTOR, integer_lanes, intrinsic

_WHOLE = compiles_for("avx512vpopcntdq")
MOST_WORDS = 2**26 if _WHOLE else 31
"""Words whose ones a total holds: 255 of them in each byte, or all in 32 bits."""
_TOTALS = INTEGER_VECTOR if _WHOLE else ir.VectorType(ir.IntType(8), 4 * LANES)


def _ones(builder: Any, value: Any) -> Any:
    name = f"llvm.ctpop.v{value.type.count}{value.type.element}"
    module = builder.module
    if name not in module.globals:
        ir.Function(module, ir.FunctionType(value.type, [value.type]), name)
    return builder.call(module.globals[name], [value])


@intrinsic
def add_ones(typing_context: Any, total: Any, bits: Any) -> Any:
    """A total, zeros at first, with the ones of another 16 words."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, bits = (builder.bitcast(argument, _TOTALS) for argument in arguments)
        return builder.bitcast(builder.add(total, _ones(builder, bits)), INTEGER_VECTOR)

    return integer_lanes(total, bits), code


@intrinsic
def count_of(typing_context: Any, total: Any) -> Any:
    """The sixteen counts of a total to which the ones of at most `MOST_WORDS` words were added."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (count,) = arguments
        if _WHOLE:
            return count
        for bits, kept in ((8, 0x00FF00FF), (16, 0x0000FFFF)):
            mask = ir.Constant(INTEGER_VECTOR, [kept] * LANES)
            high = builder.lshr(count, ir.Constant(INTEGER_VECTOR, [bits] * LANES))
            count = builder.add(builder.and_(count, mask), builder.and_(high, mask))
        return count

    return integer_lanes(total), code
