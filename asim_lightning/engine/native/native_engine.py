"""The native engine: C++ kernels make every conversion on a CPU (see src/conversion.h)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine import reference
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.converters import PlacedConverters, placed
from asim_lightning.engine.native.conversion import Conversion, Execution, conversion_of
from asim_lightning.engine.native.cycles import why_no_real_counts, why_no_tables_by_driven
from asim_lightning.engine.native.library import library, why_missing
from asim_lightning.engine.native.real_cells import LaidOutCells, laid_out
from asim_lightning.engine.native.structures import (
    GROUP,
    REAL_COUNTS,
    CellsOfJob,
    ConversionJob,
    ConvertersOfJob,
    Counting,
)
from asim_lightning.engine.noise import WORD, layer_key
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product
from asim_lightning.engine.program import (
    EVERY_CONVERSION,
    ConvertingProgram,
    prefers_nothing,
    required,
    why_not_tabulated,
)
from asim_lightning.engine.stored_weights import StoredBits, Weights

ALGORITHM, SAME_NOISE, prefers = EVERY_CONVERSION, True, prefers_nothing
_LONGEST_TABLE, _MOST_VOTES = 2**20, 64


def refuses(transfer: Transfer) -> str | None:
    """Why the native engine does not compute a macro: `why_not_tabulated`, `why_no_tables_by_driven`, too many votes,
    a tile's sums of codes exceed 31 bits, or cells differ and `why_no_real_counts` or the processor refuses them."""
    if why := why_not_tabulated(transfer, _LONGEST_TABLE, real_counts=True, driven=True):
        return why
    if transfer.column.depends_on_driven and (why := why_no_tables_by_driven(transfer)):
        return why
    if transfer.column.cell_sigma:
        if why := why_no_real_counts(transfer):
            return why
        if why_missing() is None and not library().asim_counts_by(REAL_COUNTS):
            return "cells differ, and the processor has no look-ups of bytes (AVX-512 VBMI and VNNI)"
    if (votes := max(cycle.votes for cycle in transfer.cycles)) > _MOST_VOTES:
        return f"{votes} votes of a conversion are more than {_MOST_VOTES}"
    return None if transfer.largest_sum < 2**31 else "sums of a tile's codes take more than 31 bits"


def why_not_on(device: torch.device) -> str | None:
    """See `Engine.why_not_on`; it runs on a CPU if its kernels are built."""
    return why_missing() if device.type == "cpu" else f"does not run on {device.type}"


def prepare(product: Product, transfer: Transfer, weights: Weights | None, chip: Chip = Chip()) -> "NativeProgram":
    """See `Engine.prepare`.

    Raises:
        ValueError: The macro is refused.
    """
    if why := refuses(transfer):
        raise ValueError(f"The native engine does not compute this macro: {why}")
    return NativeProgram(product, weights, transfer, chip)


@dataclass(eq=False)
class NativeProgram(ConvertingProgram):
    """Every conversion of a product, with weights in the form for the way of counting.

    Attributes:
        level: Level of the kernels' instructions; None: the best one.
        counting: The way of counting; None: the fastest.
    """

    level: str | None = field(default=None, kw_only=True)
    counting: Counting | None = field(default=None, kw_only=True)

    def sums(self, x: Tensor, noise: Noise | None) -> Tensor:
        """Outputs of a macro, in counts, equal to the reference's except for the last bit of its normals.

        # (batch, *outputs), float64
        """
        product, stored, batch, source = self.product, self.stored, x.shape[0], required(noise)
        w = stored.weights.integers
        shape = product.weight_shape(w)
        converters = self.of_chip(shape, "placed", lambda found: found and placed(found, GROUP))
        has_kernel = not self.transfer.column.cell_sigma or library(self.level).asim_counts_by(REAL_COUNTS)
        cells = self.of_cells(shape, "laid out", laid_out) if has_kernel else None
        if not has_kernel or (cells is not None and not cells.fits):
            program = reference.ReferenceProgram(
                product, self.weights, self.transfer, self.chip,
                converters=self.converters, kept=self.kept, max_elements=self.max_elements,
            )  # fmt: skip
            return program.sums(x, noise)
        made = self._conversion(x, w, batch, converters)
        out = torch.empty(made.output_shape, dtype=torch.float64, device="cpu")
        if not out.numel():
            return out
        out.copy_(stored.input_sums(product, self.transfer, x, torch.float64))
        offset = stored.offset(product, self.transfer, torch.float64)
        samples = made.samples
        if self.max_elements is not None:
            samples = max(1, self.max_elements // out[0].numel())
        if samples >= batch:
            self._convert(made, x, stored, source, out, (converters, cells))
            return out.add_(offset)
        for low in range(0, batch, samples):
            part = slice(low, low + samples)
            inputs, held = x[part], stored.parts(part) if product.batched_weight else stored
            some = self._conversion(inputs, held.weights.integers, batch, converters)
            self._convert(some, inputs, held, source.rows(low, low + samples), out[part], (converters, cells))
        return out.add_(offset)

    def _conversion(self, x: Tensor, w: Tensor, batch: int, converters: PlacedConverters | None) -> Conversion:
        strides = x.stride() if self.product.is_image else ()
        execution = Execution(self.level, torch.get_num_threads(), self.counting)
        has_errors = converters is not None
        return conversion_of(self.product, self.transfer, execution, (x.shape, strides), w.shape, batch, has_errors)

    def _convert(
        self, made: Conversion, x: Tensor, stored: StoredBits, noise: Noise, out: Tensor,
        chip: tuple[PlacedConverters | None, LaidOutCells | None],
    ) -> None:  # fmt: skip
        x, w = x.to(torch.float32), stored.weights.integers.to(torch.float32).contiguous()
        if not self.product.is_image:
            x = x.contiguous()
        job = ConversionJob.from_buffer_copy(made.job)
        job.inputs.data, job.weights.data, job.out = x.data_ptr(), w.data_ptr(), out.data_ptr()
        ids, offsets = noise.sample_ids.contiguous(), noise.offsets.contiguous()
        job.outputs.ids, job.outputs.offsets = ids.data_ptr(), offsets.data_ptr()
        job.key[:] = noise.seed, layer_key(noise.name, noise.call)
        job.last_word = noise.trial << 16 & WORD
        converters, cells = chip
        if converters is not None:
            job.converters = ConvertersOfJob.placed(converters)
        if cells is not None:
            job.cells = CellsOfJob.of(cells.units, cells.gain, cells.bytes)
            job.converters.weight_bits = self.transfer.macro.weight_bits
        if converters is not None or cells is not None:
            key = self.product.weight_shape(w), "quiet"
            if key not in self.kept:
                self.kept[key] = _quiet(job, self.level)
            job.converters.quiet = self.kept[key].data_ptr()
        if not self.product.batched_weight:
            form = stored.weights.form(made.form_key, lambda _: _form(job, self.level, noise.name))
            job.weight_form = form.data_ptr()
        flips = None if stored.flips is None else _laid_out_flips(stored.flips, self.product, w)
        if flips is not None:
            job.flips = flips.data_ptr()
        _call("asim_convert", job, self.level, noise.name)


def _laid_out_flips(flips: Tensor, product: Product, w: Tensor) -> Tensor:
    """Flips of columns in the order of the kernels. # (problems, tiles, output columns rounded up to 16), int32"""
    placed = flips.reshape(-1, product.geometry(None, w).outputs, flips.shape[-1]).transpose(-1, -2)
    return torch.nn.functional.pad(placed, (0, -placed.shape[-1] % GROUP)).contiguous()


def _quiet(job: ConversionJob, level: str | None) -> Tensor:
    """Flags of the converters that give code 0 for a count of 0 (src/conversion_job.h), for each tile, group or head,
    quad of cycles and output column."""
    outputs = -(-job.weights.lanes // GROUP) * GROUP
    numbers = job.tile_count * job.outputs.problems_a_row * (job.cycle_count // 4) * outputs
    flags = torch.empty(numbers, dtype=torch.uint8, device="cpu")
    job.converters.quiet = flags.data_ptr()
    job.call("asim_quiet_converters", level)
    return flags


def _form(job: ConversionJob, level: str | None, layer: str) -> Tensor:
    _call("asim_weight_form", job, level, layer)
    form = torch.empty(job.form_words, dtype=torch.int32, device="cpu")
    job.weight_form = form.data_ptr()
    _call("asim_weight_form", job, level, layer)
    return form


def _call(function: str, job: ConversionJob, level: str | None, layer: str) -> None:
    """Call a function of the library; a MemoryError if the system refused memory to it."""
    job.call(function, level)
    if job.refused:
        raise MemoryError(
            f"The system refused {job.refused} bytes that the C++ kernels need to convert layer `{layer}`; a smaller "
            "batch, or a smaller `max_elements`, takes less memory"
        )
