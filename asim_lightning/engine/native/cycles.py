"""A macro's schedule as structures for the C++ kernels."""

import ctypes
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, Transfer
from asim_lightning.circuit.adapters import ColumnByDriven
from asim_lightning.circuit.columns import Charge, Column, Droop, codes_of_full_scale, to_codes
from asim_lightning.engine.native.structures import CycleOfJob, Digit, Level, Sigma

_ROOT_ERROR = 2e-6
_LONGEST_BY_DRIVEN = 2**23
"""Most numbers in tables by count and driven rows: 64 MB of level and sigma."""
_LARGEST_SHRINKING = 10.0
"""Largest sigma, in codes, that may be computed as a root."""
_LEVEL_ERROR = 1e-6
"""Largest mean error of noisy levels, in codes; it is also the share of noisy codes that change."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """Cycles for the kernels, four by four; cycles of weight 0 fill up the last four.

    Attributes:
        cycles: An array of `CycleOfJob`.
        digits: Lowest bit and number of bits of each digit of an input.
        digits_of_job: The digits as an array of `Digit`.
        levels: Tables of levels. # (numbers,)
        sigmas: Tables of sigmas. # (numbers,)
    """

    cycles: ctypes.Array[CycleOfJob]
    digits: tuple[tuple[int, int], ...]
    digits_of_job: ctypes.Array[Digit]
    levels: Tensor
    sigmas: Tensor


@lru_cache(maxsize=64)
def schedule_of(transfer: Transfer, to_the_bit: bool = False) -> Schedule:
    """The structures of a macro that the native engine computes.

    Args:
        to_the_bit: Whether levels equal the column's to the last bit, not only in their codes; needed for converters
            with errors.
    """
    digits = tuple(sorted({(c.input_bits[0], len(c.input_bits)) for c in transfer.cycles}))
    nothing = torch.zeros(1, dtype=torch.float32, device="cpu")
    levels, sigmas, length, made = [nothing], [nothing], 1, []
    fitted: dict[tuple[int, bool, bool, bool], dict[str, float]] = {}
    for cycle, noisy in zip(transfer.cycles, transfer.noisy, strict=True):
        kind = (cycle.full_scale, cycle.analog, cycle.converted, noisy)
        if kind not in fitted:
            own, level, sigma = _fitted(transfer, cycle, noisy, to_the_bit)
            tables = own["level"] in (Level.TABLE, Level.BY_DRIVEN), own.get("sigma") in (Sigma.TABLE, Sigma.BY_DRIVEN)
            if any(tables) or "drooped" in own:
                own["table"], length = length, length + level.numel()
                levels.append(level.flatten())
                sigmas.append(sigma.flatten())
            fitted[kind] = own
        votes = cycle.votes if noisy else 1  # without noise all votes are equal
        weight = transfer.code_weight(cycle, votes) if cycle.converted else cycle.sign * 2**cycle.shift
        digit = digits.index((cycle.input_bits[0], len(cycle.input_bits)))
        made.append(CycleOfJob(cycle.weight_bits[0], digit, votes=votes, weight=weight, **fitted[kind]))
    while len(made) % 4:
        last = made[-1]
        made.append(CycleOfJob(last.weight_bit, last.digit, Level.PROPORTIONAL, Sigma.SILENT, votes=1, silent=1))
    array, pairs = (CycleOfJob * len(made))(*made), (Digit * len(digits))(*(Digit(*digit) for digit in digits))
    return Schedule(array, digits, pairs, torch.cat(levels), torch.cat(sigmas))


def _fitted(transfer: Transfer, cycle: Cycle, noisy: bool, to_the_bit: bool) -> tuple[dict[str, float], Tensor, Tensor]:
    """The fields of a `CycleOfJob` that depend on the column: arithmetic if it gives the column's numbers, otherwise
    tables; and level and sigma of each count, and of each number of driven rows if they matter, for tables."""
    counts = torch.arange(cycle.full_scale + 1, dtype=torch.float32, device="cpu")
    sigma = torch.zeros_like(counts)
    if not cycle.converted or cycle.top_code is None:
        return {"level": Level.COUNT, "silent": 1, "digital": 1}, counts, sigma
    if transfer.column.cell_sigma:
        return _of_real_counts(transfer, cycle, noisy), counts, sigma
    if transfer.column.depends_on_driven:
        return _drooped(transfer, cycle, noisy) or _by_driven(transfer, cycle, noisy, to_the_bit)
    level = transfer.column.level(counts, cycle).float().expand_as(counts)
    # largest mean error of levels with right codes
    error = 0.0 if to_the_bit else _LEVEL_ERROR if noisy else math.inf
    found: dict[str, float] = {"top": float(cycle.top_code), "silent": 1}
    found |= _level(counts, level, cycle.top_code, cycle, error)
    if noisy:
        sigma = transfer.column.sigma(counts, cycle).float().expand_as(counts)
        found |= {"silent": int(sigma[0] == 0), **_sigma(transfer, counts, sigma, cycle)}
    return found, level, sigma


def _factor(column: Column, cycle: Cycle) -> Droop | None:
    """The droop whose share, times the level without droop, is the column's level to the bit; None if there is none."""
    own = column.column if isinstance(column, ColumnByDriven) and column.functions == {"level"} else None
    if not isinstance(own, Droop) or type(own).level is not Droop.level or (own.gain, own.offset) != (1.0, 0.0):
        return None
    step = cycle.adc_step or 1
    return own if cycle.adc_low == 0 and step & (step - 1) == 0 else None


def _drooped(transfer: Transfer, cycle: Cycle, noisy: bool) -> tuple[dict[str, float], Tensor, Tensor] | None:
    """`_fitted` for a droop: its tables have a factor of the level for each number of driven rows, and sigma by count.
    None for other columns."""
    droop = _factor(transfer.column, cycle)
    if droop is None:
        return None
    counts = torch.arange(cycle.full_scale + 1, dtype=torch.float32, device="cpu")
    driven = torch.arange(transfer.macro.rows + 1, dtype=torch.float32, device="cpu")
    found = _level(counts, to_codes(counts, cycle), cycle.top_code or 0, cycle, 0.0)
    if found["level"] == Level.TABLE:
        return None
    found |= {"top": float(cycle.top_code or 0), "silent": 1, "drooped": 1}
    shares, sigma = droop.left(driven).float().expand_as(driven), torch.zeros_like(counts)
    if noisy:
        sigma = droop.sigma(counts, cycle).float().expand_as(counts)
        found |= {"silent": int(sigma[0] == 0), **_sigma(transfer, counts, sigma, cycle)}
    both = torch.zeros(2, max(len(shares), len(sigma)), device="cpu")
    both[0, : len(shares)], both[1, : len(sigma)] = shares, sigma
    return found, both[0], both[1]


def _by_driven(
    transfer: Transfer, cycle: Cycle, noisy: bool, to_the_bit: bool
) -> tuple[dict[str, float], Tensor, Tensor]:
    """`_fitted` for other columns that depend on driven rows; tables are # (rows + 1, counts)."""
    rows, top = transfer.macro.rows, cycle.top_code or 0
    counts = torch.arange(cycle.full_scale + 1, dtype=torch.float32, device="cpu")
    driven = torch.arange(rows + 1, dtype=torch.float32, device="cpu")[:, None]
    levels, sigmas = (
        each.float().expand(rows + 1, len(counts)).contiguous()
        for each in transfer.column.of_driven(driven, counts, cycle)
    )
    possible = counts <= driven * (cycle.full_scale // rows)
    found: dict[str, float] = {"top": float(top), "counts": len(counts)}
    nothing = torch.equal(levels[:, 0], levels[:1, 0].expand(rows + 1))
    if noisy:
        nothing = nothing and not bool(sigmas[:, 0].any())
        own = {"sigma": Sigma.TABLE} if _varies(sigmas, possible) else _sigma(transfer, counts, sigmas[-1], cycle)
        found |= {"sigma": Sigma.BY_DRIVEN} if own["sigma"] == Sigma.TABLE else own
    found["silent"] = int(nothing)
    if _varies(levels, possible):
        return found | {"level": Level.BY_DRIVEN}, levels, sigmas
    error = 0.0 if to_the_bit else _LEVEL_ERROR if noisy else math.inf
    own = _level(counts, levels[-1], top, cycle, error)
    return found | ({"level": Level.BY_DRIVEN} if own["level"] == Level.TABLE else own), levels, sigmas


def _varies(values: Tensor, possible: Tensor) -> bool:
    """Whether values at possible counts differ from those with all rows driven. # (rows + 1, counts)"""
    return bool(((values != values[-1]) & possible).any())


def why_no_tables_by_driven(transfer: Transfer) -> str | None:
    """Why there are no tables of a column that depends on driven rows; None if there are."""
    kinds = {
        (c.full_scale, c.analog, noisy)
        for c, noisy in zip(transfer.cycles, transfer.noisy, strict=True)
        if c.converted and not _factor(transfer.column, c)
    }
    length = sum((transfer.macro.rows + 1) * (full_scale + 1) for full_scale, *_ in kinds)
    if length <= _LONGEST_BY_DRIVEN:
        return None
    return f"{length} numbers in tables by count and driven rows are more than {_LONGEST_BY_DRIVEN}"


def _of_real_counts(transfer: Transfer, cycle: Cycle, noisy: bool) -> dict[str, float]:
    """The fields for real counts of a column that `why_no_real_counts` does not refuse: see `columns.Column`."""
    top = float(cycle.top_code or 0)
    found: dict[str, float] = {"level": Level.REAL, "silent": 1, "top": top, "digital": int(not cycle.analog)}
    if cycle.adc_step is None:
        found |= {"divisor": cycle.full_scale, "most": 1.0, "factor": top}
    else:
        found |= {"low": cycle.adc_low, "divisor": cycle.adc_step, "least": -math.inf, "most": math.inf, "factor": 1.0}
    if not noisy:
        return found
    random, nonlinear = transfer.macro.noise_percents(cycle.full_scale)
    codes = codes_of_full_scale(cycle)
    if nonlinear == 0.0:
        return found | {"silent": 0, "sigma": Sigma.CONSTANT, "constant": codes * random / 100.0}
    root = {"full": cycle.full_scale, "c": transfer.macro.rows, "a": random**2, "b": nonlinear**2}
    return found | {"silent": 0, "sigma": Sigma.SHRINKING, "constant": codes / 100.0, **root}


def why_no_real_counts(transfer: Transfer) -> str | None:
    """Why kernels do not compute levels of real counts, if cells differ; None if they do."""
    column, widest = transfer.column, max(cycle.full_scale for cycle in transfer.cycles)
    plain = type(column) is Column or (type(column) is Charge and (column.gain, column.offset) == (1.0, 0.0))
    if not plain:
        return "cells differ, and the column is not `charge` without gain and offset"
    if widest >= 2**11 and transfer.macro.static.reference != "summing":
        return f"cells differ, and with a reference other than summing {widest} counts in a cycle take float64"
    return None


def _sigma(transfer: Transfer, counts: Tensor, sigma: Tensor, cycle: Cycle) -> dict[str, float]:
    if bool((sigma == sigma[0]).all()):
        return {"sigma": Sigma.CONSTANT, "constant": float(sigma[0])}
    # the charge column's sigma is sqrt(a + b / (c * count + 1)); other columns' may equal it
    macro, unit = transfer.macro, codes_of_full_scale(cycle) / 100.0
    a, b = ((percent * unit) ** 2 for percent in macro.noise_percents(cycle.full_scale))
    c = macro.rows / cycle.full_scale
    shrinking = torch.sqrt(a + b / (c * counts.double() + 1.0))
    is_precise = float(sigma.max()) <= _LARGEST_SHRINKING
    if a > 0 and is_precise and bool(((shrinking - sigma).abs() <= _ROOT_ERROR * sigma).all()):
        return {"sigma": Sigma.SHRINKING, "a": a, "b": b, "c": c}
    return {"sigma": Sigma.TABLE}


def _level(counts: Tensor, level: Tensor, top: int, cycle: Cycle, error: float) -> dict[str, float]:
    """Arithmetic from counts to levels with the same codes and a mean error of at most `error`; otherwise a table."""
    codes, divisor = level.round().clamp(0, top), len(counts) - 1
    guess = np.float32(codes_of_full_scale(cycle)) / np.float32(divisor)
    for gain in (guess, np.nextafter(guess, np.float32(0)), np.nextafter(guess, np.float32(np.inf))):
        found = counts * float(gain)
        close = float((found - level).abs().mean()) <= error
        if close and torch.equal(found.round().clamp(0, top), codes):
            return {"level": Level.PROPORTIONAL, "gain": float(gain)}
    # 2^-23 times a whole number below 2^24 / divisor: products with counts are exact, and the sum is rounded once
    factor = round(2**23 / divisor) / 2**23
    rest = float(np.float32(1.0 / divisor - factor))
    if torch.equal((counts * factor + counts * rest) * float(top), level):
        return {"level": Level.QUOTIENT, "gain": factor, "rest": rest}
    return {"level": Level.TABLE}
