"""The cells of a chip: capacitors or currents that differ, and the gains of columns that follow from them."""

import math
from functools import cached_property

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle
from asim_lightning.engine.chips.places import Places
from asim_lightning.engine.integer import digits
from asim_lightning.engine.product import Tile

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
        cells = chip.scaled(held[bits.start : bits.stop], 1.0).clone()
    else:
        shape = places.cells[1:]
        error = chip.spreads("cells", shape.numel(), bits).mul_(sigma)
        if macro.weight_parallel and macro.static.cell_percent:
            error /= _sizes(bits).sqrt()[:, None]
        cells = error.add_(1.0).view(-1, *shape)
    return cells.div_(GRID).round_().mul_(GRID)


def _sizes(bits: range) -> Tensor:
    return 2.0 ** torch.arange(bits.start, bits.stop, dtype=torch.float32, device="cpu")


class Cells:
    """The cells of a product's weights on a chip, drawn or read once.

    A column's charge is shared among all its cells, so that its counts have a gain. A ratiometric reference gives
    ``N / sum(c)``, an absolute one ``N (1 + rho) / (sum(c) + N rho)``. N counts physical rows (for weight-parallel
    conversion: units of all bits), because cells in unused rows of a tile share the charge, too. The sum of n unused
    cells is ``n + s sqrt(n) z``.

    Attributes:
        places: Where the weights lie.
        units: Content of the 1-cell of each weight and bit, in steps of `GRID`; int16 if they fit, else int32. With
            weight-parallel conversion the cell of bit b is 2^b times as large. # (weight bits, *weight)
    """

    def __init__(self, places: Places) -> None:
        self.places = places
        if places.static.is_reused:
            held = contents(places)
            sized = held.double() * _sizes(range(len(held))).double().view(-1, 1, 1, 1)
            self._sums = sized.sum((0, 2))  # (macros, columns)
            flat = held.flatten(1)
            numbers = [places.cell_numbers(bit) for bit in range(places.macro.weight_bits)]
            self.units = _whole([flat[bit if len(flat) > 1 else 0][cell] for bit, cell in enumerate(numbers)])
        else:
            # bit by bit, because normals of all bits take twice the memory of the result
            self.units = _whole([contents(places, range(bit, bit + 1))[0] for bit in range(places.cells[0])])

    def of_cycle(self, cycle: Cycle) -> Tensor:
        """Content of the 1-cell of each weight for a cycle's bits, in units of its lowest bit.

        # (weight bits of the cycle, *weight), float32
        """
        held = self.units[cycle.weight_bits[0] : cycle.weight_bits[-1] + 1].float() * GRID
        return held * _sizes(range(len(held))).view(-1, *[1] * (held.dim() - 1))

    @cached_property
    def gains(self) -> Tensor | None:
        """Gains of the counts of analog cycles, float32; None if all are 1.

        # (tiles, weight bits; weight-parallel: 1, *columns), or with reuse (..., groups or heads, outputs)
        """
        places, static = self.places, self.places.static
        if static.reference == "summing" or not static.cell_percent:
            return None
        if places.static.is_reused:
            every = [self._sums[macros[:, None, None], places.columns] for macros in places.macros]
            total = torch.stack(every).movedim(-1, 1)
        else:
            total = torch.stack([self._held(tile) for tile in places.tiles]) + all_idle_cells(places)
        n = places.macro.rows * _units_of_row(places)
        return (n * (1 + static.parasitics) / (total + n * static.parasitics)).float()

    def gain(self, number: int, cycle: Cycle) -> Tensor | None:
        """The gains of a tile in a cycle; None if they are 1. # (*columns), or (groups or heads, outputs)"""
        if self.gains is None or not cycle.analog:
            return None
        return self.gains[number, 0 if self.places.macro.weight_parallel else cycle.weight_bits[0]]

    def _held(self, tile: Tile) -> Tensor:
        """Contents of the columns of a tile, idle cells nominal, float64. # (weight bits, *columns)"""
        places = self.places
        held = [places.geometry.held(bit, tile) for bit in self.units]  # (*columns, rows) each
        idle = (places.macro.rows - held[0].shape[-1]) * _units_of_row(places)
        sums = torch.stack([bit.sum(-1, dtype=torch.int64) for bit in held]).double() * GRID
        if places.macro.weight_parallel:
            sums = (sums * _sizes(range(len(sums))).double().view(-1, *[1] * (sums.dim() - 1))).sum(0, keepdim=True)
        return sums + idle


def _whole(bits: list[Tensor]) -> Tensor:
    """Contents of bits in steps of `GRID`. # (bits, *weight), int16 or int32"""
    fits = all(not bit.numel() or float(bit.abs().max()) < 2**15 * GRID for bit in bits)
    return torch.stack([(bit / GRID).to(torch.int16 if fits else torch.int32) for bit in bits])


def weight_digits(w: Tensor, cycle: Cycle, cells: Cells | None) -> Tensor:
    """Digits of a cycle's weight bits, float32: integers, or the contents of an analog cycle's cells if they differ, in
    multiples of `GRID`. Samples of a batch use the same cells in turn. # (*weight), or (batch, *weight)"""
    if cells is None or not cycle.analog:
        return digits(w, cycle.weight_bits, cycle.weight_signed)
    integers = w.to(torch.int32)
    total = torch.zeros(w.shape, dtype=torch.float32, device=w.device)
    for cell, bit in zip(cells.of_cycle(cycle).to(w.device), cycle.weight_bits, strict=True):
        negative = cycle.weight_signed and bit == cycle.weight_bits[-1]
        total += digits(integers, (bit,), False) * (-cell if negative else cell)
    return total


def _units_of_row(places: Places) -> float:
    """Nominal content of a column's cells in a row."""
    return 2.0**places.macro.weight_bits - 1 if places.macro.weight_parallel else 1.0


def all_idle_cells(places: Places) -> Tensor:
    """Contents of the cells that no weight uses, minus their nominal sum, for each column of each tile, float64.

    # (tiles, weight bits; weight-parallel: 1, *columns)
    """
    chip, macro, columns = places.chip, places.macro, torch.Size(places.geometry.columns)
    shape = len(places.tiles), places.columns.shape[1], *columns
    if chip.saved is not None:
        most = MOST_CELL * macro.rows * 2**macro.weight_bits
        return chip.scaled(chip.saved.tensor(chip.layer, "idle_cells", shape, -most, most, torch.float64))
    lines = chip.spreads("idle cells", columns.numel(), range(len(places.tiles) * macro.weight_bits)).double()
    normal = lines.view(len(places.tiles), macro.weight_bits, *columns)[:, : shape[1]]
    idle = [(macro.rows - places.geometry.rows_of(tile)) * _units_of_row(places) for tile in places.tiles]
    roots = torch.tensor([math.sqrt(cells) for cells in idle], dtype=torch.float64, device="cpu")
    return places.transfer.column.cell_sigma / 100.0 * roots.view(-1, *[1] * (len(columns) + 1)) * normal
