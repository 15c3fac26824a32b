"""Optimizer and learning-rate schedule."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR, SequentialLR

from asim_lightning.checks import check_choice, check_number

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("multistep", "cosine", "constant")


@dataclass(frozen=True)
class OptimizerConfig:
    """How parameters are trained; the defaults are the published recipe for convolutional networks.

    Raises:
        ValueError: A field is not allowed.

    Examples:
        >>> from asim_lightning.classifier import OptimizerConfig
        >>> OptimizerConfig("adamw", lr=1e-3, schedule="cosine", warmup=0.1).weight_decay
        0.0001
    """

    name: str = "sgd"
    """sgd, adam or adamw."""
    lr: float = 0.01
    """Learning rate: above 0."""
    momentum: float = 0.9
    """Momentum of sgd: 0..1."""
    weight_decay: float = 1e-4
    """Weight decay: 0 or more."""
    schedule: str = "multistep"
    """multistep, cosine (to 0 over the whole training) or constant."""
    milestones: list[float] = field(default_factory=lambda: [0.6, 0.9])
    """Fractions of the epochs after which multistep lowers the learning rate."""
    gamma: float = 0.1
    """Factor of a multistep milestone: above 0."""
    warmup: float = 0.0
    """Fraction of the training in which cosine first rises to the learning rate: 0 to below 1."""

    def __post_init__(self) -> None:
        for name, allowed in (("name", OPTIMIZERS), ("schedule", SCHEDULES)):
            check_choice(f"`model.optimizer.{name}`", getattr(self, name), allowed)
        for name in ("lr", "gamma"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"`model.optimizer.{name}` must be above 0, got {getattr(self, name)!r}")
        check_number("`model.optimizer.momentum`", self.momentum, 1.0)
        check_number("`model.optimizer.weight_decay`", self.weight_decay)
        if not all(0 <= fraction <= 1 for fraction in self.milestones):
            raise ValueError(f"`model.optimizer.milestones` must be fractions 0..1, got {self.milestones!r}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"`model.optimizer.warmup` must be 0 to below 1, got {self.warmup!r}")
        if self.warmup and self.schedule != "cosine":
            raise ValueError(f"`model.optimizer.warmup` must be 0 with schedule {self.schedule}, got {self.warmup!r}")


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter], epochs: int, steps: int
) -> tuple[torch.optim.Optimizer, LRScheduler | None, str]:
    """Optimizer, schedule and the interval ("epoch" or "step") at which it advances, over the whole training."""
    optimizer: torch.optim.Optimizer
    if config.name == "sgd":
        optimizer = torch.optim.SGD(parameters, config.lr, config.momentum, weight_decay=config.weight_decay)
    else:
        kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
        optimizer = kind(parameters, config.lr, weight_decay=config.weight_decay)
    if config.schedule == "cosine":
        # at least one step, so that a schedule has the same parts in checkpoints of fits of any length
        rise = max(1, round(config.warmup * steps)) if config.warmup else 0
        fall = CosineAnnealingLR(optimizer, max(1, steps - rise))
        if not rise:
            return optimizer, fall, "step"
        return optimizer, SequentialLR(optimizer, [LinearLR(optimizer, 1 / rise, 1.0, rise), fall], [rise]), "step"
    if config.schedule == "multistep":
        return optimizer, MultiStepLR(optimizer, [round(f * epochs) for f in config.milestones], config.gamma), "epoch"
    return optimizer, None, "epoch"


def steps_of_an_epoch(trainer: Trainer) -> float:
    """Optimizer steps of the current epoch of a fit, infinite if its batches are; the last batch makes a step, too."""
    steps = trainer.num_training_batches / trainer.accumulate_grad_batches
    return max(1.0, float(math.ceil(steps))) if math.isfinite(steps) else steps
