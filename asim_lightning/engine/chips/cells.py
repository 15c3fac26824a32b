"""The cells of a chip: capacitors or currents that differ, and the gains of columns that follow from them."""

import math

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle
from asim_lightning.engine.chips.places import Places
from asim_lightning.engine.integer import digits

GRID = 2.0**-12
"""Step to which cells are rounded, so that their sums stay exact in float32."""
MOST_CELL = 16.0
"""Largest content of a cell in a file, in nominal cells."""


def contents(places: Places, bits: range | None = None) -> Tensor:
    """Contents of the 1-cells of some bits (default: all), nominal 1: ``1 + s z``, in multiples of `GRID`.

    A 0-cell has no content. If one conversion takes all weight bits, the cell of bit b has 2^b units and holds
    ``2^b + s 2^(b/2) z`` of them (with `column_args.cell_sigma`, for currents: ``2^b (1 + s z)``). z belongs to (chip,
    layer, cell), whatever the sample and trial. # (bits, *cells), float32
    """
    chip, macro, sigma = places.chip, places.macro, places.transfer.column.cell_sigma / 100.0
    bits = range(places.cells[0]) if bits is None else bits
    if chip.saved is not None:
        held = chip.saved.tensor(chip.layer, "cells", places.cells, -MOST_CELL, MOST_CELL)
        cells = chip.scaled(held[bits.start : bits.stop], 1.0)
    else:
        shape = places.cells[1:]
        error = sigma * chip.spreads("cells", shape.numel(), bits)
        if macro.weight_parallel and macro.static.cell_percent:
            error /= _sizes(bits).sqrt()[:, None]
        cells = 1.0 + error.view(-1, *shape)
    return torch.round(cells / GRID) * GRID


def all_idle_cells(places: Places) -> Tensor:
    """`ChargeGains.idle_cells` of all tiles and weight bits. # (tiles, weight bits; weight-parallel: 1, *columns)"""
    gains, bits = ChargeGains(places), places.columns.shape[1]
    every = [gains.idle_cells(number, bit) for number in range(len(places.tiles)) for bit in range(bits)]
    return torch.stack(every).unflatten(0, (-1, bits))


def weight_digits(w: Tensor, cycle: Cycle, places: Places) -> Tensor:
    """Digits of a cycle's weight bits, float32: integers, or the contents of an analog cycle's cells if they differ, in
    multiples of `GRID`. Samples of a batch use the same cells in turn. # (*weight), or (batch, *weight)"""
    if not (places.transfer.column.cell_sigma and cycle.analog):
        return digits(w, cycle.weight_bits, cycle.weight_signed)
    integers = w.to(torch.int32)
    total = torch.zeros(w.shape, dtype=torch.float32, device=w.device)
    for cell, bit in zip(_cells_of(places, cycle).to(w.device), cycle.weight_bits, strict=True):
        negative = cycle.weight_signed and bit == cycle.weight_bits[-1]
        total += digits(integers, (bit,), False) * (-cell if negative else cell)
    return total


def _cells_of(places: Places, cycle: Cycle) -> Tensor:
    """Content of the 1-cell of each weight and bit, in units of the cycle's lowest bit. # (weight bits, *weight)"""
    bits = range(cycle.weight_bits[0], cycle.weight_bits[-1] + 1)
    if places.static.is_reused:
        held = contents(places).flatten(1)
        cells = torch.stack([held[bit if len(held) > 1 else 0][places.cell_numbers(bit)] for bit in bits])
    else:
        cells = contents(places, bits)
    return cells * _sizes(range(len(bits))).view(-1, *[1] * len(places.shape))


def _sizes(bits: range) -> Tensor:
    return 2.0 ** torch.arange(bits.start, bits.stop, dtype=torch.float32, device="cpu")


class ChargeGains:
    """Gains of counts, because a column's charge is shared among all its cells; computed at first use.

    A ratiometric reference gives ``N / sum(c)``, an absolute one ``N (1 + rho) / (sum(c) + N rho)``. N counts physical
    rows (for weight-parallel conversion: units of all bits), because cells in unused rows of a tile share the charge,
    too. The sum of n unused cells is ``n + s sqrt(n) z``.
    """

    def __init__(self, places: Places) -> None:
        self.places = places
        self._units = 2.0**places.macro.weight_bits - 1 if places.macro.weight_parallel else 1.0
        self._found: dict[tuple[int, tuple[int, ...]], Tensor] = {}

    def of(self, number: int, cycle: Cycle) -> Tensor | None:
        """The gains of a tile in a cycle, float32; None if they are 1. # broadcasts against (*outputs)"""
        static = self.places.static
        if static.reference == "summing" or not (static.cell_percent and cycle.analog):
            return None
        key = number, cycle.weight_bits
        if key not in self._found:
            total, n = self._total(number, cycle), self.places.macro.rows * self._units
            gain = (n * (1 + static.parasitics) / (total + n * static.parasitics)).float()
            self._found[key] = self.places.geometry.per_output(gain)
        return self._found[key]

    def _total(self, number: int, cycle: Cycle) -> Tensor:
        """Sum over all cells of the columns of a tile, float64. # (*columns), or (groups or heads, outputs)"""
        places = self.places
        if places.static.is_reused:
            held = contents(places).double() * _sizes(range(places.cells[0])).double().view(-1, 1, 1, 1)
            return held.sum((0, 2))[places.macros[number][:, None], places.column_of(cycle)]
        held = places.geometry.held(_cells_of(places, cycle).double().sum(0), places.tiles[number])
        return held.sum(-1) + self._idle(held) + self.idle_cells(number, cycle.weight_bits[0])

    def _idle(self, held: Tensor) -> float:
        """Nominal sum of the cells of a column that no weight uses."""
        return (self.places.macro.rows - held.shape[-1]) * self._units

    def idle_cells(self, number: int, bit: int) -> Tensor:
        """Contents of the cells that no weight uses, minus their nominal sum, for each column of a tile. `bit` is the
        lowest of a cycle's weight bits.

        # (*columns), float64
        """
        places, chip, macro = self.places, self.places.chip, self.places.macro
        held = places.geometry.held(torch.empty(places.shape, device="meta"), places.tiles[number])
        shape = held.shape[:-1]
        if chip.saved is not None:
            most, lines = MOST_CELL * macro.rows * 2**macro.weight_bits, (len(places.tiles), places.columns.shape[1])
            every = chip.saved.tensor(chip.layer, "idle_cells", (*lines, *shape), -most, most, torch.float64)
            return chip.scaled(every[number, bit])
        line = number * macro.weight_bits + bit
        normal = chip.spreads("idle cells", shape.numel(), range(line, line + 1))[0].view(shape).double()
        return places.transfer.column.cell_sigma / 100.0 * math.sqrt(self._idle(held)) * normal
