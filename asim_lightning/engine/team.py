"""Numba kernels on torch's own threads, without the interpreter between them.

A Python function on a thread needs the interpreter's lock to start a kernel, and handing it from thread to thread takes
50 us where a thread must be woken for it: as long as a small layer's work. Here a launcher, compiled for each kernel's
types, takes the arguments from Python as the kernel itself does, in a microsecond, and has OpenMP call a function on
each thread, which calls the kernel with a share of the work after the other, until none is left. Shares are a part of
what is left, so that few are taken, and where a core is slower for a while the others take more.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from asim_lightning.engine.numba_lanes import intrinsic
from asim_lightning.engine.numba_words import compiled
from asim_lightning.engine.openmp import OpenMP

_BYTE, _INT, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_POINTER = _BYTE.as_pointer()
_NUMBERS = 10
_KERNEL, _ENTER, _NUMBER, _SIZE, _TEAM, _UNITS, _FEWEST, _THREADS, _ROOMS, _STEP = range(_NUMBERS)
"""Numbers of a call: addresses of the kernel and of OpenMP's three functions, the team to ask for, units of work,
fewest of a share, threads to share them, which arguments are rooms (a bit each), and bytes from thread to thread."""
_NEXT, _FAILED = _NUMBERS, _NUMBERS + 1
"""What threads share beside them: the first unit that nobody has taken, and what a kernel that failed gave."""
_PARTS, _MOST_PARTS = 2, 64
"""A share is what is left for each thread, divided by the first, and at least the work of a thread by the second."""

Run = Callable[[tuple[Any, ...], int, int, int, int, int], None]


@lru_cache(maxsize=64)
def team_of(kernel: Any, openmp: OpenMP) -> Run:
    """A function that has a team of threads call ``kernel(*arguments, low, high)`` until all units are done.

    Its arguments are those of the kernel but for the last two, a bit for each of these that is a room (the first is the
    lowest), the bytes from a thread's rooms to the next thread's, units of work, threads among which to share them, and
    the size of the team to ask for.

    Args:
        kernel: A compiled kernel of one signature.
        openmp: torch's OpenMP library.
    """
    (overload,) = kernel.overloads.values()
    code = overload.library.get_pointer_to_function(overload.fndesc.llvm_func_name)
    kinds = tuple(overload.signature.args[:-2])
    launch = compiled((*[types.int64] * _NUMBERS, types.BaseTuple.from_types(kinds)), _launch, allocates=False)
    addresses = code, openmp.enter_address, openmp.number_address, openmp.size_address

    def run(arguments: tuple[Any, ...], rooms: int, step: int, units: int, threads: int, size: int) -> None:
        fewest = max(1, units // (threads * _MOST_PARTS))
        if launch(*addresses, size, units, fewest, threads, rooms, step, *arguments):
            raise MemoryError(f"{kernel.__name__} found no memory")

    return run


def _launch(
    kernel: int, enter: int, number: int, size: int, team: int, units: int, fewest: int, threads: int, rooms: int,
    step: int, *arguments: Any,
) -> int:  # fmt: skip
    """What the last failing call of the kernel gave, 0 where none failed; see `_KERNEL` for the numbers."""
    return _entered((kernel, enter, number, size, team, units, fewest, threads, rooms, step), arguments)  # type: ignore


@intrinsic
def _entered(typing_context: Any, numbers: Any, arguments: Any) -> Any:
    """Put numbers and arguments into a frame, and have OpenMP call the function of each thread with it."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds = arguments.types
        frame_kind = ir.LiteralStructType([ir.ArrayType(_LONG, _FAILED + 1), *map(context.get_value_type, kinds)])
        frame = cgutils.alloca_once(builder, frame_kind)
        given = cgutils.unpack_tuple(builder, values[0])
        for place, number in enumerate([*given, ir.Constant(_LONG, 0), ir.Constant(_LONG, 0)]):
            builder.store(number, cgutils.gep_inbounds(builder, frame, 0, 0, place))
        for place, value in enumerate(cgutils.unpack_tuple(builder, values[1]), start=1):
            builder.store(value, cgutils.gep_inbounds(builder, frame, 0, place))
        body = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [_POINTER]), f"{builder.function.name}.body")
        body.linkage = "internal"
        _fill(context, body, frame_kind, kinds)
        enter_kind = ir.FunctionType(ir.VoidType(), [body.type, _POINTER, _INT, _INT]).as_pointer()
        team = builder.trunc(given[_TEAM], _INT)
        parameters = body, builder.bitcast(frame, _POINTER), team, ir.Constant(_INT, 0)
        builder.call(builder.inttoptr(given[_ENTER], enter_kind), parameters)
        return builder.load(cgutils.gep_inbounds(builder, frame, 0, 0, _FAILED))

    return types.int64(numbers, arguments), code


def _fill(context: Any, body: Any, frame_kind: Any, kinds: tuple[Any, ...]) -> None:
    """Write what each thread does: take a share and call the kernel with it, while there are any."""
    builder = ir.IRBuilder(body.append_basic_block())
    frame = builder.bitcast(body.args[0], frame_kind.as_pointer())

    def place(number: int) -> Any:
        return cgutils.gep_inbounds(builder, frame, 0, 0, number)

    def asked(number: int) -> Any:
        callee = builder.inttoptr(builder.load(place(number)), ir.FunctionType(_INT, []).as_pointer())
        return builder.zext(builder.call(callee, []), _LONG)

    number, size, wanted = asked(_NUMBER), asked(_SIZE), builder.load(place(_THREADS))
    units, fewest, rooms, step = (builder.load(place(at)) for at in (_UNITS, _FEWEST, _ROOMS, _STEP))
    threads = builder.select(builder.icmp_unsigned("<", wanted, size), wanted, size)
    arguments = []
    for at, kind in enumerate(kinds):
        value = builder.load(cgutils.gep_inbounds(builder, frame, 0, at + 1))
        if isinstance(kind, types.Array):
            is_room = builder.and_(builder.lshr(rooms, ir.Constant(_LONG, at)), ir.Constant(_LONG, 1))
            own = builder.mul(is_room, builder.mul(step, number))
            array = context.make_array(kind)(context, builder, value)
            array.data = cgutils.pointer_add(builder, array.data, own)
            value = array._getvalue()
        arguments.append(value)
    kinds = (*kinds, types.int64, types.int64)
    callee_kind = context.call_conv.get_function_type(types.none, kinds).as_pointer()
    callee = builder.inttoptr(builder.load(place(_KERNEL)), callee_kind)
    looking, taking, working, done = (
        body.append_basic_block(name) for name in ("looking", "taking", "working", "done")
    )
    builder.cbranch(builder.icmp_unsigned("<", number, threads), looking, done)
    builder.position_at_end(looking)
    low = builder.load_atomic(place(_NEXT), "monotonic", align=8)
    left = builder.sub(units, low)
    builder.cbranch(builder.icmp_unsigned(">", left, ir.Constant(_LONG, 0)), taking, done)
    builder.position_at_end(taking)
    part = builder.udiv(left, builder.mul(threads, ir.Constant(_LONG, _PARTS)))
    share = builder.select(builder.icmp_unsigned(">", part, fewest), part, fewest)
    share = builder.select(builder.icmp_unsigned("<", share, left), share, left)
    high = builder.add(low, share)
    taken = builder.cmpxchg(place(_NEXT), low, high, "monotonic", "monotonic")
    builder.cbranch(builder.extract_value(taken, 1), working, looking)
    builder.position_at_end(working)
    status, _ = context.call_conv.call_function(builder, callee, types.none, kinds, [*arguments, low, high])
    with builder.if_then(status.is_error):
        builder.store(builder.zext(status.code, _LONG), place(_FAILED))
    builder.branch(looking)
    builder.position_at_end(done)
    builder.ret_void()
