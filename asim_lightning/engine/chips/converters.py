"""Errors of a chip's converters, which stay the same for its life: gain, offset and integral nonlinearity (INL)."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.circuit import Cycle
from asim_lightning.engine.chips.places import Places


@dataclass(frozen=True, eq=False)
class Converters:
    """Gain, offset and INL of converters: ``v = level * gain + offset + sigma * z``. The threshold between codes c - 1
    and c is ``c - 1/2 + inl[c]``, with codes counted from the lowest one.

    A conversion begins at the code r nearest to v. While v is below threshold r, r becomes r - 1. If v was not below
    it at first, r becomes r + 1 while v reaches threshold r + 1. If thresholds are in order, r is the number of
    thresholds that v reaches. A large INL puts thresholds out of order. Then r is the first code on this way with v
    between its thresholds, in all engines.

    Attributes:
        index: Converter of each place, int64. # (tiles, groups or heads, output columns, weight bits)
        gain: # (converters,)
        offset: In codes. # (converters,)
        curve: Number of each converter's table of INL, int64. # (converters,)
        tables: INL in codes: for a C-DAC a table for each nibble of c, lowest first, and entries are added; or measured
            curves. # (tables, nibbles, 16) or (tables, codes)
    """

    index: Tensor
    gain: Tensor | None = None
    offset: Tensor | None = None
    curve: Tensor | None = None
    tables: Tensor | None = None

    def changed(
        self, gain: Tensor | None = None, offset: Tensor | None = None, inl: Tensor | None = None
    ) -> "Converters":
        """Converters with further errors: gains multiply, offsets add, and INL is set by converter or for all."""
        found = self
        if gain is not None:
            found = replace(found, gain=gain if self.gain is None else self.gain * gain)
        if offset is not None:
            found = replace(found, offset=offset if self.offset is None else self.offset + offset)
        if inl is not None:
            count = int(self.index.max()) + 1 if len(inl) == 1 else len(inl)
            found = replace(found, curve=torch.arange(count, device="cpu") % len(inl), tables=inl)
        return found

    def of_outputs(self, places: Places, tile: int, cycle: Cycle, device: torch.device) -> "OutputConverters":
        """The converters of a tile's outputs in a cycle; cycles of several weight bits use the converters of bit 0."""
        own = self.index[tile, :, :, 0 if len(cycle.weight_bits) > 1 else cycle.weight_bits[0]]
        return self.at(places.geometry.per_output(own).to(device))

    def at(self, number: Tensor) -> "OutputConverters":
        """The converters of outputs, by number, on the device of the numbers."""
        every = self.gain, self.offset, self.curve, self.tables
        gain, offset, curve, tables = (None if each is None else each.to(number.device) for each in every)
        return OutputConverters(
            None if gain is None else gain.float()[number],
            None if offset is None else offset.float()[number],
            None if curve is None or tables is None else (curve[number], tables.float()),
        )


@dataclass(frozen=True, eq=False)
class OutputConverters:
    """The converter of each output. # (*outputs), or shapes that broadcast against it

    Attributes:
        gain: float32.
        offset: In codes, float32.
        inl: Number of the table of each output, and the tables; see `Converters`.
    """

    gain: Tensor | None = None
    offset: Tensor | None = None
    inl: tuple[Tensor, Tensor] | None = None

    def level(self, level: Tensor) -> Tensor:
        """Levels with gain and offset."""
        level = level if self.gain is None else level * self.gain
        return level if self.offset is None else level + self.offset

    def moved(self, code: Tensor, value: Tensor, low: int, top: int) -> Tensor:
        """Codes of values, compared with the thresholds next to them until no code moves.

        Args:
            code: Codes by ideal thresholds, low..top. # (batch, *outputs)
            value: Values to convert, in codes. # (batch, *outputs)
        """
        if self.inl is None:
            return code
        table, tables = self.inl
        while True:
            below = (code > low) & (value < code - 0.5 + inl_at(table, tables, code - low))
            higher = (code + 1 - low).clamp_max(top - low)
            above = (code < top) & (value >= code + 0.5 + inl_at(table, tables, higher))
            if not bool((below | above).any()):
                return code
            code = torch.where(below, code - 1, torch.where(above, code + 1, code))


def inl_at(table: Tensor, tables: Tensor, code: Tensor) -> Tensor:
    """INL at codes, counted from the lowest, float32, in codes. # (batch, *outputs)"""
    code = code.long()
    if tables.dim() == 2:
        return tables[table, code]
    total = torch.zeros(code.shape, dtype=torch.float32, device=code.device)
    for nibble in range(tables.shape[1]):
        total = total + tables[table, nibble, code >> 4 * nibble & 15]
    return total


def most_moves(tables: Tensor) -> int:
    """Most codes by which INL moves a code: a threshold that is off by x codes moves a level by at most x codes."""
    off = tables.float().abs()
    largest = float(off.max() if off.dim() == 2 else off.amax(2).sum(1).max())
    return 1 + math.floor(largest + 2.0**-8)  # float32 rounds thresholds of up to 16 bits by at most this


@dataclass(frozen=True, eq=False)
class PlacedConverters:
    """Errors of converters as kernels read them. # (tiles, groups or heads, weight bits, output columns)

    Attributes:
        outputs: Output columns, filled up to a multiple of the kernel's group.
        gain: float32; None if all are 1.
        offset: In codes, float32; None if all are 0.
        curve: Number of a converter's table, int32; None if there is no INL.
        tables: float32.
    """

    weight_bits: int
    outputs: int
    gain: Tensor | None
    offset: Tensor | None
    curve: Tensor | None
    tables: Tensor | None

    @property
    def nibbles(self) -> int:
        """Nibbles of a code, each with its own table; 0 if tables are curves by code."""
        return self.tables.shape[1] if self.tables is not None and self.tables.dim() == 3 else 0

    @property
    def length(self) -> int:
        """Entries of a table."""
        return 0 if self.tables is None else self.tables.shape[-1]

    @cached_property
    def moves(self) -> int:
        """Most codes by which INL moves a code."""
        return 0 if self.tables is None else most_moves(self.tables)


def placed(converters: Converters, group: int, device: torch.device | str = "cpu") -> PlacedConverters:
    """Errors by place on a device, with output columns filled up to a multiple of a group."""
    # an indexed tensor takes the memory order of its index, and a pad of 0 keeps the transposed order
    index = F.pad(converters.index.transpose(2, 3), (0, -converters.index.shape[2] % group)).contiguous()
    each = converters.gain, converters.offset
    gain, offset = (None if values is None else values.float()[index].to(device) for values in each)
    curve = None if converters.curve is None else converters.curve[index].int().to(device)
    tables = None if converters.tables is None else converters.tables.float().contiguous().to(device)
    return PlacedConverters(index.shape[2], index.shape[3], gain, offset, curve, tables)


def in_order(tables: Tensor, codes: int) -> bool:
    """Whether the thresholds of every converter rise with the code, for so many codes."""
    tables = tables.float()
    if tables.dim() == 2:
        return bool((tables[:, 1:].diff(dim=1) >= -1).all())  # there is no threshold below code 0
    carried = torch.zeros(len(tables), 1, device=tables.device)
    for nibble in range(tables.shape[1]):
        used = min(16, -(-codes // 16**nibble))
        # from a code that ends in nibbles of 15 to the next one, which ends in nibbles of 0
        if bool((tables[:, nibble, :used].diff(dim=1) + carried < -1).any()):
            return False
        carried = carried + tables[:, nibble, :1] - tables[:, nibble, 15:]
    return True


INL_PARTS = 4
"""Parts of the codes; INL is bounded for all codes below the end of each part."""
_FARTHEST = 0.45
"""Thresholds stay in order if no INL is larger than this."""


def inl_bounds(given: Tensor, top: int) -> Tensor:
    """Least and largest INL of the thresholds that decide codes below the end of each quarter of 0..top, float32;
    infinite if thresholds may be out of order. # (2, 4, tables)"""
    found = []
    tables = given.float() if given.dim() == 2 else given.float().permute(1, 2, 0).contiguous()  # tables are neighbours
    for part in range(INL_PARTS):
        end = min(top, math.ceil((top + 1) / INL_PARTS * (part + 1)) + 2)
        low, high = tables[:, : end + 1].aminmax(dim=1) if given.dim() == 2 else _range_of_sums(tables, end)
        in_order = (low >= -_FARTHEST) & (high <= _FARTHEST)
        found.append(torch.stack((low.where(in_order, -math.inf), high.where(in_order, math.inf))))
    return torch.stack(found, 1)


def _range_of_sums(tables: Tensor, end: int) -> tuple[Tensor, Tensor]:
    """Least and largest INL at codes 0..end, from tables by nibbles; sums are rounded as `inl_at` rounds them.

    # (nibbles, 16, tables) to (tables,) each
    """
    # of all codes of the nibbles so far, and of those up to the end
    low = high = part_low = part_high = torch.zeros(tables.shape[2], device=tables.device)
    for nibble, entries in enumerate(tables):
        last = end >> 4 * nibble & 15
        part_low, part_high = part_low + entries[last], part_high + entries[last]
        if last:
            # rounding keeps order, so that the sum with the least entry is the least sum
            part_low = torch.minimum(part_low, low + entries[:last].amin(0))
            part_high = torch.maximum(part_high, high + entries[:last].amax(0))
        if nibble + 1 < len(tables):
            low, high = low + entries.amin(0), high + entries.amax(0)
    return part_low, part_high
