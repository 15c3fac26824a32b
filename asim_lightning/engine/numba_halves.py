"""Products of halves of words, in Numba kernels."""

from typing import Any

from llvmlite import ir

from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.numba_features import compiles_for
from asim_lightning.engine.numba_lanes import INTEGER_VECTOR, in_lanes, integer_lanes, intrinsic

_HALF = ir.IntType(16)
_INSTRUCTIONS = {"avx512bw": ("llvm.x86.avx512.pmaddw.d.512", 16), "avx2": ("llvm.x86.avx2.pmadd.wd", 8)}
_PRODUCTS: Any = next((found for feature, found in _INSTRUCTIONS.items() if compiles_for(feature)), None)
"""An instruction that multiplies halves of so many words and adds the two products of a word, in half of the time in
which words are multiplied."""


@intrinsic
def times_low_half(typing_context: Any, words: Any, weight: Any) -> Any:
    """The lower halves of 16 words, as signed integers, times a weight from -2^15 to 2^15 - 1."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, weight = arguments
        if _PRODUCTS is None:
            sixteen = ir.Constant(INTEGER_VECTOR, [16] * LANES)
            low = builder.ashr(builder.shl(words, sixteen), sixteen)
            return builder.mul(low, in_lanes(builder, weight, signature.args[1], INTEGER_VECTOR))
        weight = builder.and_(weight, ir.Constant(weight.type, 0xFFFF))
        return _products(builder, words, in_lanes(builder, weight, signature.args[1], INTEGER_VECTOR))

    return integer_lanes(words, weight), code


def _products(builder: Any, words: Any, weights: Any) -> Any:
    name, lanes = _PRODUCTS
    whole, halves = ir.VectorType(ir.IntType(32), lanes), ir.VectorType(_HALF, 2 * lanes)
    module = builder.module
    if name not in module.globals:
        ir.Function(module, ir.FunctionType(whole, [halves, halves]), name)
    found = []
    for first in range(0, LANES, lanes):
        order = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [*range(first, first + lanes)])
        pair = (builder.bitcast(builder.shuffle_vector(v, v, order), halves) for v in (words, weights))
        found.append(builder.call(module.globals[name], [*pair]))
    if len(found) == 1:
        return found[0]
    both = ir.Constant(INTEGER_VECTOR, [*range(LANES)])
    return builder.shuffle_vector(*found, both)
