"""Noise at a layer's output while training, so that the network becomes robust to the noise of a macro.

A noise model is a class of one method. To add one, inherit `TrainingNoise`, override `apply`, and name the class by its
import path in ``model.train_noise_model``; arguments come from ``model.train_noise_args``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from asim_lightning.checks import built, check_flag, check_whole, named_class
from asim_lightning.circuit import Transfer, transfer
from asim_lightning.engine import ENGINES, Chip, Noise, Product, Weights, choose, reference, sums_of
from asim_lightning.engine.noise import WORD, layer_key, philox
from asim_lightning.engine.program import Tap
from asim_lightning.quant import levels


@dataclass(frozen=True)
class Operands:
    """The operands of a layer as its macro multiplies them.

    Attributes:
        product: The linear map.
        transfer: The macro's schedule and column.
        x: Integers in float32. # (batch, *inputs)
        w: Integers in float32. # (*weight), or (batch, *weight) where the product says so
        step: Value of one count in the output, broadcasts against it; in training it carries a gradient.
        noise: Noise of the layer in this step: its seed, chip, samples, and the step's number.
        chip: The layer's part of the chip.
    """

    product: Product
    transfer: Transfer
    x: Tensor
    w: Tensor
    step: Tensor
    noise: Noise
    chip: Chip


class TrainingNoise:
    """Base of noise models for training.

    Examples:
        >>> import torch
        >>> from asim_lightning.nn import TrainingNoise
        >>> class Absolute(TrainingNoise):  # --model.train_noise_model my_file.Absolute
        ...     def apply(self, y, amount, normal, operands):
        ...         return y + amount * normal()
        ...
        >>> Absolute().apply(torch.zeros(2), 0.5, lambda: torch.ones(2), None)
        tensor([0.5000, 0.5000])
    """

    def apply(self, y: Tensor, amount: float, normal: Callable[[], Tensor], operands: Callable[[], Operands]) -> Tensor:
        """The output with noise on it; gradients pass through whatever is computed from y.

        Args:
            y: Output of the layer, from rounded operands, bias included. # (batch, *outputs)
            amount: Strength of the noise, above 0, in the unit of the model; a ramp changes it from step to step.
            normal: Gives standard normals of the shape of y, a function only of seed, layer, sample and step.
            operands: Gives the operands that the layer multiplied; costs a pass over the inputs.

        Returns:
            Same shape and type as y.
        """
        raise NotImplementedError


class ProportionalNoise(TrainingNoise):
    """``y * (1 + amount / 100 * z)``: published noise-aware training, in % of each output.

    The bias is part of y, unless rows of the input have ranges of their own (input range "token").
    """

    def apply(self, y: Tensor, amount: float, normal: Callable[[], Tensor], operands: Callable[[], Operands]) -> Tensor:
        """See `TrainingNoise.apply`; the gradient carries the same factor."""
        return y * normal().mul_(amount / 100.0).add_(1.0).to(y.dtype)


class MacroNoise(TrainingNoise):
    """``y + amount * step * (mean + deviation * z)`` with the moments of the macro's own error at each output.

    The moments include every conversion at the counts expected for these operands, and all chips of the macro (see
    `asim_lightning.engine.expected`, also for what is left out). The amount scales the whole error, so that a ramp also
    scales rounding, clipping and static effects. Moments are constants to the gradient. The step is not: it grows with
    the largest input and the largest weight. Without its gradient, training would enlarge the weights to outgrow the
    noise, but the noise grows with them.
    """

    def apply(self, y: Tensor, amount: float, normal: Callable[[], Tensor], operands: Callable[[], Operands]) -> Tensor:
        """See `TrainingNoise.apply`."""
        from asim_lightning.engine.expected import expected_error  # only training and fidelity "estimated" need it

        given = operands()
        moments = expected_error(given.product, given.transfer, given.x, given.w)
        mean, deviation = (each if each.dim() == 0 else each.view(y.shape) for each in moments)
        error = torch.addcmul(mean, deviation, normal())
        step = given.step * amount
        if y.dtype == torch.float32:
            return torch.addcmul(y, error, step)
        return y + (error * step).to(y.dtype)


class ChipNoise(TrainingNoise):
    """A chip in the loop: ``y + step * (sums - exact sums)``, with the macro's sums of the rounded operands on a chip.

    The error is a constant to the gradient, so the gradient is the same as of fake quantisation.

    Args:
        chip: Number of a chip; null: the model's chip. "fresh": another chip at each step, drawn by seed and step.
        read_noise: Whether each step also has the noise of a read; false: only the chip's static effects.
    """

    def __init__(self, chip: int | str | None = None, read_noise: bool = True) -> None:
        if chip not in ("fresh", None):
            check_whole("`train_noise_args.chip`", chip, 0, WORD, ", fresh or null")
        check_flag("`train_noise_args.read_noise`", read_noise)
        self.chip, self.read_noise = chip, read_noise

    def apply(self, y: Tensor, amount: float, normal: Callable[[], Tensor], operands: Callable[[], Operands]) -> Tensor:
        """See `TrainingNoise.apply`; the amount scales the spreads of the static effects."""
        given = operands()
        error = self.error(given, given.transfer, amount).view(y.shape) * given.step.detach()
        return y + error.to(y.dtype)

    def error(self, given: Operands, circuit: Transfer, amount: float, tap: Tap | None = None) -> Tensor:
        """Sums of a macro minus the exact sums, in counts. # (batch, *outputs)

        Args:
            given: The operands.
            circuit: Schedule and column of the macro.
            amount: Factor of the spreads of the static effects.
            tap: Sees each conversion, which the reference engine then computes.
        """
        noise = given.noise
        if not self.read_noise:
            macro = circuit.macro.with_fields(random_noise=0.0, nonlinear_noise=0.0)
            circuit = transfer(macro, circuit.signed_input)
            if any(circuit.noisy):
                raise ValueError(
                    "`train_noise_args.read_noise` must be true with a column that has noise of its own, got false "
                    f"with column {macro.column}"
                )
        if given.chip.saved is not None:
            self.check_file(given.chip.saved.path)
        chip = replace(given.chip, number=self.number(noise, given.chip), spread=amount)
        # a trial number has 16 bits: the seed counts further steps
        read = replace(noise, trial=noise.step & 0xFFFF, seed=(noise.seed + (noise.step >> 16)) & WORD)
        with torch.no_grad():
            x, w = given.x.detach(), given.w.detach()
            if tap is None:
                sums = sums_of(ENGINES[choose(circuit, x.device)], given.product, circuit, x, w, read, chip)
            else:
                held = Weights(w).on_chip(chip, given.product, circuit)
                sums = replace(reference.prepare(given.product, circuit, held, chip), tap=tap).sums(x, read)
            limit = levels(circuit.macro.input_bits, circuit.signed_input) * levels(circuit.macro.weight_bits, True)
            return sums - given.product.integer(x, w, limit)

    def check_file(self, path: str) -> None:
        """Refuse a chip file if the noise names another chip."""
        if self.chip is not None:
            raise ValueError(
                f"`train_noise_args.chip` must be null with `model.chip_file` {path}, which is one chip, got "
                f"{self.chip!r}"
            )

    def number(self, noise: Noise, chip: Chip) -> int:
        """Number of the chip in a step, which is the same in all layers."""
        if self.chip != "fresh":
            return chip.number if self.chip is None else int(self.chip)
        words = (torch.tensor(word, device="cpu") for word in (noise.step, 0, 0, 0))
        return int(philox(tuple(words), (noise.seed, layer_key("fresh chip")))[0])  # type: ignore[arg-type]


NOISE_MODELS: dict[str, type[TrainingNoise]] = {
    "proportional": ProportionalNoise,
    "macro": MacroNoise,
    "chip": ChipNoise,
}


def training_noise(name: str, arguments: Mapping[str, Any] | None = None) -> TrainingNoise:
    """The noise model of a name (proportional, macro, chip) or import path, with arguments of its constructor."""
    kind = named_class("`train_noise_model`", name, NOISE_MODELS, TrainingNoise)
    return built(kind, (), arguments or {}, "`train_noise_args`", name)
