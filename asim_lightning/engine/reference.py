"""The reference engine: every conversion of the schedule, one after the other, in plain torch on any device.

This file is the specification: every other engine agrees with it.
"""

from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, Transfer
from asim_lightning.circuit.columns import vote
from asim_lightning.engine.chips.cells import Cells, weight_digits
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.converters import Converters, OutputConverters
from asim_lightning.engine.chips.places import Places
from asim_lightning.engine.integer import digits
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product
from asim_lightning.engine.program import (
    EVERY_CONVERSION,
    Conversions,
    ConvertingProgram,
    Tap,
    prefers_nothing,
    required,
    runs_everywhere,
)
from asim_lightning.engine.stored_weights import StoredBits, Weights
from asim_lightning.engine.threads import one_thread_each
from asim_lightning.engine.torch_modes import exact_float32

CPU_ELEMENTS = 2**20
"""Counts in flight on a CPU: 4 MB, so that the passes over them stay in its caches."""
DEVICE_ELEMENTS = 2**26
"""Counts in flight on an accelerator."""

ALGORITHM, SAME_NOISE, prefers = EVERY_CONVERSION, True, prefers_nothing
why_not_on = runs_everywhere


def refuses(transfer: Transfer) -> str | None:
    """None: the reference engine computes every macro."""
    return None


def prepare(product: Product, transfer: Transfer, weights: Weights | None, chip: Chip = Chip()) -> "ReferenceProgram":
    """See `Engine.prepare`."""
    return ReferenceProgram(product, weights, transfer, chip)


@dataclass(eq=False)
class ReferenceProgram(ConvertingProgram):
    """Every conversion of a product.

    Attributes:
        tap: Sees the conversions of the whole batch at once, tile by tile and cycle by cycle; None: nobody does.
    """

    tap: Tap | None = field(default=None, kw_only=True)

    @torch.no_grad()
    def sums(self, x: Tensor, noise: Noise | None) -> Tensor:
        """Outputs of a macro, in counts: ``product(x, w)`` as the macro's conversions return it.

        For each tile and cycle: ``code = clamp(round_half_even(level(count) + sigma(count) * z), 0, top_code)`` and
        ``output += sign * 2^shift * full_scale / top_code * code`` (ASiM, arXiv 2411.11022, section III). An ADC with a
        set range adds ``sign * 2^shift * (adc_step * code + adc_low)`` instead. Codes of a column of complements count
        negatively (`StoredBits`). `Converters` says how a converter's errors change levels and codes. Codes times their
        weight (`Transfer.code_weight`) are summed as integers, and so are the exact counts of digital cycles.

        float64, or float32 if the device has no float64. # (batch, *outputs)
        """
        product, transfer, source = self.product, self.transfer, required(noise)
        stored = self.stored
        x, w = x.to(torch.int32), stored.weights.integers.to(torch.int32)
        max_elements = self.max_elements
        if max_elements is None:
            max_elements = CPU_ELEMENTS if x.device.type == "cpu" else DEVICE_ELEMENTS
        votes = max(cycle.votes for cycle in transfer.cycles)
        stacked = max(len(block) for block in blocks(transfer)) * votes
        step = max(1, max_elements // max(1, stacked * product.geometry(x, w).positions))
        step = step if self.tap is None else len(x)
        places = Places(self.chip, product, transfer, product.weight_shape(w))
        errors = self.of_chip(places.shape, "errors", lambda found: found)
        cells = self.of_cells(places.shape, "cells", lambda found: found)
        kept: dict[Any, Tensor] = {}  # for this call only: digits take 28 bytes a weight of 8 bits

        def part(low: int) -> Tensor:
            own = slice(low, low + step)
            weight, held = (w[own], stored.parts(own)) if product.batched_weight else (w, stored)
            planes = {} if product.batched_weight else kept
            with torch.no_grad():
                return self._rows(x[own], (weight, held), source.rows(low, low + step), planes, places, errors, cells)

        with exact_float32(x.device.type):
            if x.device.type == "cpu" and len(x) >= torch.get_num_threads() > 1 and self.tap is None:
                step = min(step, -(-len(x) // torch.get_num_threads()))
                parts = one_thread_each(part, range(0, len(x), step))
            else:
                parts = [part(low) for low in range(0, len(x), step)]
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    def _rows(
        self, x: Tensor, weights: tuple[Tensor, StoredBits], noise: Noise, planes: dict[Any, Tensor], places: Places,
        errors: Converters | None, cells: Cells | None,
    ) -> Tensor:  # fmt: skip
        w, stored = weights
        product, transfer, column = self.product, self.transfer, self.transfer.column
        real = torch.float32 if x.device.type == "mps" else torch.float64
        whole = torch.int32 if len(places.tiles) * transfer.largest_sum < 2**31 else torch.int64
        kind = real if transfer.macro.adc_bits is None else whole  # codes of an ideal converter are real numbers
        codes: Tensor | None = None
        exact: Tensor | None = None
        plain = torch.ones((), dtype=torch.float32, device=x.device)
        for block in blocks(transfer):
            x_digits = digits(x, block[0][1].input_bits, block[0][1].input_signed)
            key = tuple((c.weight_bits, c.weight_signed, c.analog) for _, c in block)
            if key not in planes:  # other input digits meet the same weight bits
                held = [weight_digits(w, cycle, cells) for _, cycle in block]
                planes[key] = torch.stack(held)
            w_digits = planes[key]
            wide = max(c.full_scale for _, c in block) * (2**13 if column.cell_sigma else 1) >= 2**24
            if wide and x.device.type != "mps":
                x_digits, w_digits = x_digits.double(), w_digits.double()
            for tile_number, tile in enumerate(places.tiles):
                counts = product.counts(tile, x_digits, w_digits)  # (batch, cycles of the block, *outputs)
                normals = _normals(transfer, block, counts, tile_number, noise)
                driven = product.driven(tile, x_digits, w_digits.shape[1:]) if column.depends_on_driven else None
                for place, (number, cycle) in enumerate(block):
                    count = counts[:, place]
                    gains = None if cells is None else cells.gain(tile_number, cycle)
                    count = count if gains is None else count * places.geometry.per_output(gains).to(count)
                    votes = levels = [count]
                    if cycle.converted:
                        own = [each[place] for each in normals[: cycle.votes]] if transfer.noisy[number] else []
                        votes, levels = self._codes(errors, (places, tile_number), cycle, count, own, driven)
                    sign = plain if stored.flips is None else stored.sign_of_outputs(product, cycle, tile_number)
                    if self.tap is not None:
                        made = torch.stack(levels), torch.stack(votes), sign
                        votes = [*self.tap(Conversions(tile_number, number, count, *made))]
                    code = votes[0] if len(votes) == 1 else vote(torch.stack(votes), transfer.macro.vote)
                    code = code.to(kind) if stored.flips is None else code.to(kind) * sign.to(kind)
                    if cycle.converted:
                        codes = _added(codes, code, transfer.code_weight(cycle))
                    else:
                        exact = _added(exact, code, cycle.sign * 2**cycle.shift)
        total = stored.input_sums(product, transfer, x, real)
        if codes is not None:
            # one division, so that a multiple of top_code comes back as a whole number of counts
            total = (codes.to(real) * transfer.scale + total * transfer.divisor) / transfer.divisor
        total = total if exact is None else total + exact.to(real)
        return total + stored.offset(product, transfer, real)

    def _codes(
        self, errors: Converters | None, at: tuple[Places, int], cycle: Cycle, count: Tensor, normals: list[Tensor],
        driven: Tensor | None,
    ) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
        """Codes of counts for each vote, integers in floating point or real counts of an ideal converter, and the
        values that were rounded. There is a normal for each vote, or none without noise. `at` is the tile."""
        column, (places, tile) = self.transfer.column, at
        own = OutputConverters() if errors is None else errors.of_outputs(places, tile, cycle, count.device)
        if column.curves > 1:
            curve = places.geometry.per_output(places.column_of(cycle).repeat(places.geometry.groups)) % column.curves
            own_level, sigma = column.of_curves(curve, count, cycle)
        elif driven is not None:
            own_level, sigma = column.of_driven(driven, count, cycle)
        else:
            own_level = column.level(count, cycle)
            sigma = column.sigma(count, cycle) if normals else torch.zeros(())
        level = own.level(own_level)
        top = cycle.full_scale if cycle.top_code is None else cycle.top_code
        low = -top if cycle.signed else 0
        values = [level + sigma * normal for normal in normals] if normals else [level] * cycle.votes
        if cycle.top_code is None:
            return [value.clamp(low, top) for value in values], values
        return [own.moved(value.round().clamp(low, top), value, low, top) for value in values], values


def blocks(transfer: Transfer) -> list[list[tuple[int, Cycle]]]:
    """Numbered cycles, grouped by input digit and kind of cells."""
    numbered = enumerate(transfer.cycles)
    return [list(block) for _, block in groupby(numbered, lambda item: (item[1].input_bits, item[1].analog))]


def _normals(
    transfer: Transfer, block: list[tuple[int, Cycle]], counts: Tensor, tile: int, noise: Noise
) -> list[Tensor]:
    """Standard normals of a block's cycles for each vote of a noisy cycle. # (cycles of the block, batch, *outputs)"""
    votes = max((cycle.votes for number, cycle in block if transfer.noisy[number]), default=0)
    cycles, first_word = range(block[0][0], block[-1][0] + 1), tile * len(transfer.cycles)
    positions = counts.shape[2:].numel()
    each = (noise.conversions(positions, cycles, first_word, number) for number in range(votes))
    return [normal.view(len(block), *counts[:, 0].shape) for normal in each]


def _added(total: Tensor | None, values: Tensor, weight: int) -> Tensor:
    return values * weight if total is None else total.add_(values, alpha=weight)
