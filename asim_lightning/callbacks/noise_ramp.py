"""Changes the training noise during a run."""

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from asim_lightning.callbacks.output import write_layout
from asim_lightning.checks import check_choice, check_number, check_whole
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.optimizer import steps_of_an_epoch
from asim_lightning.surgery import macro_layers, set_train_noise_

SHAPES = ("constant", "linear", "cosine", "step")
UNITS = ("epoch", "step")


class NoiseRamp(Callback):
    """Sets the training noise of converted layers from step to step, and logs it as ``cim/train_noise``.

    With t the time (epochs with fractions, or optimizer steps), w the warm-up, T the length, and p = (t - w) / T
    clamped to 0..1: linear ``start + (end - start) p``; cosine ``start + (end - start) (1 - cos(pi p)) / 2``; step
    ``start + (end - start) floor(p steps) / steps``; constant `end`. During the warm-up it is 0. It only depends on
    time, so a resumed run continues correctly.

    Args:
        end: Noise at the end, 0 or more, in the unit of the classifier's noise model.
        start: Noise after the warm-up, 0 or more.
        shape: constant, linear, cosine or step.
        unit: epoch or step: the unit of `warmup` and `length`.
        warmup: Time without noise: 0 or more.
        length: Time from start to end, above 0; null: the rest of the training.
        steps: Number of equal jumps of shape step: 1 or more.

    Examples:
        >>> from asim_lightning.callbacks import NoiseRamp
        >>> # asim fit ... --trainer.callbacks+=NoiseRamp --trainer.callbacks.end 1
        >>> ramp = NoiseRamp(end=1.0, warmup=2, length=4)
        >>> [ramp.noise(epoch, total=10) for epoch in (1, 2, 4, 6, 10)]
        [0.0, 0.0, 0.5, 1.0, 1.0]
    """

    METRIC = "cim/train_noise"

    def __init__(
        self,
        end: float,
        start: float = 0.0,
        shape: str = "linear",
        unit: str = "epoch",
        warmup: float = 0.0,
        length: float | None = None,
        steps: int = 4,
    ) -> None:
        for name, value in (("end", end), ("start", start), ("warmup", warmup)):
            check_number(f"`{name}` of NoiseRamp", value)
        if length is not None and (not isinstance(length, (int, float)) or not 0 < length < math.inf):
            raise ValueError(f"`length` of NoiseRamp must be above 0 or null, got {length!r}")
        check_choice("`shape` of NoiseRamp", shape, SHAPES)
        check_choice("`unit` of NoiseRamp", unit, UNITS)
        check_whole("`steps` of NoiseRamp", steps, 1)
        self.end, self.start, self.shape, self.unit = float(end), float(start), shape, unit
        self.warmup, self.length, self.steps = float(warmup), length, steps

    def noise(self, time: float, total: float) -> float:
        """Noise after `time` of `total` epochs or steps of the whole training."""
        if time < self.warmup:
            return 0.0
        length = self.length if self.length is not None else max(total - self.warmup, 1e-12)
        part = min(1.0, (time - self.warmup) / length)
        if self.shape == "constant":
            return self.end
        if self.shape == "cosine":
            part = (1.0 - math.cos(math.pi * part)) / 2.0
        elif self.shape == "step":
            part = math.floor(part * self.steps) / self.steps
        return self.start + (self.end - self.start) * part

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the layout of TensorBoard's charts, including the ramp."""
        write_layout(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Set the noise of this step, and log it."""
        # a classifier may have no layer on a macro
        if not isinstance(pl_module, CimClassifier) and not macro_layers(pl_module):
            raise ValueError(f"NoiseRamp needs layers on a macro, got a {type(pl_module).__name__} without")
        total = float(trainer.estimated_stepping_batches)
        if self.unit == "step":
            amount = self.noise(float(trainer.global_step), total)
        else:
            per_epoch = steps_of_an_epoch(trainer)
            amount = self.noise(trainer.global_step / per_epoch, total / per_epoch)
        set_train_noise_(pl_module, amount)
        pl_module.log(self.METRIC, amount)
