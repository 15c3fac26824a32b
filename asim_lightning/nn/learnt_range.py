"""The range of a layer's ADC as parameters: counts an LSB and count of code 0, trained through rounding."""

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.circuit.voltage import at_voltage_of, with_adc_range
from asim_lightning.engine.program import Conversions
from asim_lightning.nn.training_noise import ChipNoise, Operands

_MOST = 2**20
"""Largest step and low of a macro."""


class LearntRange(nn.Module):
    """``adc_step = round(start step * e^growth)`` and ``adc_low = round(start low + start step * shift)``.

    Both parameters are 0 at the start, so weight decay pulls a range to its start. Their gradients are those of learned
    step size quantisation (LSQ, arXiv 1902.08153) for each conversion of the macro: a code inside the range adds ``code
    - level`` to the gradient of the step and nothing to that of low; a clipped code adds itself, and 1. The level is
    the value that the ADC rounds, ``(count - low) / step`` with noise and the chip's errors: these are the same in
    counts for any step.

    Rounding passes gradients straight through, as if rounding errors were spread evenly over an LSB. They are, if the
    counts of each conversion spread over a third of an LSB or more. Counts of a sign plane spread less, because each
    input adds 0 or 1: their errors have one sign that changes along the step, the loss goes up and down, and the
    gradient follows neither (`AdcRange.coarse` says for which layers).

    Args:
        has_low: Whether low is trained; else it stays as it is.
        device: Device of the parameters.
    """

    start: Tensor
    bits: Tensor

    def __init__(self, has_low: bool = True, device: Any = None) -> None:
        super().__init__()
        self.growth = nn.Parameter(torch.zeros((), device=device))
        self.shift = nn.Parameter(torch.zeros((), device=device), requires_grad=has_low)
        self.register_buffer("start", torch.zeros(2, device=device))  # step and low; a step of 0: not started
        self.register_buffer("bits", torch.zeros((), device=device))  # of the ADC that it was started for; 0: any

    @property
    def is_started(self) -> bool:
        """Whether the range has a start."""
        return bool(self.start[0] > 0)

    def begin(self, step: int, low: int, bits: int | None = None) -> None:
        """Start from a range of an ADC of some bits; a step of 0: without a start."""
        with torch.no_grad():
            self.start.copy_(torch.tensor([float(step), float(low)]))
            self.bits.fill_(bits or 0)
            self.growth.zero_()
            self.shift.zero_()

    @property
    def whole(self) -> tuple[int, int]:
        """Counts an LSB, and count of code 0."""
        with torch.no_grad():
            step, low = self._values()
        return round(float(step)), round(float(low))

    def fields(self, macro: MacroConfig, signed_input: bool) -> dict[str, Any]:
        """Fields that give a macro this range; noise in LSB keeps its voltage."""
        step, low = self.whole
        ranged = macro.with_fields(adc_step=step, adc_low=low)
        noise = at_voltage_of(ranged, macro, signed_input)
        found: dict[str, Any] = {
            "adc_step": step,
            "adc_low": low,
            **{name: x for name, x in noise.items() if "." not in name},
        }
        if len(found) < 2 + len(noise):  # a rule has static effects as a whole
            found["static"] = asdict(ranged.with_fields(**noise).static)
        return found

    def _values(self) -> tuple[Tensor, Tensor]:
        step, low = self.start.double()
        values = step * self.growth.double().exp(), low + step * self.shift.double()
        return _Within.apply(values[0], 1, _MOST), _Within.apply(values[1], 0, _MOST)  # type: ignore[no-untyped-call]

    def apply_to(self, y: Tensor, amount: float, noise: ChipNoise, given: Operands, rows_in_use: int | None) -> Tensor:
        """The output of a layer as its macro converts it with this range; gradients reach the range, too.

        The error is a constant in counts. The value of a count is not, as in `MacroNoise`.

        Args:
            y: Output of the layer, from rounded operands. # (batch, *outputs)
            amount: Strength of noise and spreads, 0 or more.
            noise: Which chip, and whether reads have noise.
            given: The operands that the layer multiplied.
            rows_in_use: Most rows of a tile that hold weights.
        """
        signed, (step, low) = given.transfer.signed_input, self.whole
        macro = with_adc_range(given.transfer.macro, signed, step, low)
        circuit = transfer(macro, signed, rows_in_use)
        slopes = _Slopes(circuit)
        error = noise.error(given, circuit, amount, slopes)
        wide = torch.promote_types(y.dtype, torch.float32)  # counts overflow float16
        ranges = []
        for value, slope in zip(self._values(), (slopes.of_step, slopes.of_low), strict=True):
            # LSQ's scale of a gradient, so that it does not grow with the number of outputs
            scale = 1.0 / math.sqrt(y.numel() * (macro.top_code or 1))
            ranges.append(slope.view(y.shape).to(wide) * _with_gradient(value, scale).to(wide))
        counts = error.view(y.shape).to(wide) + sum(ranges)
        return y + (counts * given.step).to(y.dtype)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        for name, value in self.state_dict().items():  # weights of a network without learnt ranges have none
            state_dict.setdefault(prefix + name, value)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _with_gradient(value: Tensor, scale: float) -> Tensor:
    """0, with the gradient of a value times a scale."""
    scaled = value * scale
    return scaled - scaled.detach()


class _Within(torch.autograd.Function):
    """A value in a range. A gradient that would move it further out does not pass; else it could never come back."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, least: float, most: float) -> Tensor:
        ctx.leaves = value <= least, value >= most
        return value.clamp(least, most)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,), (down, up) = grads, ctx.leaves  # a parameter moves against its gradient
        return grad.masked_fill((down & (grad > 0)) | (up & (grad < 0)), 0), None, None


class _Slopes:
    """A tap that sums the derivatives of an output in counts to step and low. See `engine.program.Tap`."""

    def __init__(self, circuit: Transfer) -> None:
        self.circuit = circuit
        self.of_step: Any = 0.0
        self.of_low: Any = 0.0

    def __call__(self, made: Conversions) -> Tensor:
        """Add the derivatives of a conversion; the codes stay."""
        own, levels = self.circuit.cycles[made.cycle], made.levels
        if own.converted and own.top_code is not None:
            weight, lowest = made.sign * own.sign * 2**own.shift, -own.top_code if own.signed else 0
            inside = (levels > lowest - 0.5) & (levels < own.top_code + 0.5)
            self.of_step = self.of_step + weight * (made.codes - levels * inside).mean(0)
            self.of_low = self.of_low + weight * (~inside).to(levels.dtype).mean(0)
        return made.codes
