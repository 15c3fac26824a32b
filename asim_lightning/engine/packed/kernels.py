"""The packed engine's kernels of conversions, one for each way of counting, and what they take beside operands."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from asim_lightning.circuit import Transfer
from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.memory import aligned
from asim_lightning.engine.packed.look_ups import LookUps
from asim_lightning.engine.packed.plan import Plan
from asim_lightning.engine.packed.planes import PackedLayout
from asim_lightning.engine.packed.room import block_room
from asim_lightning.engine.packed.schedule import VOTE_RULES, packed_schedule

_GROUPS = 8
"""Groups of outputs that are worth tables of their own."""
_WORKS_A_THREAD = 16
"""Works of a thread from which on all threads have as much to do."""


@dataclass(frozen=True)
class Kernel:
    """A kernel of conversions.

    Attributes:
        function: The kernel.
        tables: Its arguments between the operands and the scale.
        rooms: Room that each thread needs; zeros. # (threads, ...) each
        parts: Parts of the work of 16 lanes.
    """

    function: Any
    tables: tuple[Any, ...]
    rooms: tuple[np.ndarray, ...]
    parts: int


def kernel_of(plan: Plan, transfer: Transfer, places: tuple[np.ndarray, ...], ones: np.ndarray | None) -> Kernel:
    """The kernel of a product's way of counting.

    Args:
        plan: The plan of the product.
        transfer: The macro's schedule and column.
        places: Places of lanes, singles and problems in the noise, and its key.
        ones: For look-ups, whether any output of a group has a 1. # (problems * groups, tiles, weight bits)
    """
    how, inputs, singles = plan.how, plan.inputs, places[1].shape[1]
    schedule, blocks = packed_schedule(transfer), -(-singles // LANES)
    # Numba takes half a second to import
    if how.look_ups is not None:
        from asim_lightning.engine.packed.conversion_look_ups import kernel as by_look_ups

        parts = _parts(-(-places[0].shape[1] // LANES), inputs.units)
        tables = (inputs.units, parts, ones, how.look_ups.first_step, how.look_ups.steps)
        room = aligned((torch.get_num_threads(), _table_size(how.look_ups, inputs)))
        return _kernel(by_look_ups(), transfer, tables, places, parts, 1, (room,))
    if how.by_amx:
        from asim_lightning.engine.packed.conversion_amx import kernel as by_amx
        from asim_lightning.engine.packed.conversion_amx import register_sizes

        digits, threads = how.digits_a_byte, torch.get_num_threads()
        pairs = schedule.input_pairs if how.by_input else schedule.weight_pairs
        fours_at_a_time = len(schedule.noisy) if schedule.has_noise else 1
        registers = register_sizes(min(singles, LANES))
        room = aligned((threads, (digits > 1) * inputs.tiles * len(inputs.digits) * plan.weights.length * LANES))
        return _kernel(by_amx(), transfer, (pairs, registers, digits), places, blocks, fours_at_a_time, (room,))
    from asim_lightning.engine.packed.conversion import kernel as by_popcount

    steps = schedule.by_input if how.by_input else schedule.by_weight
    return _kernel(by_popcount(), transfer, (schedule.first_step, steps), places, blocks)


def _kernel(
    function: Any, transfer: Transfer, operands: tuple[Any, ...], places: tuple[np.ndarray, ...], parts: int,
    fours: int = 1, more_rooms: tuple[np.ndarray, ...] = (),
) -> Kernel:  # fmt: skip
    schedule, threads = packed_schedule(transfer), torch.get_num_threads()
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
    room = aligned((threads, block_room(fours))).view(np.int32)
    reads = aligned((threads, schedule.most_votes * LANES)).view(np.int32)
    sums = np.zeros((threads, 2, LANES * LANES))
    tables = (*operands, *codes, *places, VOTE_RULES[transfer.macro.vote])
    return Kernel(function, tables, (room, reads, *more_rooms, sums), parts)


def _parts(groups: int, units: int) -> int:
    """Into how many parts the outputs are divided, for each of which tables are made again: so many that every thread
    has work, and more, so that all have as much, where a part is worth its tables."""
    threads = torch.get_num_threads()
    even = min(-(-_WORKS_A_THREAD * threads // units), groups // _GROUPS)
    return max(1, even, min(-(-threads // units), groups))


def _table_size(look_ups: LookUps, inputs: PackedLayout) -> int:
    """Tables of all tiles for 16 inputs, in 32-bit integers."""
    return inputs.tiles * LANES * len(look_ups.digits) * inputs.length * 4
