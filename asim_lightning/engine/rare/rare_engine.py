"""The engine of rare errors: the exact product, and only the conversions that are wrong or may be wrong.

It needs cycles that are exact except for noise and the errors of their converters. The output is then the integer
product plus ``sign * 2^shift * full_scale / top_code * (code - noise-free code)`` of the wrong conversions. For small
noise and spreads these are few (equal converters: ``erfc(0.5 / (sigma sqrt 2))`` of all, 9e-5 at sigma = 0.128 LSB).
Thinning finds them (Lewis and Shedler, Naval Research Logistics Quarterly 26, 1979):

1. Draw candidates for each converter, with its largest possible error probability. Equal converters have one rate: the
   largest of any count.
2. Compute the count of each candidate from the inputs and weights of its tile's rows.
3. Equal converters: accept the candidate with probability (error probability of its count / rate), and draw its error
   for this count. Converters that differ: convert the candidate, with a normal that passes the converter's margin.

Outputs have the same distribution as if every conversion were made, except for codes of a probability below 1e-17.
Without noise they are the same to the bit. `stream` defines the candidates.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine import exact
from asim_lightning.engine.byte_passes import SHIFT
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.converters import Converters, placed
from asim_lightning.engine.exact import ExactProgram
from asim_lightning.engine.native import passes
from asim_lightning.engine.native import rare as native
from asim_lightning.engine.native.structures import GROUP
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product
from asim_lightning.engine.program import ConvertingProgram, required, runs_everywhere, scaled
from asim_lightning.engine.quantizer import Quantizer
from asim_lightning.engine.rare import any_device
from asim_lightning.engine.rare.layout import Layout, layout, most_ones
from asim_lightning.engine.rare.margins import Apart, converter_rates
from asim_lightning.engine.rare.rates import Rates, rates
from asim_lightning.engine.stored_weights import Weights

ALGORITHM = "exact + events"
SAME_NOISE = False
why_not_on = runs_everywhere


def prepare(product: Product, transfer: Transfer, weights: Weights | None, chip: Chip = Chip()) -> "RareProgram":
    """See `Engine.prepare`."""
    return RareProgram(product, weights, transfer, chip)


@dataclass(eq=False)
class RareProgram(ConvertingProgram):
    """An exact product, and the errors of its wrong conversions."""

    @property
    def exact(self) -> ExactProgram:
        """The product without errors."""
        return exact.prepare(self.product, self.transfer, self.weights)

    def quantized(self, x: Tensor, quantizer: Quantizer) -> Tensor:
        """See `Program.quantized`."""
        return self.exact.quantized(x, quantizer)

    def __call__(
        self, x: Tensor, quantizer: Quantizer, step: Tensor, bias: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """See `Program.__call__`; sums stay in float32 if the output does, and are rounded once."""
        integers = self.quantized(x, quantizer)
        sums = self.exact.sums(integers)
        real = sums.to(torch.float64) if x.dtype == torch.float64 else sums
        return scaled(self.product, self.added(real, integers, required(noise)), step, bias, x)

    @torch.no_grad()
    def sums(self, x: Tensor, noise: Noise | None) -> Tensor:
        """Outputs of a macro, in counts, with the distribution of the reference engine's; float64 (float32 if the
        device has no float64). # (batch, *outputs)"""
        sums = self.exact.sums(x)
        return self.added(sums if x.device.type == "mps" else sums.to(torch.float64), x, required(noise))

    def added(self, total: Tensor, x: Tensor, noise: Noise) -> Tensor:
        """Add the errors of the wrong conversions to the outputs without errors.

        Args:
            total: Outputs in counts without errors; may be overwritten. # (batch, *outputs)
            x: Integers, or on a CPU the bytes of `Quantizer.bytes`. # (batch, *inputs)
            noise: Noise source, with one row for each row of the batch.

        Returns:
            Outputs in counts, float64 (float32 if the device has no float64). On a CPU float32 if total is, with sums
            rounded once. # (batch, *outputs)
        """
        if x.device.type == "mps":  # has no float64
            moved = replace(noise, sample_ids=noise.sample_ids.cpu(), offsets=noise.offsets.cpu())
            on_cpu = replace(self, weights=self.given_weights.cpu())
            return on_cpu.added(total.cpu(), x.cpu(), moved).to(torch.float32).to(x.device)
        kinds = rates(self.transfer, self.converters is not None or self.transfer.converters_differ)
        real = total if total.dtype == torch.float32 else total.to(torch.float64)
        if total.numel() == 0 or not kinds.kinds:
            return real
        macro, shape, stored = self.transfer.macro, self.product.weight_shape(self.w), self.stored
        places = layout(kinds, self.product, x.shape[1:], shape)
        apart = self.of_chip(shape, "apart", lambda found: self._apart(found, kinds, places)) if kinds.differ else None
        if apart is not None and not (any(self.transfer.noisy) or bool(apart.rates.rate.any())):
            return real
        key = layer_key(noise.name + "/events", noise.call)
        if not passes.is_there(x):
            x = x.to(torch.int32) - SHIFT * self.transfer.signed_input if x.dtype == torch.uint8 else x
            changed = any_device.with_errors(total, kinds, places, x, stored, key, noise, apart)
            return changed.to(torch.float32) if x.device.type == "cpu" and total.dtype == torch.float32 else changed
        of_words = "words", self.product, macro.rows, macro.weight_bits
        words = stored.weights.form(of_words, lambda _: native.weight_words(kinds, places, stored))
        return native.with_errors(real, kinds, places, x, words, key, noise, apart)

    def _apart(self, found: Converters | None, kinds: Rates, places: Layout) -> Apart | None:
        if found is None:
            return None
        w = None if self.product.batched_weight else self.stored.weights.integers.cpu()
        ones = most_ones(places, w, self.transfer.macro.weight_bits)
        of_kinds = [kind.margins for kind in kinds.kinds if kind.margins is not None]
        own = converter_rates(of_kinds, self.transfer.macro.top_code or 1, found, ones)
        return Apart(found, placed(found, GROUP), own)
