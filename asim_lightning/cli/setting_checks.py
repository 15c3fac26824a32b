"""Settings that neither the parser nor Lightning refuses, though they are of no use."""

import os
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LambdaCallback,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
)

from asim_lightning.callbacks import NetworkSummary
from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.reworded import unknown_monitor

_FEW = 8
"""Processes that any machine may be asked for."""

_PACKAGES = ("asim_lightning.", "lightning.")
_LOG_OTHERS = (LambdaCallback, LearningRateMonitor)
_IN_TRAINING = ("train/", "cim/")
_OF_A_CHECKPOINT = ("epoch", "step")


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


def check_monitors(trainer: Trainer, model: CimClassifier) -> None:
    """Refuse a monitor of ModelCheckpoint or EarlyStopping that nothing logs in a fit.

    A callback of the user's own may log anything: where there is one, a monitor is looked for in the metrics of the
    first validation, by Lightning.

    Args:
        trainer: The trainer of a fit.
        model: The classifier that it will train.

    Raises:
        ValueError: A monitor is no metric that is logged.
    """
    callbacks: Sequence[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if not all(_is_known(each) for each in callbacks):
        return
    logged = [*model.logged, *(name for each in callbacks for name in getattr(each, "logged", ()))]
    if trainer.limit_val_batches == 0:
        measured = [name for name in logged if name.startswith(_IN_TRAINING)]
    else:
        measured = logged
    for callback in callbacks:
        monitor: Any = getattr(callback, "monitor", None)
        if isinstance(callback, ModelCheckpoint):
            # without validation it keeps no best epoch, which is said when the fit ends
            names = [*logged, *_OF_A_CHECKPOINT]
        elif isinstance(callback, EarlyStopping) and callback.strict:
            names = measured
        else:
            continue
        if monitor is not None and monitor not in names:
            raise ValueError(unknown_monitor(type(callback).__name__, str(monitor), names))


def _is_known(callback: Callback) -> bool:
    """Whether a callback logs nothing but what it says in `logged`."""
    return type(callback).__module__.startswith(_PACKAGES) and not isinstance(callback, _LOG_OTHERS)
