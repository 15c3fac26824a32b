"""Settings of Lightning's trainer that it does not check itself, or cannot use here."""

import os
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import LambdaCallback, LearningRateFinder, ModelSummary

from asim_lightning.callbacks import NetworkSummary

_FEW = 8
"""Processes that any machine may be asked for."""


def check_trainer(settings: Mapping[str, Any], callbacks: Sequence[Callback]) -> None:
    """Refuse what would end in a division by zero or be ignored.

    Args:
        settings: The trainer's settings by name.
        callbacks: The callbacks that are configured.

    Raises:
        ValueError: A setting is not allowed.
    """
    for name, allows_null in (("accumulate_grad_batches", False), ("check_val_every_n_epoch", True)):
        value = settings.get(name)
        if value is not None and value < 1:
            raise ValueError(f"`trainer.{name}` must be 1 or more{', or null' if allows_null else ''}, got {value}")
    for name, least in (("log_every_n_steps", 0), ("num_sanity_val_steps", -1)):
        value = settings.get(name)
        if value is not None and value < least:
            raise ValueError(f"`trainer.{name}` must be {least} or more, or null, got {value}")
    interval = settings.get("val_check_interval")
    if isinstance(interval, (int, float)) and not interval > 0:
        raise ValueError(f"`trainer.val_check_interval` must be above 0, or null, got {interval}")
    clip = settings.get("gradient_clip_val")
    if clip is not None and not clip >= 0:
        raise ValueError(f"`trainer.gradient_clip_val` must be 0 or more, or null, got {clip}")
    if any(isinstance(each, LearningRateFinder) for each in callbacks):
        raise ValueError(
            "`trainer.callbacks` must hold no LearningRateFinder, which looks for another attribute than "
            "`model.optimizer.lr`; try some rates: --model.optimizer.lr 0.1 --trainer.max_epochs 1"
        )


def check_processes(trainer: Trainer) -> None:
    """Refuse so many processes on a CPU that their start alone fills a machine's memory.

    Args:
        trainer: The trainer.

    Raises:
        ValueError: There are more than the machine has processors, and more than a test of processes needs.
    """
    most = max(os.cpu_count() or 1, _FEW)
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > most:
        raise ValueError(
            f"`trainer.devices` must be 1..{most} on this machine's CPU, a process each, got {trainer.num_devices}"
        )


def check_functions(callbacks: Sequence[Callback]) -> None:
    """Refuse functions of a LambdaCallback that do not take what Lightning gives them.

    Args:
        callbacks: The callbacks that are configured.

    Raises:
        ValueError: One does not.
    """
    for callback in callbacks:
        if isinstance(callback, LambdaCallback):
            for hook, function in vars(callback).items():
                given = list(signature(getattr(Callback, hook)).parameters)[1:] if hasattr(Callback, hook) else None
                if given is not None and not _takes(function, len(given)):
                    name = getattr(function, "__name__", repr(function))
                    raise ValueError(
                        f"`{hook}` of LambdaCallback must take {', '.join(given)}, got {name}, which does not"
                    )


def _takes(function: Any, count: int) -> bool:
    """Whether a function takes so many arguments; true where it does not say, as functions in C may not."""
    try:
        described = signature(function)
    except (TypeError, ValueError):
        return callable(function)
    try:
        described.bind(*range(count))
    except TypeError:
        return False
    return True


def with_summary(callbacks: Sequence[Callback]) -> list[Callback]:
    """Callbacks of a fit, with a summary of the network where none is configured."""
    is_there = any(isinstance(each, ModelSummary) for each in callbacks)
    return [*callbacks] if is_there else [*callbacks, NetworkSummary()]
