"""Numba kernels on torch's own threads, without the interpreter between them.

A Python function on a thread needs the interpreter's lock to start a kernel, and handing it from thread to thread takes
50 us where a thread must be woken for it: as long as a small layer's work. Here each thread enters the compiled code
directly: a few instructions, made for the kernel's types, read its arguments from a frame, and call it with a share of
the work after the other, until none is left: where a core is slower for a while, the others take more shares.
"""

import ctypes
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import types
from numba.np.numpy_support import as_dtype

from asim_lightning.engine.memory import address
from asim_lightning.engine.openmp import OpenMP
from asim_lightning.engine.per_thread import PerThread

_LONG, _INT = ir.IntType(64), ir.IntType(32)
_KERNEL, _NUMBER, _SIZE, _UNITS, _SHARE, _NEXT, _THREADS, _FAILED, _ARGUMENTS = range(9)
"""Places in a frame: addresses of the kernel and of OpenMP's two functions, units of work, how many are a share, the
first that nobody has taken, threads to share them, what a kernel that failed gave, and where the arguments begin."""
_SHARES = 16
"""Shares for each thread, where units suffice."""


@lru_cache(maxsize=64)
def team_of(kernel: Any, openmp: OpenMP) -> Callable[[tuple[Any, ...], int, int, int], None] | None:
    """A function of a kernel's arguments but for the last two, units of work, threads among which to share them and the
    size of the team to ask for, which has them call ``kernel(*arguments, low, high)`` until all units are done.

    Args:
        kernel: A compiled kernel of one signature.
        openmp: torch's OpenMP library.

    Returns:
        None where this Numba passes arguments in another way than the frame's.
    """
    (compiled,) = kernel.overloads.values()
    slots = _slots(compiled)
    if slots is None:
        return None
    kinds = compiled.fndesc.argtypes[:-2]
    entry = _compiled_entry(slots, kinds)
    code = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    head = [code, openmp.number_address, openmp.size_address]
    read = [_reader(kind) for kind in kinds]
    numbers = _ARGUMENTS + sum(6 + 2 * kind.ndim if isinstance(kind, types.Array) else 1 for kind in kinds)
    room, pack_into = ctypes.c_int64 * numbers, struct.Struct(f"{numbers}q").pack_into

    def run(arguments: tuple[Any, ...], units: int, threads: int, size: int) -> None:
        values = [*head, units, max(1, units // (threads * _SHARES)), 0, threads, 0]
        for values_of, argument in zip(read, arguments, strict=True):
            values += values_of(argument)
        frame = room()
        pack_into(frame, 0, *values)  # a fifteenth of the time in which ctypes takes them
        openmp.enter(entry.address, ctypes.addressof(frame), size)
        if frame[_FAILED]:
            raise MemoryError(f"{kernel.__name__} found no memory")

    return run


def _reader(kind: Any) -> Callable[[Any], tuple[int, ...]]:
    """A function of an argument of this type that gives the numbers of the frame."""
    if isinstance(kind, types.Array):
        dtype, dimensions = as_dtype(kind.dtype), kind.ndim

        def numbers(argument: Any) -> tuple[int, ...]:
            array, step = argument, 0
            if isinstance(argument, PerThread):
                array, step = argument.array[0], argument.array.strides[0]
            if array.dtype != dtype or array.ndim != dimensions or not array.flags.c_contiguous:
                raise TypeError(f"a kernel takes {kind}, got {array.dtype} of shape {array.shape}")
            # no owner to count references of, then size, bytes an element, place, shape and strides
            return (step, 0, 0, array.size, array.itemsize, address(array), *array.shape, *array.strides)

        return numbers
    if isinstance(kind, types.Float):
        real, whole = as_dtype(kind).type, {32: np.int32, 64: np.int64}[kind.bitwidth]
        return lambda argument: (int(real(argument).view(whole)),)
    return lambda argument: (int(argument),)


def _slots(compiled: Any) -> list[Any] | None:
    """Types in LLVM of the kernel's arguments, two of Numba's own first; an array has several."""
    context, kinds = compiled.target_context, compiled.fndesc.argtypes
    expected: list[Any] = []
    for kind in kinds:
        pointer = ir.IntType(8).as_pointer()
        if isinstance(kind, types.Array) and kind.layout == "C":
            element = context.get_data_type(kind.dtype).as_pointer()
            expected += [pointer, pointer, _LONG, _LONG, element, *[_LONG] * (2 * kind.ndim)]
        elif isinstance(kind, (types.Integer, types.Boolean, types.Float)):
            expected.append(context.get_argument_type(kind))
        else:
            return None
    found = context.call_conv.get_function_type(types.none, kinds)
    if str(found.return_type) != "i32" or [str(a) for a in found.args[2:]] != [str(a) for a in expected]:
        return None
    return list(found.args)


class _Entry:
    """Compiled code, kept as long as its address is in use."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.address = engine, engine.get_function_address("entry")


def _compiled_entry(slots: list[Any], kinds: Any) -> _Entry:
    module = ir.Module()
    module.triple = binding.get_process_triple()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_LONG.as_pointer()]), "entry")
    builder, (frame,) = ir.IRBuilder(function.append_basic_block()), function.args

    def place(number: int) -> Any:
        return builder.gep(frame, [ir.Constant(_LONG, number)])

    def asked(number: int) -> Any:
        callee = builder.inttoptr(builder.load(place(number)), ir.FunctionType(_INT, []).as_pointer())
        return builder.zext(builder.call(callee, []), _LONG)

    number, size, wanted = asked(_NUMBER), asked(_SIZE), builder.load(place(_THREADS))
    units, share, next_unit = builder.load(place(_UNITS)), builder.load(place(_SHARE)), place(_NEXT)
    threads = builder.select(builder.icmp_unsigned("<", wanted, size), wanted, size)
    taking, working, done = (function.append_basic_block(name) for name in ("taking", "working", "done"))
    arguments = [builder.alloca(slots[0].pointee), builder.alloca(slots[1].pointee)]
    at = _ARGUMENTS
    for kind in kinds:
        if not isinstance(kind, types.Array):
            arguments.append(_as(builder, builder.load(place(at)), slots[len(arguments)]))
            at += 1
            continue
        step, *parts = (builder.load(place(at + part)) for part in range(6 + 2 * kind.ndim))
        parts[4] = builder.add(parts[4], builder.mul(step, number))
        arguments += [_as(builder, p, slots[len(arguments) + i]) for i, p in enumerate(parts)]
        at += 1 + len(parts)
    callee = builder.inttoptr(builder.load(place(_KERNEL)), ir.FunctionType(_INT, slots).as_pointer())
    builder.cbranch(builder.icmp_unsigned("<", number, threads), taking, done)
    builder.position_at_end(taking)
    low = builder.atomic_rmw("add", next_unit, share, "monotonic")
    after = builder.add(low, share)
    high = builder.select(builder.icmp_unsigned("<", after, units), after, units)
    builder.cbranch(builder.icmp_unsigned("<", low, units), working, done)
    builder.position_at_end(working)
    bounds = [_as(builder, bound, kind) for bound, kind in zip((low, high), slots[-2:], strict=True)]
    status = builder.call(callee, [*arguments, *bounds])
    with builder.if_then(builder.icmp_unsigned("!=", status, ir.Constant(_INT, 0))):
        builder.store(builder.zext(status, _LONG), place(_FAILED))
    builder.branch(taking)
    builder.position_at_end(done)
    builder.ret_void()
    machine = binding.Target.from_triple(module.triple).create_target_machine(opt=1)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), machine)
    engine.finalize_object()
    return _Entry(engine)


def _as(builder: Any, value: Any, kind: Any) -> Any:
    if isinstance(kind, ir.PointerType):
        return builder.inttoptr(value, kind)
    if isinstance(kind, ir.IntType):
        return value if kind.width == _LONG.width else builder.trunc(value, kind)
    whole = builder.trunc(value, _INT) if isinstance(kind, ir.FloatType) else value
    return builder.bitcast(whole, kind)
