"""The packed engine's kernels of conversions, one for each way of counting, and what they take beside operands."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from asim_lightning.circuit import Transfer
from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.packed.look_ups import LookUps
from asim_lightning.engine.packed.operand import few
from asim_lightning.engine.packed.plan import Plan
from asim_lightning.engine.packed.planes import PackedLayout
from asim_lightning.engine.packed.room import block_room
from asim_lightning.engine.packed.schedule import VOTE_RULES, packed_schedule
from asim_lightning.engine.scratch import Scratch

_NANOSECONDS_A_CONVERSION = 4.0
"""About what it takes to make 16 conversions without noise."""
_GROUPS = 8
"""Groups of outputs that are worth tables of their own."""
_WORKS_A_THREAD = 16
"""Works of a thread from which on all threads have as much to do."""


@dataclass(frozen=True)
class Kernel:
    """A kernel of conversions.

    Attributes:
        function: The kernel.
        tables: Its arguments between the operands and the places of conversions.
        rooms: Those between the places and the outputs, of which some are room of each thread.
        works: Units of work.
        fewest: How many of them are worth a thread.
    """

    function: Any
    tables: tuple[Any, ...]
    rooms: tuple[Any, ...]
    works: int
    fewest: int


@lru_cache(maxsize=512)
def kernel_of(plan: Plan, transfer: Transfer, threads: int) -> Kernel:
    """The kernel of a product's way of counting.

    Args:
        plan: The plan of the product.
        transfer: The macro's schedule and column.
        threads: Threads that share the work.
    """
    how, inputs, (lanes, singles, _) = plan.how, plan.inputs, plan.places.numbers
    schedule, blocks = packed_schedule(transfer), -(-singles // LANES)
    # Numba takes half a second to import
    if how.look_ups is not None:
        from asim_lightning.engine.packed.conversion_look_ups import kernel as by_look_ups

        parts = _parts(lanes // LANES, inputs.units, threads)
        tables = (inputs.units, parts, how.look_ups.first_step, how.look_ups.steps)
        room = Scratch((_table_size(how.look_ups, inputs),))
        return _kernel(by_look_ups(), plan, transfer, tables, parts, 1, (room,))
    if how.by_amx:
        from asim_lightning.engine.packed.conversion_amx import kernel as by_amx
        from asim_lightning.engine.packed.conversion_amx import register_sizes

        digits, stacks = how.digits_a_byte, how.stacks
        pairs = schedule.input_pairs if how.by_input else schedule.weight_pairs
        registers, rows = 0, min(singles, LANES)
        if stacks is not None:
            pairs, registers, rows = stacks.pairs(transfer), stacks.registers, stacks.rows
        planes = (digits > 1) * (inputs.tiles * len(inputs.digits) if stacks is None else 1)
        room = Scratch((planes * plan.weights.length * LANES,))
        fours_at_a_time = max(3, len(schedule.noisy)) if schedule.has_noise else 3
        amx = (pairs, register_sizes(rows), registers, digits)
        return _kernel(by_amx(), plan, transfer, amx, blocks, fours_at_a_time, (room,))
    from asim_lightning.engine.packed.conversion import kernel as by_popcount

    steps = schedule.by_input if how.by_input else schedule.by_weight
    return _kernel(by_popcount(), plan, transfer, (schedule.first_step, steps), blocks)


def _kernel(
    function: Any, plan: Plan, transfer: Transfer, operands: tuple[Any, ...], parts: int, fours: int = 1,
    more_rooms: tuple[Scratch, ...] = (),
) -> Kernel:  # fmt: skip
    """The kernel, which divides the work of 16 lanes into so many parts."""
    schedule = packed_schedule(transfer)
    codes = (
        schedule.kinds,
        schedule.numbers,
        schedule.levels,
        schedule.sigmas,
        schedule.noisy,
        schedule.quiet,
        schedule.plain,
        schedule.cycles,
    )
    rooms = (
        Scratch((block_room(fours),), np.int32),
        Scratch((schedule.most_votes * LANES,), np.int32),
        *more_rooms,
        Scratch((2, LANES * LANES), np.float64),
    )
    works = (plan.inputs if plan.how.arranges_inputs else plan.weights).units * parts
    conversions = prod(plan.sums_shape) * plan.inputs.tiles * len(transfer.cycles)
    return Kernel(
        function,
        (*operands, *codes),
        (VOTE_RULES[transfer.macro.vote], schedule.scale, *rooms, schedule.digital),
        works,
        few(conversions / LANES / works * _NANOSECONDS_A_CONVERSION),
    )


def _parts(groups: int, units: int, threads: int) -> int:
    """Into how many parts the outputs are divided, for each of which tables are made again: so many that every thread
    has work, and more, so that all have as much, where a part is worth its tables."""
    even = min(-(-_WORKS_A_THREAD * threads // units), groups // _GROUPS)
    return max(1, even, min(-(-threads // units), groups))


def _table_size(look_ups: LookUps, inputs: PackedLayout) -> int:
    """Tables of all tiles for 16 inputs, in 32-bit integers."""
    return inputs.tiles * LANES * len(look_ups.digits) * inputs.length * 4
