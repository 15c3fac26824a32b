"""The split engine: input digits whose cycles are exact as integer products, the other digits conversion by conversion.

A sign plane has one bit a row, and a digit of four bits up to fifteen counts a row on the same ADC: an 8-bit ADC may
return every count of the former and not of the latter.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.circuit import split as parts_of
from asim_lightning.engine import events
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.every_conversion import KERNELS, kernel_for
from asim_lightning.engine.exact import ExactProgram
from asim_lightning.engine.integer import digits
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product
from asim_lightning.engine.program import Program, required, runs_everywhere
from asim_lightning.engine.weights import Weights

why_not_on = runs_everywhere


def refuses(transfer: Transfer) -> str | None:
    """Why a schedule cannot be split: no input digit is exact, or all are, or the events engine refuses the exact
    ones."""
    parts = parts_of(transfer)
    if parts is None:
        if not any(transfer.noisy):
            return "conversions have no noise"
        return "no input digit is exact beside others that are not, or votes are summed"
    return None if parts[0].exact else events.refuses(parts[0])


def prepare(product: Product, transfer: Transfer, weights: Weights | None, chip: Chip = Chip()) -> "SplitProgram":
    """See `Engine.prepare`.

    Raises:
        ValueError: The schedule cannot be split.
    """
    parts = parts_of(transfer)
    if parts is None:
        raise ValueError("a schedule needs exact and other input digits and noise to be split")
    found, others = parts
    exact = {
        bits: ExactProgram(product, weights, len(bits), transfer.macro.weight_bits, False)
        for bits in dict.fromkeys(cycle.input_bits for cycle in found.cycles)
    }
    errors = events.RareErrors(product, weights, found) if any(found.noisy) else None
    return SplitProgram(product, weights, exact, errors, others, chip)


@dataclass(eq=False)
class SplitProgram(Program):
    """A product in which some input digits are exact.

    Attributes:
        exact: Integer product with each exact digit, by the digit's bits.
        errors: Wrong conversions of the exact digits, where they are noisy.
        others: The schedule with the cycles of the other digits alone, each of which is converted.
        chip: The chip.
    """

    exact: dict[tuple[int, ...], ExactProgram]
    errors: "events.RareErrors | None"
    others: Transfer
    chip: Chip

    def __post_init__(self) -> None:
        self._converting: dict[str, Program] = {}

    def of(self, weights: Tensor) -> "SplitProgram":
        """See `Program.of`."""
        given = Weights(weights)
        return replace(
            self,
            weights=given,
            exact={bits: replace(program, weights=given) for bits, program in self.exact.items()},
            errors=None if self.errors is None else replace(self.errors, weights=given),
        )

    @torch.no_grad()
    def sums(self, x: Tensor, noise: Noise | None) -> Tensor:
        """Outputs of a macro, in counts, with the distribution that the reference has; float64 (float32 where the
        device has no float64). # (batch, *outputs)"""
        outputs, integers = self._converted(x.device).sums(x, noise), x.to(torch.int32)
        for bits, program in self.exact.items():
            # unsigned: a sign plane's ones count negatively
            is_sign = self.others.signed_input and bits[-1] == self.others.macro.input_bits - 1
            outputs.add_(program.sums(digits(integers, bits, False)), alpha=(-1 if is_sign else 1) * 2 ** bits[0])
        return outputs if self.errors is None else self.errors.added(outputs, x, required(noise))

    def _converted(self, device: torch.device) -> Program:
        """Program of every conversion of the other digits, for a device."""
        if device.type not in self._converting:
            engine = KERNELS[kernel_for(self.others, device)]
            program = engine.prepare(self.product, self.others, self.weights, self.chip)
            program.max_elements = self.max_elements
            self._converting[device.type] = program
        return self._converting[device.type]
