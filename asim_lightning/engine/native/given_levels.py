"""Conversions of counts that are no small integers: a float product makes the counts, the column's own functions levels
and sigmas of them, and a kernel codes of these (see src/convert_levels.cpp)."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, Transfer
from asim_lightning.circuit.columns import vote
from asim_lightning.engine.cells import ChargeGains, weight_digits
from asim_lightning.engine.chip import Chip
from asim_lightning.engine.integer import digits
from asim_lightning.engine.native.placed_converters import PlacedConverters
from asim_lightning.engine.native.structures import VOTE_RULES, LevelCycle, LevelsJob
from asim_lightning.engine.noise import WORD, layer_key
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Conv2dProduct, Product, Tile
from asim_lightning.engine.torch_modes import exact_float32

_ELEMENTS = 2**20
"""Counts in flight: 4 MB, so that the passes over them stay in a CPU's caches."""
_FLOAT32_LIMIT, _CELL_GRID = 2**24, 2**13


@dataclass(frozen=True, eq=False)
class GivenLevels:
    """Conversions of a product by given levels.

    Attributes:
        product: The linear map.
        transfer: The macro's schedule and column.
        chip: The chip, whose cells may differ.
        converters: Errors of its converters, or none.
        charge: What its columns' charge does to counts.
        loaded: The library.
    """

    product: Product
    transfer: Transfer
    chip: Chip
    converters: PlacedConverters | None
    charge: ChargeGains
    loaded: Any

    def sums(self, x: Tensor, w: Tensor, noise: Noise, max_elements: int | None) -> Tensor:
        """Outputs in counts, float64; see `reference.ReferenceProgram.sums`. # (batch, *outputs)"""
        product, x, w = self.product, x.to(torch.int32), w.to(torch.int32)
        stacked = max(len(block) for block in self._blocks())
        step = max(1, (max_elements or _ELEMENTS) // max(1, stacked * product.positions(x, w)))
        kept: dict[Any, Tensor] = {}  # of this call alone: digits take 28 bytes a weight of 8 bits
        with torch.no_grad(), exact_float32("cpu"):
            parts = [
                self._rows(
                    x[low : low + step],
                    w[low : low + step] if product.batched_weight else w,
                    noise.rows(low, low + step),
                    {} if product.batched_weight else kept,
                )
                for low in range(0, len(x), step)
            ]
        return torch.cat(parts) if parts else self._rows(x, w, noise, kept)

    def _blocks(self) -> list[list[tuple[int, Cycle]]]:
        """Numbered cycles that use the same input digit and the same kind of cells, and so are converted alike."""
        numbered = enumerate(self.transfer.cycles)
        return [list(block) for _, block in groupby(numbered, lambda item: (item[1].input_bits, item[1].analog))]

    def _rows(self, x: Tensor, w: Tensor, noise: Noise, kept: dict[Any, Tensor]) -> Tensor:
        product, transfer = self.product, self.transfer
        tiles = product.tiles(w[0] if product.batched_weight else w, transfer.macro.rows)
        sums: list[Tensor] = []  # of weighted codes, and of digital counts, once their shape is known
        for block in self._blocks():
            first = block[0][1]
            for number, found in enumerate(self._counts(block, tiles, x, w, kept)):
                sums = sums or [torch.zeros(found[:, 0].shape, dtype=torch.float64, device="cpu") for _ in range(2)]
                codes, counts = sums  # (rows, *outputs) each
                if first.converted:
                    self._convert(block, number, found, noise, codes)
                    continue
                for place, (_, cycle) in enumerate(block):
                    counts.add_(found[:, place].double(), alpha=cycle.sign * 2**cycle.shift)
        codes, counts = sums
        return codes * transfer.scale / transfer.divisor + counts + transfer.offset * len(tiles)

    def _counts(
        self, block: list[tuple[int, Cycle]], tiles: list[Tile], x: Tensor, w: Tensor, kept: dict[Any, Tensor]
    ) -> Iterator[Tensor]:
        """Counts of a block's cycles, tile by tile. # (rows, cycles, *outputs)"""
        first, transfer, chip = block[0][1], self.transfer, self.chip
        key = tuple((c.weight_bits, c.weight_signed, c.analog) for _, c in block)
        if key not in kept:  # input groups meet the same weight bits
            batched = self.product.batched_weight
            kept[key] = torch.stack([weight_digits(w, cycle, transfer, chip, batched) for _, cycle in block])
        x_digits, w_digits = digits(x, first.input_bits, first.input_signed), kept[key]
        if first.full_scale * (_CELL_GRID if transfer.column.cell_sigma else 1) >= _FLOAT32_LIMIT:
            x_digits, w_digits = x_digits.double(), w_digits.double()
        for number, tile in enumerate(tiles):
            counts = self.product.counts(tile, x_digits, w_digits)
            for place, (_, cycle) in enumerate(block):
                gains = self.charge.of(number, tile, cycle)
                if gains is not None:
                    counts[:, place] *= gains.to(counts)
            yield counts

    def _convert(self, block: list[tuple[int, Cycle]], tile: int, counts: Tensor, noise: Noise, codes: Tensor) -> None:
        """Add the weighted codes of a block's cycles in a tile."""
        transfer, (first_number, first) = self.transfer, block[0]
        levels = transfer.column.level(counts, first)
        if first.top_code is None and levels.dtype == torch.float64:
            self._convert_in_double(block, tile, counts, levels, noise, codes)
            return
        levels = levels.float().expand_as(counts).contiguous()
        sigmas: Tensor | None = None
        if transfer.noisy[first_number]:
            sigmas = transfer.column.sigma(counts, first).float()
            sigmas = sigmas if sigmas.numel() == 1 else sigmas.expand_as(counts).contiguous()
        own = [LevelCycle(cycle.weight_bits[0], cycle.votes, transfer.code_weight(cycle)) for _, cycle in block]
        top = first.full_scale if first.top_code is None else first.top_code
        ids, offsets = noise.sample_ids.contiguous(), noise.offsets.contiguous()
        array = (LevelCycle * len(own))(*own)
        job = LevelsJob(
            bytes=ctypes.sizeof(LevelsJob), levels=levels.data_ptr(), ids=ids.data_ptr(), offsets=offsets.data_ptr(),
            rows=len(counts), outputs=codes[0].numel(), cycles=ctypes.addressof(array), codes=codes.data_ptr(),
            last_word=noise.trial << 16 & WORD, first_cycle=first_number, cycle_count=len(block),
            word_base=tile * len(transfer.cycles) & WORD, real=first.top_code is None, low=-top if first.signed else 0,
            top=top, vote_rule=VOTE_RULES[transfer.macro.vote], threads=torch.get_num_threads(),
        )  # fmt: skip
        job.key[:] = noise.seed, layer_key(noise.name, noise.call)
        if sigmas is not None:
            job.sigmas, job.one_sigma = sigmas.data_ptr(), sigmas.numel() == 1
        if self.converters is not None:
            places = self._converter_of(self.converters, codes, tile)
            job.converters, job.converter_of = self.converters.of_job(), places.data_ptr()
            for cycle in array:
                cycle.converter *= self.converters.outputs
        self.loaded.asim_convert_levels(ctypes.byref(job))

    def _convert_in_double(
        self,
        block: list[tuple[int, Cycle]],
        tile: int,
        counts: Tensor,
        levels: Tensor,
        noise: Noise,
        codes: Tensor,
    ) -> None:
        """The same for an ideal converter whose levels float32 would round, as kernels do."""
        first_number, first = block[0]
        low, positions = -first.full_scale if first.signed else 0, codes[0].numel()
        word = tile * len(self.transfer.cycles)
        for place, (number, cycle) in enumerate(block):
            reads = [levels[:, place]] * cycle.votes
            if self.transfer.noisy[first_number]:
                sigma, shape = self.transfer.column.sigma(counts[:, place], cycle), codes.shape
                for read in range(cycle.votes):
                    normal = noise.conversions(positions, range(number, number + 1), word, read)
                    reads[read] = reads[read] + sigma * normal.view(shape)
            found = [read.clamp(low, first.full_scale) for read in reads]
            code = found[0] if len(found) == 1 else vote(torch.stack(found), self.transfer.macro.vote)
            codes.add_(code, alpha=self.transfer.code_weight(cycle))

    def _converter_of(self, converters: PlacedConverters, codes: Tensor, tile: int) -> Tensor:
        """Place of the converter of weight bit 0 of each output of a row, int32. # (outputs of a row,)"""
        shape = codes.shape[1:]
        if isinstance(self.product, Conv2dProduct):
            macros, each, after = self.product.groups, shape[0] // self.product.groups, shape[1:].numel()
            number = torch.arange(shape[0], device="cpu").repeat_interleave(after)
        else:
            each = shape[-1]
            macros = shape[:-2].numel() if self.product.batched_weight else 1
            columns = torch.arange(macros * each, device="cpu").view(macros, 1, each)
            number = columns.expand(-1, shape[:-1].numel() // macros, -1).flatten()
        first = (tile * macros + number // each) * converters.weight_bits * converters.outputs
        return (first + number % each).int()
