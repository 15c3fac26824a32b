"""The events engine: the exact product, and, where noise is small, only those conversions whose code is wrong.

Where every cycle of the schedule is exact without noise, the noisy output is the integer product plus
``sign * 2^shift * full_scale / top_code * (code - noise-free code)`` of the conversions whose code is wrong, which for
small noise are few (``erfc(0.5 / (sigma sqrt 2))`` of all: 9e-5 at sigma = 0.128 LSB). They are found by thinning
(Lewis and Shedler, Naval Research Logistics Quarterly 26, 1979):

1. Candidates are drawn with the largest error probability of any count, the rate of the kind of cycle.
2. The count of a candidate is computed from the inputs and weights of its tile's rows.
3. A candidate is accepted with the error probability of its count over the rate; its error is drawn for this count.

The outputs have the distribution of making every conversion, apart from codes of a probability below 1e-17. `stream`
defines the candidates.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine import exact
from asim_lightning.engine.byte_passes import SHIFT
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.events import any_device
from asim_lightning.engine.events.layout import layout
from asim_lightning.engine.events.rates import rates
from asim_lightning.engine.exact import ExactProgram
from asim_lightning.engine.native import passes
from asim_lightning.engine.native.events import NativeEvents
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product
from asim_lightning.engine.program import Program, required, runs_everywhere, scaled
from asim_lightning.engine.quantizer import Quantizer
from asim_lightning.engine.weights import Weights

why_not_on = runs_everywhere


def prepare(product: Product, transfer: Transfer, weights: Weights | None, chip: Chip = Chip()) -> "EventsProgram":
    """See `Engine.prepare`."""
    return EventsProgram(
        product, weights, exact.prepare(product, transfer, weights), RareErrors(product, weights, transfer)
    )


@dataclass(eq=False)
class Errors(ABC):
    """The wrong conversions of a product.

    Attributes:
        product: The linear map.
        weights: Integers; None where they come with each call.
        transfer: Schedule and column, or a part of the schedule, which the engine does not refuse.
    """

    product: Product
    weights: Weights | None
    transfer: Transfer

    @abstractmethod
    def added(self, total: Tensor, x: Tensor, noise: Noise) -> Tensor:
        """Adds the errors of the wrong conversions to the outputs without noise.

        Args:
            total: Outputs in counts without the noise of these cycles; may be overwritten. # (batch, *outputs)
            x: Integers, or on a CPU the bytes of `byte_passes.to_bytes`. # (batch, *inputs)
            noise: Noise source, with one row per row of the batch.

        Returns:
            Outputs in counts: float32 on a CPU where total is, whose sums are rounded once, else float64 (float32 where
            the device has no float64). # (batch, *outputs)
        """


class RareErrors(Errors):
    """The wrong conversions of converters that are all alike."""

    def added(self, total: Tensor, x: Tensor, noise: Noise) -> Tensor:
        """See `Errors.added`."""
        if x.device.type == "mps":  # has no float64
            moved = replace(noise, sample_ids=noise.sample_ids.cpu(), offsets=noise.offsets.cpu())
            on_cpu = replace(self, weights=None if self.weights is None else Weights(self.weights.integers.cpu()))
            return on_cpu.added(total.cpu(), x.cpu(), moved).to(torch.float32).to(x.device)
        kinds = rates(self.transfer)
        if total.numel() == 0 or not kinds.kinds or self.weights is None:
            return total if total.dtype == torch.float32 else total.to(torch.float64)
        w, macro = self.weights.integers, self.transfer.macro
        shape = w.shape[1:] if self.product.batched_weight else w.shape
        places = layout(kinds, self.product, x.shape[1:], shape)
        key = layer_key(noise.name + "/events", noise.call)
        kernels = passes.best_library() if x.device.type == "cpu" else None
        if kernels is None:
            x = x.to(torch.int32) - SHIFT * kinds.signed_input if x.dtype == torch.uint8 else x
            changed = any_device.with_errors(total, kinds, places, x, w, key, noise)
            return changed.to(torch.float32) if x.device.type == "cpu" and total.dtype == torch.float32 else changed
        native = NativeEvents(kernels, kinds, places)
        words = self.weights.form(("words", self.product, macro.rows, macro.weight_bits), native.weight_words)
        return native.added(total, x, words, key, noise)


@dataclass(eq=False)
class EventsProgram(Program):
    """An exact product, and the errors of those of its conversions whose code is wrong.

    Attributes:
        exact: The product without noise.
        errors: The wrong conversions.
    """

    exact: ExactProgram
    errors: Errors

    def of(self, weights: Tensor) -> "EventsProgram":
        """See `Program.of`."""
        given = Weights(weights)
        exact, errors = replace(self.exact, weights=given), replace(self.errors, weights=given)
        return replace(self, weights=given, exact=exact, errors=errors)

    def quantized(self, x: Tensor, quantizer: Quantizer) -> Tensor:
        """See `Program.quantized`."""
        return self.exact.quantized(x, quantizer)

    def __call__(
        self, x: Tensor, quantizer: Quantizer, step: Tensor, bias: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """See `Program.__call__`; sums stay in float32 where the output does, and are rounded once."""
        integers = self.quantized(x, quantizer)
        sums = self.exact.sums(integers)
        exact = sums.to(torch.float64) if x.dtype == torch.float64 else sums
        return scaled(self.product, self.errors.added(exact, integers, required(noise)), step, bias, x)

    @torch.no_grad()
    def sums(self, x: Tensor, noise: Noise | None) -> Tensor:
        """Outputs of a macro, in counts, with the distribution that the reference has; float64 (float32 where the
        device has no float64). # (batch, *outputs)"""
        sums = self.exact.sums(x)
        return self.errors.added(sums if x.device.type == "mps" else sums.to(torch.float64), x, required(noise))
