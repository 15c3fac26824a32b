"""A macro's schedule as the arrays that the packed kernels read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, Transfer

COUNT, PROPORTIONAL, TABLE, QUOTIENT = 0, 1, 2, 4
"""How a count becomes a level: a digital cycle keeps it; by one product; by a table; by a division and a product."""
NONE, CONSTANT, SHRINKING = 0, 1, 3
"""What sigma is: nothing; one number; ``sqrt(a^2 + b^2 / (c * count + 1))``; TABLE: by count."""
VOTE_RULES = {"mean": 0, "mode": 1, "median": 2}
"""Numbers of the ways in which votes become a code."""
STEP, PAIR, KINDS, NUMBERS = 13, 9, 5, 7
"""Numbers of a step and of four pairs of digits, and of a cycle in the two tables of `_convert`."""
_LONGEST_TABLE = 2**20
_MOST_VOTES = 64
_HALF = 2**15
"""More than any half of a word, which has a sign."""
_ROOT_ERROR = 2e-6
_LARGEST_SHRINKING = 10.0
"""Largest sigma, in codes, whose root may be off by so much."""
_LEVEL_ERROR = 1e-6
"""Mean error of levels, in codes, which is the share of noisy codes that it changes."""


@dataclass(frozen=True)
class PackedSchedule:
    """Cycles as arrays, four by four, the last four filled up with cycles of nothing; see `conversion._convert`.

    Attributes:
        first_step: int64. # (fours + 1,)
        by_input: Steps where lanes are inputs, int64. # (steps * 13,)
        by_weight: Steps where lanes are weights, int64. # (steps * 13,)
        digits: Lowest bit and number of bits of each digit of an input.
        input_pairs: Digits of four cycles where lanes are inputs, int64; see `conversion_amx`. # (fours * 9,)
        weight_pairs: The same where lanes are weights.
        kinds: int64. # (fours * 4 * 5,)
        numbers: float32. # (fours * 4 * 7,)
        levels: Tables of levels, float32.
        sigmas: Tables of sigmas, float32.
        noisy: Most votes of a noisy cycle among each four, 0 where none is noisy, int64; above 1 a four is voted.
            # (fours,)
        has_noise: Whether any cycle is noisy.
        quiet: Whether a count of 0 gives code 0 in all of each four, without noise, int64. # (fours,)
        digital: Whether any cycle gives its exact count.
        plain: 0, or where all of each four are converted without noise, at levels in proportion to counts, and codes
            and weights have at most 15 bits: 1 more than the zeros that these weights all end in, int64. # (fours,)
        cycles: Cycles of the schedule.
        most_votes: Most votes of a cycle.
        scale: What the sums of codes are multiplied with and divided by, float64. # (2,)
    """

    first_step: np.ndarray
    by_input: np.ndarray
    by_weight: np.ndarray
    digits: tuple[tuple[int, int], ...]
    input_pairs: np.ndarray
    weight_pairs: np.ndarray
    kinds: np.ndarray
    numbers: np.ndarray
    levels: np.ndarray
    sigmas: np.ndarray
    noisy: np.ndarray
    has_noise: bool
    quiet: np.ndarray
    digital: bool
    plain: np.ndarray
    cycles: int
    most_votes: int
    scale: np.ndarray


def refuses(transfer: Transfer) -> str | None:
    """Why the packed engine does not compute a macro; None where it does."""
    cycles, macro = transfer.cycles, transfer.macro
    if transfer.column.cell_sigma:
        return "cells differ, so that counts are no whole numbers"
    if macro.adc_bits is None:
        return "an ideal converter's codes are no whole numbers"
    if any(c.signed for c in cycles):
        return "several weight bits are converted at once"
    if (votes := max(c.votes for c in cycles)) > _MOST_VOTES:
        return f"{votes} votes are more than {_MOST_VOTES}"
    if (largest := max(c.full_scale for c in cycles)) >= _LONGEST_TABLE:
        return f"{largest} counts in a cycle are too many to tabulate"
    return None if transfer.largest_sum < 2**31 else "sums of a tile do not fit into 31 bits"


@lru_cache(maxsize=64)
def packed_schedule(transfer: Transfer) -> PackedSchedule:
    """The arrays of a macro that is not refused."""
    cycles, macro = transfer.cycles, transfer.macro
    kinds, numbers, tables = [], [], _Tables(transfer)
    for cycle, noisy in zip(cycles, transfer.noisy, strict=True):
        votes = cycle.votes if noisy else 1  # those of a code without noise are all the same
        kind, values = tables.of(cycle, noisy)
        weight = transfer.code_weight(cycle, votes) if cycle.converted else cycle.sign * 2**cycle.shift
        kinds.append((*kind, votes, weight))
        numbers.append(values)
    empty = -len(cycles) % 4
    kinds += [(PROPORTIONAL, NONE, 0, 1, 0)] * empty
    numbers += [[0.0] * NUMBERS] * empty
    fours = [cycles[low : low + 4] for low in range(0, len(cycles), 4)]
    read = [c.votes if noisy else 0 for c, noisy in zip(cycles, transfer.noisy, strict=True)] + [0] * empty
    first = np.cumsum([0, *(max(len(c.input_bits) for c in four) for four in fours)])
    digits = tuple(sorted({(c.input_bits[0], len(c.input_bits)) for c in cycles}))
    return PackedSchedule(
        first, _steps(fours, macro.weight_bits, True), _steps(fours, macro.input_bits, False), digits,
        _pairs(fours, digits, True), _pairs(fours, digits, False),
        np.array(kinds, np.int64).ravel(), np.array(numbers, np.float32).ravel(), *tables.arrays(),
        np.array(read, np.int64).reshape(-1, 4).max(1),
        any(transfer.noisy),
        np.array([all(_is_quiet(transfer, cycle) for cycle in four) for four in fours], np.int64),
        any(not c.converted for c in cycles),
        np.array([_plain(kinds[at : at + 4], numbers[at : at + 4]) for at in range(0, len(kinds), 4)], np.int64),
        len(cycles), max(c.votes for c in cycles),
        np.array([macro.rows, (macro.top_code or 1) * transfer.most_votes], np.float64),
    )  # fmt: skip


def _plain(kinds: Sequence[tuple[int, ...]], numbers: Sequence[list[float]]) -> int:
    if any(kind[:2] != (PROPORTIONAL, NONE) for kind in kinds) or max(cycle[1] for cycle in numbers) >= _HALF:
        return 0
    weights = [kind[4] for kind in kinds]
    common = math.gcd(*weights)
    zeros = (common & -common).bit_length() - 1 if common else 0
    return 1 + zeros if max(map(abs, weights)) >> zeros < _HALF else 0


def _is_quiet(transfer: Transfer, cycle: Cycle) -> bool:
    nothing = torch.zeros(1)
    if not cycle.converted:
        return True
    silent = float(transfer.column.sigma(nothing, cycle)) == 0.0
    return silent and float(transfer.column.level(nothing, cycle).round().clamp_min(0)) == 0.0


def _steps(fours: list[tuple[Cycle, ...]], zeros: int, by_input: bool) -> np.ndarray:
    """Pairs of planes, one of each of four cycles; a cycle that has no more takes the plane of zeros."""
    steps = []
    for four in fours:
        for place in range(max(len(c.input_bits) for c in four)):
            pairs = [
                (c.weight_bits[0], c.input_bits[place], place) if place < len(c.input_bits) else None for c in four
            ]
            real = next(pair for pair in pairs if pair is not None)
            full = [pair or (None, None, 0) for pair in [*pairs, *[None] * (4 - len(pairs))]]
            single, lane = (0, 1) if by_input else (1, 0)
            lanes = [real[lane] if pair[lane] is None else pair[lane] for pair in full]
            singles = [zeros if pair[single] is None else pair[single] for pair in full]
            steps.append([*singles, *lanes, *(pair[2] for pair in full), len(set(lanes)) == 1])
    return np.array(steps, np.int64).ravel()


def _pairs(fours: list[tuple[Cycle, ...]], digits: tuple[tuple[int, int], ...], by_input: bool) -> np.ndarray:
    """A plane of each side for each of four cycles, and which side has one plane for all; the last cycle's stand for
    those that are missing."""
    pairs = []
    for four in fours:
        full = [*four, *[four[-1]] * (4 - len(four))]
        bits = [c.weight_bits[0] for c in full]
        planes = [digits.index((c.input_bits[0], len(c.input_bits))) for c in full]
        singles, lanes = (bits, planes) if by_input else (planes, bits)
        shared = 1 if len(set(lanes)) == 1 else 2 if len(set(singles)) == 1 else 0
        pairs.append([*singles, *lanes, shared])
    return np.array(pairs, np.int64).ravel()


class _Tables:
    """Level and sigma of each kind of cycle: as arithmetic where that gives the column's numbers, else as tables."""

    def __init__(self, transfer: Transfer) -> None:
        self.transfer, self.length = transfer, 1
        self.found: dict[tuple[int, bool, bool], tuple[tuple[int, int, int], list[float]]] = {}
        self.levels, self.sigmas = [torch.zeros(1)], [torch.zeros(1)]

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return torch.cat(self.levels).numpy(), torch.cat(self.sigmas).numpy()

    def of(self, cycle: Cycle, noisy: bool) -> tuple[tuple[int, int, int], list[float]]:
        """Kinds of level and sigma and the place in the tables; gain, top code and numbers of sigma."""
        key = (cycle.full_scale, cycle.converted, noisy)
        if key not in self.found:
            top = cycle.top_code if cycle.converted else None
            nothing = ((COUNT, 0, 0), [0.0] * NUMBERS)
            self.found[key] = nothing if top is None else self._fitted(cycle, noisy, top)
        return self.found[key]

    def _fitted(self, cycle: Cycle, noisy: bool, top: int) -> tuple[tuple[int, int, int], list[float]]:
        counts = torch.arange(cycle.full_scale + 1, dtype=torch.float32)
        level = self.transfer.column.level(counts, cycle).float().expand_as(counts)
        level_kind, gain, rest = _level(counts, level, top, noisy)
        kind, numbers, sigma = NONE, [0.0] * 4, torch.zeros_like(counts)
        if noisy:
            sigma = self.transfer.column.sigma(counts, cycle).float().expand_as(counts)
            kind, numbers = self._sigma(counts, sigma, cycle, top)
        place = 0
        if TABLE in (level_kind, kind):
            self.levels.append(level)
            self.sigmas.append(sigma)
            place, self.length = self.length, self.length + len(counts)
        return (level_kind, kind, place), [gain, float(top), *numbers, rest]

    def _sigma(self, counts: Tensor, sigma: Tensor, cycle: Cycle, top: int) -> tuple[int, list[float]]:
        if bool((sigma == sigma[0]).all()):
            return CONSTANT, [float(sigma[0]), 0.0, 0.0, 0.0]
        # the charge column's: sqrt(a + b / (c * count + 1)), where this column's is that
        macro, unit = self.transfer.macro, top / 100.0
        a, b = (macro.random_noise_percent * unit) ** 2, (macro.nonlinear_noise_percent * unit) ** 2
        c = macro.rows / cycle.full_scale
        shrinking = torch.sqrt(a + b / (c * counts.double() + 1.0))
        is_precise = float(sigma.max()) <= _LARGEST_SHRINKING
        if a > 0 and is_precise and bool(((shrinking - sigma).abs() <= _ROOT_ERROR * sigma).all()):
            return SHRINKING, [0.0, a, b, c]
        return TABLE, [0.0] * 4


def _level(counts: Tensor, level: Tensor, top: int, noisy: bool) -> tuple[int, float, float]:
    """How counts become levels, closely enough that noise changes as good as no code, or without noise none; with the
    numbers that it takes: a factor, and for a quotient the rest of its precision."""
    codes, divisor = level.round().clamp(0, top), len(counts) - 1
    guess = np.float32(top) / np.float32(divisor)
    for gain in (guess, np.nextafter(guess, np.float32(0)), np.nextafter(guess, np.float32(np.inf))):
        found = counts * float(gain)
        close = not noisy or float((found - level).abs().mean()) <= _LEVEL_ERROR
        if close and torch.equal(found.round().clamp(0, top), codes):
            return PROPORTIONAL, float(gain), 0.0
    # 2^-23 times a whole number below 2^24 / divisor: its products with counts are exact, and the sum is rounded once
    factor = round(2**23 / divisor) / 2**23
    rest = float(np.float32(1.0 / divisor - factor))
    if torch.equal((counts * factor + counts * rest) * float(top), level):
        return QUOTIENT, factor, rest
    return TABLE, 0.0, 0.0
