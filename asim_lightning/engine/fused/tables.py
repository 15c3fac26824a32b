"""The fused engine's tables of a macro: its cycles as numbers, and level and sigma of every count."""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer


class CycleField(IntEnum):
    """Numbers of a cycle, in the order in which memory holds them."""

    INPUT_DIGIT = 0
    WEIGHT_BIT = 1
    START = 2
    """Place of the cycle's first level and sigma."""
    CODE_WEIGHT = 3
    COUNT_WEIGHT = 4
    """Weight of an exact count."""
    VOTES = 5
    NOISY = 6
    """Whether the cycle is noisy."""


class MacroForm(NamedTuple):
    """Properties of a macro that the kernel is compiled for."""

    TOP: int
    SCALE: int
    """An output in counts is ``sum of weighted codes * SCALE / DIVISOR + offset * tiles`` (`Transfer.scale`)."""
    DIVISOR: int
    NOISE: bool
    """Whether any cycle is noisy."""
    SIGMA_BY_COUNT: bool
    """Whether a cycle's sigma depends on its count."""
    MIXED: bool
    """Whether noisy and noise-free cycles occur together."""
    VOTE: str
    """How votes become one code: see `VOTES`."""
    DIGITAL: bool
    """Whether some cycles are exact counts."""
    WEIGHT_BITS: int
    ERRORS: bool
    """Whether converters have errors; see `PlacedConverters` for the next three."""
    NIBBLES: int = 0
    TABLE_LENGTH: int = 0
    MOST_MOVES: int = 0
    WIDE: bool = False
    """Whether sums need 64 bits."""
    DEVICE: bool = False
    """Whether the kernel runs on a GPU, not in Triton's interpreter."""


VOTES = ("none", "mean", "mode", "median")


class TablesInMemory(NamedTuple):
    """Cycles in numbers, padded to a multiple of four with cycles of weight 0, and levels and sigmas of counts. Triton
    takes a NamedTuple as an argument, and a NamedTuple of constants as a `constexpr`."""

    cycles: Tensor
    """int64, see `CycleField`. # (cycles, fields)"""
    quads: int
    """Groups of four cycles."""
    number: int
    """Cycles of the schedule, without the padding, for the noise counter."""
    levels: Tensor
    """Level of each count, float32; if neither noise nor converter errors change it, the code, int32.

    # (counts of all kinds of cycle,)
    """
    sigmas: Tensor
    """Standard deviation for each count, float32. # (counts of all kinds of cycle,)"""


@dataclass(frozen=True, eq=False)
class Tables:
    """A macro in numbers."""

    groups: list[tuple[int, ...]]
    """Input bits of each input digit."""
    memory: TablesInMemory
    form: MacroForm
    offset: int
    code_bound: int
    """Largest sum of weighted codes of one tile."""
    count_bound: int
    """Largest sum of weighted exact counts of one tile."""
    shared: bool
    """Whether four cycles that are converted together have the same input digit."""


@lru_cache(maxsize=64)
def tables(transfer: Transfer, device: torch.device, has_errors: bool = False) -> Tables:
    """The tables of a macro with integer codes; `has_errors` keeps levels, because converters change them."""
    macro, cycles = transfer.macro, transfer.cycles
    groups = list(dict.fromkeys(cycle.input_bits for cycle in cycles))
    voted = max(c.votes if noisy else 1 for c, noisy in zip(cycles, transfer.noisy, strict=True))
    starts: dict[tuple[int, bool, bool], int] = {}
    levels, sigmas, lines = [], [], []
    end, by_count = 0, False
    for cycle, noisy in zip(cycles, transfer.noisy, strict=True):
        kind = (cycle.full_scale, cycle.analog, cycle.converted)
        if kind not in starts:
            starts[kind] = end
            end += cycle.full_scale + 1
            counts = torch.arange(cycle.full_scale + 1, dtype=torch.float32, device="cpu")
            levels.append(transfer.column.level(counts, cycle).expand_as(counts))
            sigma = transfer.column.sigma(counts, cycle) if noisy else torch.zeros(())
            sigmas.append(sigma.expand_as(counts))
            by_count |= sigma.dim() > 0
        votes = cycle.votes if noisy else 1  # reads without noise are equal
        code, count = transfer.code_weight(cycle, votes), cycle.sign * 2**cycle.shift
        exact = not cycle.converted
        places = (groups.index(cycle.input_bits), cycle.weight_bits[0], starts[kind])
        lines.append((*places, 0 if exact else code, count if exact else 0, votes, int(noisy)))
    filled = lines + [(*lines[-1][:3], 0, 0, 1, 0)] * (-len(lines) % 4)
    level = torch.cat(levels)
    if not any(transfer.noisy) and not has_errors:
        level = level.round().clamp(0, macro.top_code).to(torch.int32)
    top = macro.top_code or 1
    code_bound = top * sum(abs(line[3]) * (line[5] if macro.vote == "mean" else 1) for line in lines)
    count_bound = sum(abs(line[4]) * cycle.full_scale for line, cycle in zip(lines, cycles, strict=True))
    form = MacroForm(
        TOP=top,
        SCALE=transfer.scale,
        DIVISOR=transfer.divisor,
        NOISE=any(transfer.noisy),
        SIGMA_BY_COUNT=by_count,
        MIXED=any(transfer.noisy) and not all(transfer.noisy),
        VOTE="none" if voted == 1 else macro.vote,
        DIGITAL=count_bound > 0,
        WEIGHT_BITS=macro.weight_bits,
        ERRORS=has_errors,
    )
    shared = all(len({line[0] for line in filled[low : low + 4]}) == 1 for low in range(0, len(filled), 4))
    in_numbers = torch.tensor(filled, dtype=torch.int64, device=device)
    memory = TablesInMemory(in_numbers, len(filled) // 4, len(lines), level.to(device), torch.cat(sigmas).to(device))
    return Tables(groups, memory, form, transfer.offset, code_bound, count_bound, shared)
