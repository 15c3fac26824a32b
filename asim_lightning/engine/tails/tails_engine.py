"""The tails engine: the exact product, and, where converters differ a little, only those conversions whose code may be
wrong.

Where every cycle of the schedule is exact but for noise and its converters, a code is wrong only where the noise passes
the converter's margin: with a gain g, an offset o and a count of at most C, ``1/2 - o - max(g - 1, 0) C`` upward and
``1/2 + o + min(g - 1, 0) C`` downward, less the largest INL. Conversions whose normal does so are drawn (`tail_stream`)
and made as every conversion is; all others are certain. So the outputs have the distribution of making every
conversion, and are the same to the bit where nothing is noisy. C is the smaller of what the column's weights and the
inputs of a block of pixels allow.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from asim_lightning.circuit import Algorithm, Transfer, algorithm
from asim_lightning.circuit.algorithm import why_no_tails
from asim_lightning.engine import exact
from asim_lightning.engine.byte_passes import SHIFT
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.converters import Converters, inl_bounds
from asim_lightning.engine.chips.effects import converters_of
from asim_lightning.engine.events.events_engine import Errors, EventsProgram
from asim_lightning.engine.native import passes
from asim_lightning.engine.native.tails import NativeTails, PlacedTails, placed_tails
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product
from asim_lightning.engine.tails.any_processor import errors_of
from asim_lightning.engine.tails.kinds import tail_cycles
from asim_lightning.engine.tails.tail_layout import tail_layout
from asim_lightning.engine.weights import Weights


def refuses(transfer: Transfer) -> str | None:
    """Why the tails engine does not compute a macro; None where it does."""
    return None if algorithm(transfer) is Algorithm.TAILS else why_no_tails(transfer)


def why_not_on(device: torch.device) -> str | None:
    """See `Engine.why_not_on`; runs on a CPU."""
    return None if device.type == "cpu" else f"does not run on {device.type}"


def prepare(product: Product, transfer: Transfer, weights: Weights | None, chip: Chip = Chip()) -> EventsProgram:
    """See `Engine.prepare`."""
    errors = TailErrors(product, weights, transfer, chip)
    return EventsProgram(product, weights, exact.prepare(product, transfer, weights), errors)


@dataclass(eq=False)
class TailErrors(Errors):
    """The wrong conversions of a product on converters that differ.

    Attributes:
        chip: The chip.
        converters: Errors of its converters; None: those that the macro has on this chip.
        drawn: What the chip gives weights of each shape, once it is known; shared by all calls.
    """

    chip: Chip
    converters: Converters | None = field(default=None, kw_only=True)
    drawn: dict[torch.Size, "tuple[Converters, Tensor | None, PlacedTails] | None"] = field(
        default_factory=dict, kw_only=True, repr=False
    )

    def added(self, total: Tensor, x: Tensor, noise: Noise) -> Tensor:
        """Adds the errors of the wrong conversions to the outputs without noise: see `Errors.added`, on a CPU."""
        real = total if total.dtype == torch.float32 else total.to(torch.float64)
        if total.numel() == 0 or self.weights is None:
            return real
        w, macro, cycles = self.weights.integers, self.transfer.macro, tail_cycles(self.transfer)
        shape = w.shape[1:] if self.product.batched_weight else w.shape
        found = self._of_chip(shape)
        if found is None or not cycles.groups:
            return real
        converters, inl, placed = found
        layout = tail_layout(self.product, macro.rows, x.shape[1:], shape)
        key, kernels = layer_key(noise.name + "/tails", noise.call), passes.best_library()
        if kernels is not None:
            native = NativeTails(kernels, cycles, layout)
            form = ("planes", self.product, macro.rows, macro.weight_bits)
            return native.added(real, x, self.weights.form(form, native.planes), placed, key, noise)
        x = x.to(torch.int32) - SHIFT * self.transfer.signed_input if x.dtype == torch.uint8 else x
        errors = errors_of(cycles, layout, x, w, converters, inl, key, noise).view(total.shape)
        scale, divisor = self.transfer.scale, self.transfer.divisor
        changed = (real.double() * divisor + errors * scale) / divisor
        return torch.where(errors != 0, changed, real.double()).to(real.dtype)

    def _of_chip(self, shape: torch.Size) -> tuple[Converters, Tensor | None, PlacedTails] | None:
        """What the chip gives weights of a shape: errors of converters, bounds of their INL, and both by place."""
        if shape not in self.drawn:
            found, drawn = self.converters or converters_of(self.chip, self.product, self.transfer, shape), None
            if found is not None:
                inl = None if found.tables is None else inl_bounds(found.tables, tail_cycles(self.transfer).top)
                drawn = found, inl, placed_tails(found, inl)
            self.drawn[shape] = drawn  # once it is whole, for other threads
        return self.drawn[shape]
